"""`pointsaga stuck`: every kind of stuck, and the command that helps."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.attempt import Attempt
from clients.temporal import failed_task
from commands.stuck import print_stuck
from domain.ids import purchase_workflow_id
from services.stuck import Stuck, StuckKind
from tests.builders import Json
from tests.commands.conftest import CommandLine
from tests.commands.scenes import (
    an_hour_later,
    buy,
    buy_delivered,
    buy_rejected,
    buy_terminated,
    open_shop,
    requests,
    terminate,
    wait_for_stuck,
)
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until


async def test_nothing_is_stuck_after_a_delivery(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await buy_delivered(shop)
    await an_hour_later(service)

    assert (await pointsaga("stuck")).out == "nothing has been stuck for longer than 120 s (--older-than)\n"
    assert (await pointsaga("stuck", "--json")).json == []


async def test_a_rejected_delivery_is_listed(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)
    await wait_for_stuck(service, StuckKind.NEEDS_ATTENTION)

    text = (await pointsaga("stuck", "--older-than", "0s", status=1)).out
    [row] = (await pointsaga("stuck", "--older-than", "0s", "--json", status=1)).json

    assert f"pointsaga retry {redemption}" in text
    assert "klaviyo: HTTP 401" in text
    assert (row["kind"], row["event"]) == ("needs_attention", "reward_redeemed")
    assert (row["shop"], row["channels"]) == (shop.domain, ["klaviyo"])
    assert row["command"] == f"pointsaga retry {redemption}"
    assert row["run"] == purchase_workflow_id(redemption, 1)
    await pointsaga("stuck", "--older-than", "1h")


async def test_a_vendor_that_is_down_is_listed(service: Service, shop: Shop) -> None:
    await service.add_fault("klaviyo", kind="down")
    [redemption] = await buy(shop)
    await an_hour_later(service)

    assert (await wait_for_stuck(service, StuckKind.VENDOR_DOWN)).command == f"pointsaga retry {redemption}"
    await service.clear_faults("klaviyo")


async def test_a_terminated_workflow_is_listed(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    redemption = await buy_terminated(shop)
    await an_hour_later(service)

    [row] = (await pointsaga("stuck", "--json", status=1)).json

    assert (row["kind"], row["why"]) == ("run_gone", "not delivered: klaviyo; the workflow is terminated")
    assert row["command"] == f"pointsaga redrive {redemption}"


async def test_an_unfenced_code_is_listed(service: Service, shop: Shop) -> None:
    await service.add_fault("shopify", kind="drop", times=None)
    purchase = asyncio.ensure_future(shop.purchase())
    await wait_until(lambda: requests(service, "shopify"))
    [redemption] = await shop.redemptions()
    await service.purchase_workflow(redemption.id).cancel()
    assert (await purchase).status_code == 503
    await an_hour_later(service)

    assert "the points are released" in (await wait_for_stuck(service, StuckKind.UNFENCED)).why
    assert await shop.balance() == 500
    await service.clear_faults("shopify")


@workflow.defn(name="RedeemReward")
class Broken:
    """A workflow with a bug."""

    @workflow.run
    async def run(self, attempt: Attempt) -> None:
        """Fail the workflow task."""
        raise ZeroDivisionError


async def test_a_bug_in_a_workflow_is_listed(idle: Service) -> None:
    queue = idle.settings.temporal_task_queue
    attempt = Attempt(
        shop_id=1, shop_domain="x", redemption_id="cr_0bug", number=1, customer_id="1", reward_id="r",
        deadline=datetime.now(UTC), channels=[],
    )  # fmt: skip
    async with Worker(idle.temporal, task_queue=queue, workflows=[Broken], workflow_runner=UnsandboxedWorkflowRunner()):
        handle = await idle.temporal.start_workflow(Broken.run, attempt, id="redemption-cr_0bug-1", task_queue=queue)
        found = await wait_for_stuck(idle, StuckKind.WORKFLOW_FAILING)

    assert found.redemption_id == "cr_0bug"
    # The search may say so only after several failures.
    assert await failed_task(idle.temporal, handle.id) == found.why
    assert "WorkflowTaskFailed" in found.why
    assert found.advice.startswith("deploy a fix")
    await handle.terminate()


async def test_a_missing_worker_is_listed(idle: Service) -> None:
    shop = await open_shop(idle)
    await idle.add_fault("shopify", kind="drop", times=None)
    async with idle.worker():
        purchase = asyncio.ensure_future(shop.purchase())
        await wait_until(lambda: requests(idle, "shopify"))
    await an_hour_later(idle)

    assert (await wait_for_stuck(idle, StuckKind.NO_WORKER)).advice.startswith("start a worker")
    [redemption] = await shop.redemptions()
    await terminate(idle, purchase_workflow_id(redemption.id, 1))
    await purchase


def test_many_are_counted_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    since = datetime.now(UTC) - timedelta(hours=3)
    one: Json = {"kind": StuckKind.NEEDS_ATTENTION, "shop": "a", "since": since, "why": "klaviyo: HTTP 401"}

    print_stuck([Stuck(**one, redemption_id=f"cr_{number}", attempt=1, run=f"run {number}") for number in range(50)])

    text = capsys.readouterr().out
    for words in ("stuck: 50", "(50)", "3 h", "pointsaga redrive"):
        assert words in text
    assert "cr_" not in text


async def test_an_invalid_duration_is_wrong_usage(pointsaga: CommandLine) -> None:
    assert "is not a duration" in (await pointsaga("stuck", "--older-than", "soon", status=2)).err
