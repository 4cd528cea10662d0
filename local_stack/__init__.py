"""PostgreSQL, Temporal, vendor sandbox, worker and API as child processes: for `pointsaga up`, the demo and the tests.

StackError
├── Misuse            port or data directory in use, program missing: nothing was started
└── PartFailed        a part exited or did not become ready; with the end of its log
"""

from pathlib import Path

TAIL_LINES = 15


class StackError(Exception):
    """The local stack cannot run."""

    exit_code = 1


class Misuse(StackError):
    """Wrong options or a missing program; nothing was started."""

    exit_code = 2


class PartFailed(StackError):
    """A part exited or did not become ready."""

    def __init__(self, part: str, failure: str, log: Path) -> None:
        self.message = f"{failure}; the end of {log}:\n{tail(log)}"
        super().__init__(f"{part} {self.message}")


def tail(log: Path) -> str:
    """The last lines of a log, indented."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-TAIL_LINES:]) or "    (the log is empty)"
