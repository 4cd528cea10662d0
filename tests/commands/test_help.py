"""`--help` of every command."""

import pytest
from typer.testing import CliRunner

from cli import app

COMMANDS = [
    *(
        ["status"],
        ["stuck"],
        ["show"],
        ["retry"],
        ["skip"],
        ["refund"],
        ["redrive"],
        ["audit"],
        ["import"],
        ["migrate"],
    ),
    *(["keys", "create"], ["keys", "list"], ["keys", "revoke"], ["schedules", "apply"], ["customer-data"]),
    *(["credentials", "set"], ["credentials", "list"]),
    *(["up"], ["demo"], ["env"]),
    *(["shops", one] for one in ("create", "show", "edit", "list")),
    *(["rewards", one] for one in ("create", "list", "show", "edit", "pause", "delete")),
    *(["customers", "upsert"], ["doctor"], ["shopify", "subscribe"]),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_is_explained(words: list[str]) -> None:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, "--help"])

    assert result.exit_code == 0
    options = [line for line in result.stdout.splitlines() if line.startswith("│") and "--" in line]
    assert options
    assert all(len(line.strip("│ ").split("   ")[-1].strip()) > 5 for line in options)


def test_an_unknown_command_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["frobnicate"]).exit_code == 2
