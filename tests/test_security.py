"""SECURITY.md names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "SECURITY.md").read_text()
NAMED: list[tuple[str, str]] = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", DOCUMENT)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)


def test_every_abuse_has_a_test() -> None:
    section = DOCUMENT.partition("## Abuse")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| what")]

    assert len(rows) >= 7
    assert [row for row in rows if "::test_" not in row] == []
