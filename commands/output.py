"""Output, confirmation and exit status. Results go to standard output, messages to standard error."""

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NoReturn

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

DONE, TROUBLE, MISUSE, UNREACHABLE = 0, 1, 2, 3
"""Exit status: done; problems found; wrong usage, nothing was changed; database or Temporal cannot be reached."""


def fail(message: str, *, status: int) -> NoReturn:
    """End the command with an error message."""
    print_message(message)
    raise typer.Exit(status)


def print_message(message: str) -> None:
    """Print a message that is not part of the result."""
    typer.echo(message, err=True)


def print_json(value: object) -> None:
    """Print a result for programs: times in ISO 8601, models and dataclasses as objects."""
    typer.echo(json.dumps(to_jsonable_python(value), ensure_ascii=False, indent=2))


def console() -> Console:
    """Console for results. 100 columns wide if standard output is not a terminal."""
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False, markup=False, emoji=False)


def progress_bar() -> Progress:
    """A progress bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation, unless `--yes` was passed."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail("confirmation is required: pass --yes, or preview with --dry-run", status=MISUSE)
    typer.confirm(question, abort=True, err=True)


def format_time(time: datetime | None) -> str:
    """A UTC time, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else ""


def format_age(time: datetime) -> str:
    """Time since `time`, in its largest unit."""
    seconds = max(0, int((datetime.now(UTC) - time).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def join_some(words: Iterable[str], *, at_most: int = 5) -> str:
    """The first words, and the number of those left out."""
    every = list(words)
    more = f" and {len(every) - at_most} more" if len(every) > at_most else ""
    return ", ".join(every[:at_most]) + more
