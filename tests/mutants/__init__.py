"""Mutants: patches that break the code, each with the test that must fail.

A mutant is a file `NAME.patch`: the lines `change:` and `test:`, then a unified diff.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "testing.md"

_BEGIN, _END = "<!-- mutants:begin -->\n", "<!-- mutants:end -->\n"


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A change that breaks the code, and the node id of the test that must fail."""

    patch: Path
    change: str
    test: str

    @property
    def name(self) -> str:
        return self.patch.stem

    def apply(self, tree: Path, *options: str) -> bool:
        """Apply the patch in a copy of the project. `options` are those of `git apply`. False: it does not apply."""
        command = ["git", "apply", *options, str(self.patch)]
        return subprocess.run(command, cwd=tree, capture_output=True, check=False).returncode == 0


def mutants() -> list[Mutant]:
    """Every mutant, by test and name."""
    return sorted(map(_read, Path(__file__).parent.glob("*.patch")), key=lambda one: (one.test, one.name))


def with_table(document: str) -> str:
    """The document with the table of all mutants between its two comments."""
    before, _, rest = document.partition(_BEGIN)
    rows = [f"| [{one.change}](../tests/mutants/{one.patch.name}) | `{one.test.split('::')[1]}` |" for one in mutants()]
    table = "\n".join(["| change | test that fails |", "|---|---|", *rows])
    return f"{before}{_BEGIN}{table}\n{_END}{rest.partition(_END)[2]}"


def _read(patch: Path) -> Mutant:
    change, test = (line.split(": ", 1)[1] for line in patch.read_text().splitlines()[:2])
    return Mutant(patch=patch, change=change, test=test)
