"""`python -m tests.mutants`: break a copy of the code, one mutant at a time. Exit status 1 if one is not noticed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tests.mutants import DOCUMENT, ROOT, Mutant, mutants, with_table

TIMEOUT_SECONDS = 300

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False, markup=False, soft_wrap=True)


@app.command()
def main(
    only: Annotated[list[str] | None, typer.Option(help="Name of a mutant; can be repeated.")] = None,
    *,
    listed: Annotated[bool, typer.Option("--list", help="List the mutants, and run nothing.")] = False,
) -> None:
    """Check that each mutant makes its test fail, and write the table in docs/testing.md."""
    chosen = [one for one in mutants() if not only or one.name in only]
    if unknown := set(only or ()) - {one.name for one in chosen}:
        raise typer.BadParameter(f"no such mutant: {', '.join(sorted(unknown))}")
    if listed:
        for one in chosen:
            console.print(f"{one.name}: {one.change}\n  {one.test}")
        return
    DOCUMENT.write_text(with_table(DOCUMENT.read_text()))
    with tempfile.TemporaryDirectory(prefix="pointsaga-mutants-") as directory:
        tree = Path(directory) / "tree"
        _copy_project(tree)
        problems = _check(tree, chosen)
    for problem in problems:
        console.print(problem, style="bold red")
    if problems:
        raise typer.Exit(1)
    console.print(f"mutants: ok, {len(chosen)} noticed", style="bold green")


def _check(tree: Path, chosen: list[Mutant]) -> list[str]:
    tests = sorted({one.test for one in chosen})
    console.print(f"{len(tests)} tests without a mutant ...")
    result, output = _run(tree, tests, seconds=TIMEOUT_SECONDS * len(tests))
    if result != "passed":
        return [output, f"the tests must pass without a mutant: {result}"]
    return [problem for number, one in enumerate(chosen, 1) if (problem := _try(tree, one, f"{number}/{len(chosen)}"))]


def _try(tree: Path, mutant: Mutant, position: str) -> str | None:
    """Run the test with the mutant. Returns why the test did not notice it, else None."""
    started = time.monotonic()
    if not mutant.apply(tree):
        return f"{mutant.name}: the patch does not apply"
    result, output = _run(tree, ["--exitfirst", mutant.test], seconds=TIMEOUT_SECONDS)
    mutant.apply(tree, "--reverse")
    console.print(f"{position} {mutant.name}: {result} in {time.monotonic() - started:.0f} s")
    if result == "passed":
        return f"{mutant.name}: not noticed by {mutant.test}"
    return None if result == "failed" else f"{mutant.name}: {result}\n{output}"


def _run(tree: Path, arguments: Iterable[str], *, seconds: float) -> tuple[str, str]:
    """Run pytest. Returns `passed`, `failed` or what else happened, and the output."""
    # Temporary files of their own, so that other test sessions do not interfere.
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tree.with_name('tests')}"]
    command = [sys.executable, "-m", "pytest", *options, *arguments]
    # The copy's modules, not those of the installed project.
    environment = os.environ | {"PYTHONPATH": str(tree)}
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            # pytest stops the processes that its tests have started.
            process.send_signal(signal.SIGINT)
            return f"not finished within {seconds:.0f} s", process.communicate()[0]
    if process.returncode == 0:
        return "passed", output
    # A mutant that does not even start proves nothing about the test.
    return "failed" if re.search(r"\b\d+ failed\b", output) else "stopped by an error", output


def _copy_project(tree: Path) -> None:
    """Copy the files that git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in names.split("\0")[:-1]:
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


if __name__ == "__main__":
    app()
