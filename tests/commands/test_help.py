"""Every command says what it is for."""

import pytest
from typer.testing import CliRunner

from cli import app

COMMANDS = [
    ["stuck"],
    ["show"],
    ["retry"],
    ["skip"],
    ["refund"],
    ["redrive"],
    ["audit"],
    ["import"],
    ["migrate"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "revoke"],
    ["schedules", "apply"],
    ["customer-data"],
    ["up"],
    ["demo"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_and_each_of_its_options_are_explained(words: list[str]) -> None:
    said = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, "--help"])

    assert said.exit_code == 0
    options = [line for line in said.stdout.splitlines() if line.startswith("│") and "--" in line]
    assert options
    assert all(len(line.strip("│ ").split("   ")[-1].strip()) > 5 for line in options)


def test_what_is_not_a_command_is_misuse() -> None:
    assert CliRunner().invoke(app, ["frobnicate"]).exit_code == 2
