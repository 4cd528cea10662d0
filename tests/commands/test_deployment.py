"""`pointsaga migrate` and `pointsaga schedules`."""

from tests.commands.conftest import CommandLine

SCHEDULES = ["reconcile-redemptions", "expire-points"]


async def test_migrating_again_changes_nothing(pointsaga: CommandLine) -> None:
    assert (await pointsaga("migrate")).out == "the database is up to date\n"
    assert (await pointsaga("migrate", "--json")).json == {"up_to_date": True}


async def test_schedules_can_be_applied_again(pointsaga: CommandLine) -> None:
    assert (await pointsaga("schedules", "apply")).out == f"applied: {', '.join(SCHEDULES)}\n"
    assert (await pointsaga("schedules", "apply", "--json")).json["applied"] == SCHEDULES


async def test_unreachable_temporal_is_named(pointsaga: CommandLine) -> None:
    for command in (["schedules", "apply"], ["stuck"]):
        result = await pointsaga(*command, status=3, TEMPORAL_ADDRESS="127.0.0.1:1")

        assert "Temporal at 127.0.0.1:1 is unavailable" in result.err
        assert result.out == ""
