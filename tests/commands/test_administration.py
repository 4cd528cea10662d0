"""`pointsaga migrate` and `pointsaga schedules apply`."""

from tests.commands.conftest import Pointsaga


async def test_a_schema_that_is_up_to_date_is_left_as_it_is(pointsaga: Pointsaga) -> None:
    assert (await pointsaga("migrate")).out == "the database is up to date\n"
    assert (await pointsaga("migrate", "--json")).json == {"up_to_date": True}


async def test_schedules_are_applied_again_and_again(pointsaga: Pointsaga) -> None:
    assert (await pointsaga("schedules", "apply")).out == "applied: reconcile-redemptions, expire-points\n"
    assert (await pointsaga("schedules", "apply", "--json")).json["applied"] == [
        "reconcile-redemptions",
        "expire-points",
    ]


async def test_without_temporal_the_command_says_where_it_looked(pointsaga: Pointsaga) -> None:
    said = await pointsaga("schedules", "apply", status=1, TEMPORAL_ADDRESS="127.0.0.1:9")

    assert "Temporal at 127.0.0.1:9 cannot be used" in said.err
