"""What can go wrong with the local stack, in words for the person at the terminal.

StackError
├── Misuse            a port or data directory in use, a missing program: nothing was started
└── PartFailed        a part ended, or did not become ready; carries the end of its log
"""

from pathlib import Path

TAIL_LINES = 15


class StackError(Exception):
    """The local stack cannot run."""

    exit_code = 1


class Misuse(StackError):
    """Asked for something that cannot be; nothing was started."""

    exit_code = 2


class PartFailed(StackError):
    """A part ended by itself or did not become ready."""

    def __init__(self, part: str, what: str, log: Path) -> None:
        self.news = f"{what}; the end of {log}:\n{tail(log)}"
        super().__init__(f"{part} {self.news}")


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing was logged)"
