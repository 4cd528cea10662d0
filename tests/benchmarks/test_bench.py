"""The benchmarks run. Their limits are checked by `make bench`, on an idle machine."""

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from benchmarks.growth import Growth
from benchmarks.results import Results

ROOT = Path(__file__).parents[2]


async def bench(*options: str) -> tuple[int | None, str]:
    command = (sys.executable, "-m", "benchmarks", *options)
    process = await create_subprocess_exec(*command, cwd=ROOT, stdout=PIPE, stderr=STDOUT)
    output = (await process.communicate())[0].decode()
    return process.returncode, output


async def test_every_section_is_measured(tmp_path: Path) -> None:
    status, output = await bench("--quick", "--output", str(tmp_path))

    assert status == 0, output
    assert output.rstrip().endswith("bench: ok")
    results = json.loads((tmp_path / "latest.json").read_text())
    assert results["machine"]["cpus"]
    assert results["versions"]["temporalio"]
    assert {one["delay"] for one in results["latency"]} == {0, 10}
    assert results["cost"]["operations"]["purchase"]["vendor_calls"] == 5
    assert {"burst", "lots", "memory", "redemptions"} <= set(" ".join(one["name"] for one in results["growth"]).split())
    assert "reward history, used" in results["lists"]
    assert results["flash_sale"]["statuses"] == {"active": 8}
    assert results["telemetry"]["traced 100%"]["ratio"] > 0
    for chart in ("latency", "growth", "flash-sale"):
        assert b"<script" not in (tmp_path / f"{chart}.svg").read_bytes()


def test_sections_of_one_commit_are_kept(tmp_path: Path) -> None:
    growth = Growth(name="lots", unit="ms", base=1, value=2)
    Results(growth=[growth]).write(tmp_path / "latest.json")

    Results().write(tmp_path / "latest.json")
    assert json.loads((tmp_path / "latest.json").read_text())["growth"]

    (tmp_path / "latest.json").write_text('{"commit": "another", "growth": []}')
    Results().write(tmp_path / "latest.json")
    assert "growth" not in json.loads((tmp_path / "latest.json").read_text())


async def test_unknown_sections_are_rejected() -> None:
    status, output = await bench("--only", "latency,speed")

    assert status == 2
    assert "unknown: speed" in output
