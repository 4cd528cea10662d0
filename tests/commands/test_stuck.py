"""`pointsaga stuck`: every way to be stuck, how it is listed, and what is said to help."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.attempt import Attempt
from commands.stuck import print_stuck
from services.stuck import Finder, Kind, Stuck
from tests.commands.conftest import Pointsaga, command_line
from tests.commands.scenes import (
    a_shop_of,
    buy,
    much_later,
    refused_by_klaviyo,
    terminate,
    terminated_while_klaviyo_is_down,
)
from tests.service import Service, until


async def listed(service: Service, kind: Kind) -> Stuck:
    """Wait until one is listed as stuck, as the engine's search lags a little; it must be of this kind."""
    finder = Finder(store=service.store, temporal=service.temporal, task_queue=service.settings.temporal_task_queue)
    found: list[Stuck] = []

    async def is_listed() -> bool:
        found[:] = [one async for one in finder.find() if one.kind is kind]
        return bool(found)

    await until(is_listed)
    [one] = found
    return one


async def test_where_all_is_well_nothing_is_stuck(service: Service, pointsaga: Pointsaga) -> None:
    [redemption] = await buy(await a_shop_of(service))
    await service.end_of(redemption)
    await much_later(service)

    assert (await pointsaga("stuck")).out == "nothing has been stuck for longer than 120 s (--older-than)\n"
    assert (await pointsaga("stuck", "--json")).json == []


async def test_a_refused_delivery_is_listed_with_the_vendors_reason(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    [redemption] = await refused_by_klaviyo(shop)
    await listed(service, Kind.NEEDS_ATTENTION)

    said = await pointsaga("stuck", "--older-than", "0s", status=1)
    [row] = (await pointsaga("stuck", "--older-than", "0s", "--json", status=1)).json

    assert f"pointsaga retry {redemption}" in said.out
    assert "klaviyo: HTTP 401" in said.out
    assert (row["kind"], row["event"]) == ("needs_attention", "reward_redeemed")
    assert row["shop"] == shop.domain
    assert row["channels"] == ["klaviyo"]
    assert row["command"] == f"pointsaga retry {redemption}"
    assert row["run"] == f"redemption-{redemption}-1"


async def test_what_is_not_that_old_is_not_listed(service: Service, pointsaga: Pointsaga) -> None:
    await refused_by_klaviyo(await a_shop_of(service))

    await pointsaga("stuck", "--older-than", "1h")


async def test_a_vendor_that_is_down_is_waited_for(service: Service) -> None:
    await service.fault("klaviyo", kind="down")
    [redemption] = await buy(await a_shop_of(service))
    await much_later(service)

    found = await listed(service, Kind.VENDOR_DOWN)

    assert found.command == f"pointsaga retry {redemption}"
    await service.heal("klaviyo")


async def test_a_run_that_was_terminated_is_listed_as_gone(service: Service, pointsaga: Pointsaga) -> None:
    redemption = await terminated_while_klaviyo_is_down(await a_shop_of(service))
    await much_later(service)

    [row] = (await pointsaga("stuck", "--json", status=1)).json

    assert (row["kind"], row["why"]) == ("run_gone", "not told: klaviyo; the run is terminated")
    assert row["command"] == f"pointsaga redrive {redemption}"


async def test_a_code_that_cannot_be_voided_says_that_the_points_are_back(service: Service) -> None:
    shop = await a_shop_of(service)
    await service.fault("shopify", kind="drop", times=None)
    purchase = asyncio.ensure_future(shop.purchase())
    await until(lambda: _asked(service))
    [redemption] = await shop.redemptions()
    await service.run_of(redemption.id).cancel()
    assert (await purchase).status_code == 503
    await much_later(service)

    found = await listed(service, Kind.UNFENCED)

    assert "the points are back" in found.why
    assert await shop.balance() == 500
    await service.heal("shopify")


@workflow.defn(name="RedeemReward")
class Broken:
    """A release with a bug."""

    @workflow.run
    async def run(self, attempt: Attempt) -> None:
        """Fail the workflow task."""
        raise ZeroDivisionError


async def test_a_bug_in_workflow_code_is_listed_and_needs_a_fix(idle: Service) -> None:
    queue = idle.settings.temporal_task_queue
    attempt = Attempt(
        shop_id=1, shop_domain="x", redemption_id="cr_0bug", number=1, customer_id="1", reward_id="r",
        deadline=datetime.now(UTC), channels=[],
    )  # fmt: skip
    async with Worker(idle.temporal, task_queue=queue, workflows=[Broken], workflow_runner=UnsandboxedWorkflowRunner()):
        handle = await idle.temporal.start_workflow(Broken.run, attempt, id="redemption-cr_0bug-1", task_queue=queue)
        found = await listed(idle, Kind.WORKFLOW_FAILING)

    assert found.redemption_id == "cr_0bug"
    assert "WorkflowTaskFailed" in found.why
    assert found.advice.startswith("deploy a fix")
    await handle.terminate()


async def test_a_deadline_that_passed_without_a_decision_asks_for_a_worker(idle: Service) -> None:
    shop = await a_shop_of(idle)
    await idle.fault("shopify", kind="drop", times=None)
    async with idle.worker():
        purchase = asyncio.ensure_future(shop.purchase())
        await until(lambda: _asked(idle))
    await much_later(idle)

    found = await listed(idle, Kind.UNDECIDED)

    assert found.advice == "see that a worker runs;"
    [redemption] = await shop.redemptions()
    await terminate(idle, redemption.id)
    await purchase


def test_many_are_counted_by_their_reason(capsys: pytest.CaptureFixture[str]) -> None:
    since = datetime.now(UTC) - timedelta(hours=3)
    found = [
        Stuck(
            kind=Kind.NEEDS_ATTENTION,
            shop="demo.myshopify.com",
            redemption_id=f"cr_{number}",
            attempt=1,
            run=f"redemption-cr_{number}-1",
            since=since,
            why="klaviyo: HTTP 401",
        )
        for number in range(50)
    ]

    print_stuck(found)

    said = capsys.readouterr().out
    assert "stuck: 50" in said
    assert "│ 50 " in said
    assert "3 h" in said
    assert "pointsaga redrive" in said
    assert "cr_" not in said


async def test_a_duration_that_is_none_is_refused(pointsaga: Pointsaga) -> None:
    assert "write it like 90s" in (await pointsaga("stuck", "--older-than", "soon", status=2)).err


async def test_an_engine_that_cannot_be_reached_is_said_so(service: Service) -> None:
    said = await command_line(service)("stuck", status=1, TEMPORAL_ADDRESS="127.0.0.1:1")

    assert "Temporal at 127.0.0.1:1 cannot be used" in said.err
    assert said.out == ""


async def _asked(service: Service) -> int:
    return (await service.vendor("shopify"))["requests"]
