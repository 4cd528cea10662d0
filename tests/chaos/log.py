"""Log of what the run did to the parts."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(kw_only=True)
class RunLog:
    """Counters and lines.

    Attributes:
        kills, deaths: how often each process was killed, and when any was.
        faults: how often each fault was switched on; each meets any number of requests.
    """

    kills: Counter[str] = field(default_factory=Counter[str])
    deaths: list[datetime] = field(default_factory=list[datetime])
    actions: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    lines: list[str] = field(default_factory=list[str])

    def add(self, line: str) -> None:
        self.lines.append(f"{datetime.now(UTC):%H:%M:%S.%f} {line}")
