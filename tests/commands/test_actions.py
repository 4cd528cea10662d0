"""`pointsaga retry` and `pointsaga skip`, for purchases and refunds."""

import asyncio
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.ids import purchase_workflow_id, refund_workflow_id
from services.stuck import StuckKind
from tests.commands.conftest import CommandLine
from tests.commands.scenes import (
    BY_ANN,
    an_hour_later,
    buy,
    buy_delivered,
    buy_rejected,
    buy_terminated,
    delivery_statuses,
    logged_actions,
    refund_rejected,
    requests,
    terminate,
    wait_for_deliveries,
    wait_for_stuck,
    wait_until_delivered,
)
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until

SKIP = ("--channel", "klaviyo", "--reason", "left Klaviyo", "--by", "ann", "--yes", "--json")


def facts(event: str, reason: str) -> dict[str, Any]:
    return {"by": "ann", "reason": reason, "event": event, "channels": ["klaviyo"]}


async def refund_delivered(shop: Shop) -> None:
    """Wait until purchase and refund are delivered, to Klaviyo once each, and the refund's workflow has completed."""
    await wait_for_deliveries(shop, sent=8)
    klaviyo = await shop.service.vendor("klaviyo")
    assert (len(klaviyo["events"]), klaviyo["duplicates"]) == (2, 0)
    [redemption] = await shop.redemptions()
    assert await shop.service.wait_for_refund(redemption.id) == "COMPLETED"


async def refund_pending(shop: Shop) -> str:
    """A refund that waits for Shopify, and that no client waits for."""
    redemption = await buy_delivered(shop)
    before = await requests(shop.service, "shopify")
    await shop.service.add_fault("shopify", kind="status", status=401, times=None)
    client = asyncio.ensure_future(shop.refund(redemption))

    async def has_called_shopify() -> bool:
        return await requests(shop.service, "shopify") > before

    await wait_until(has_called_shopify)
    client.cancel()
    return redemption


async def test_a_retry_sends_and_logs_once(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)
    await service.clear_faults("klaviyo")

    result = await pointsaga("retry", redemption, "--yes", *BY_ANN)
    await wait_until_delivered(shop)
    repeated = await pointsaga("retry", redemption, "--yes", "--json")

    assert "acted: 1, nothing to do: 0, failed: 0" in result.out
    assert (repeated.json["acted"], repeated.json["nothing_to_do"]) == (0, 1)
    assert len((await service.vendor("klaviyo"))["events"]) == 1
    logged = facts("reward_redeemed", "key replaced")
    assert await logged_actions(service) == [("delivery_retry_requested", logged)]


async def test_a_retry_tells_the_outcome(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)

    refused = await pointsaga("retry", redemption, "--yes", "--json", status=1)
    redriven = await pointsaga("redrive", redemption, "--yes", status=1)
    await service.clear_faults("klaviyo")
    sent = await pointsaga("retry", redemption, "--yes")

    assert (refused.json["acted"], refused.json["refused_again"]) == (0, 1)
    assert refused.json["redemptions"][0]["outcomes"][0].startswith("klaviyo: rejected again, HTTP 401")
    assert "refused again: 1" in redriven.out
    assert f"{redemption}  klaviyo: sent" in sent.out


async def test_a_rejected_refund_delivery_is_retried(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    redemption = await refund_rejected(shop)
    stuck = await wait_for_stuck(service, StuckKind.NEEDS_ATTENTION)
    await service.clear_faults("klaviyo")

    preview = (await pointsaga("retry", redemption, "--dry-run", "--json")).json["planned"]
    result = await pointsaga("retry", redemption, "--channel", "klaviyo", "--yes", *BY_ANN)
    await refund_delivered(shop)
    repeated = await pointsaga("retry", redemption, "--yes", "--json")

    assert (stuck.event, stuck.run) == ("reward_refunded", refund_workflow_id(redemption))
    assert stuck.why.startswith("klaviyo (refund): HTTP 401")
    assert stuck.command == f"pointsaga retry {redemption}"
    [action] = preview[redemption]
    assert (action["event"], action["run"]) == ("reward_refunded", refund_workflow_id(redemption))
    assert "retry klaviyo (refund)" in result.out
    assert (repeated.json["acted"], repeated.json["nothing_to_do"]) == (0, 1)
    logged = facts("reward_refunded", "key replaced")
    assert await logged_actions(service) == [("delivery_retry_requested", logged)]


async def test_purchase_and_refund_are_retried_separately(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)
    await service.clear_faults("klaviyo")
    await pointsaga("retry", redemption, "--yes")
    await wait_for_deliveries(shop, sent=4)
    await service.add_fault("klaviyo", kind="status", status=401, times=None)
    assert (await shop.refund(redemption)).status_code == 200
    await wait_for_deliveries(shop, failed=1, sent=7)
    await service.clear_faults("klaviyo")

    await pointsaga("retry", redemption, "--yes")

    await refund_delivered(shop)
    logged = [(entry["event"], entry["channels"]) for _, entry in await logged_actions(service)]
    assert logged == [("reward_redeemed", ["klaviyo"]), ("reward_refunded", ["klaviyo"])]


@pytest.mark.parametrize("event", ["reward_redeemed", "reward_refunded"])
async def test_a_delayed_attempt_is_made_now(
    service: Service, shop: Shop, pointsaga: CommandLine, temporal: WorkflowEnvironment, event: str
) -> None:
    is_refund = event == "reward_refunded"
    redemption = await buy_delivered(shop) if is_refund else ""
    await service.add_fault("klaviyo", kind="throttled", retry_after=600)
    with temporal.with_time_skipping_disabled():
        if is_refund:
            assert (await shop.refund(redemption)).status_code == 200
        else:
            [redemption] = await buy(shop)
    await wait_until(lambda: _is_retried_later(service, redemption, is_refund=is_refund))

    result = await pointsaga("retry", redemption, "--yes", "--json")

    [one] = result.json["redemptions"]
    assert one["detail"] == f"retry klaviyo{' (refund)' if is_refund else ''} now"
    assert one["actions"][0]["event"] == event
    await (refund_delivered if is_refund else wait_until_delivered)(shop)


async def test_a_first_send_in_progress_can_be_retried(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.add_fault("klaviyo", kind="latency", seconds=2)
    [redemption] = await buy(shop)
    await wait_until(lambda: service.requests("klaviyo"))

    result = await pointsaga("retry", redemption, "--channel", "klaviyo", "--yes", "--json")

    assert result.json["redemptions"][0]["detail"] == "retry klaviyo now"
    await wait_until_delivered(shop)
    assert len((await service.vendor("klaviyo"))["events"]) == 1


async def _is_retried_later(service: Service, redemption: str, *, is_refund: bool) -> bool:
    """Whether the workflow waits for the next attempt of a delivery that has failed."""
    workflow = service.refund_workflow(redemption) if is_refund else service.purchase_workflow(redemption)
    pending = (await workflow.describe()).raw_description.pending_activities
    return [one.last_failure.message != "" for one in pending] == [True]


async def test_a_retry_replaces_a_missing_workflow(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)
    await terminate(service, purchase_workflow_id(redemption, 1))
    await service.clear_faults("klaviyo")
    await an_hour_later(service)

    result = await pointsaga("retry", redemption, "--yes", "--json")

    assert result.json["redemptions"][0]["detail"] == "recover attempt 1, retry klaviyo"
    await wait_until_delivered(shop)
    assert [kind for kind, _ in await logged_actions(service)] == ["restart_requested"]


@pytest.mark.parametrize("command", ["retry", "redrive"])
async def test_a_missing_refund_workflow_is_replaced(
    service: Service, shop: Shop, pointsaga: CommandLine, command: str
) -> None:
    redemption = await refund_rejected(shop)
    await terminate(service, refund_workflow_id(redemption))
    await service.clear_faults("klaviyo")
    await an_hour_later(service)

    stuck = await wait_for_stuck(service, StuckKind.RUN_GONE)
    result = await pointsaga(command, redemption, "--yes", "--json", *BY_ANN)

    assert stuck.why == "not delivered: klaviyo (refund); the workflow is terminated"
    assert result.json["redemptions"][0]["detail"] == "recover the refund, retry klaviyo"
    await refund_delivered(shop)
    [(kind, entry)] = await logged_actions(service)
    assert (kind, entry["event"], entry["by"]) == ("restart_requested", "reward_refunded", "ann")


async def test_a_terminated_refund_is_redriven_by_query(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    redemption = await refund_pending(shop)
    await terminate(service, refund_workflow_id(redemption))
    await service.clear_faults("shopify")
    await an_hour_later(service)

    preview = await pointsaga("redrive", "--query", "ExecutionStatus = 'Terminated'", "--dry-run", "--json")
    await pointsaga("redrive", "--query", "ExecutionStatus = 'Terminated'", "--yes")

    [planned] = [one for one in preview.json["planned"] if one["redemption_id"] == redemption]
    assert (planned["kind"], planned["event"]) == ("run_gone", "reward_refunded")
    assert planned["why"] == "the refund is not done; the workflow is terminated"
    await refund_delivered(shop)
    assert (await shop.lots(), await service.audit()) == ([500], [])


async def test_a_refund_waiting_for_shopify_is_shown(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    redemption = await refund_pending(shop)
    await an_hour_later(service)

    stuck = await wait_for_stuck(service, StuckKind.REFUND_WAITS)
    result = await pointsaga("retry", redemption, "--yes", "--json")
    receipt = (await pointsaga("show", redemption)).out

    assert (stuck.why, stuck.command) == ("the code is not yet removed at Shopify", f"pointsaga show {redemption}")
    assert result.json["nothing_to_do"] == 1
    for words in (refund_workflow_id(redemption), "remove_discount_code, attempt", "HTTP 401", "by API key"):
        assert words in receipt
    await service.clear_faults("shopify")
    await refund_delivered(shop)


async def test_a_dry_run_changes_nothing(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)
    before = await requests(service, "klaviyo")

    preview = await pointsaga("retry", redemption, "--dry-run")
    [action] = (await pointsaga("retry", redemption, "--dry-run", "--json")).json["planned"][redemption]

    assert "retry klaviyo" in preview.out
    assert (action["action"], action["event"], action["channels"]) == ("retry", "reward_redeemed", ["klaviyo"])
    assert await logged_actions(service) == []
    assert await requests(service, "klaviyo") == before


async def test_nothing_is_done_without_confirmation(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)

    assert "pass --yes" in (await pointsaga("retry", redemption, status=2)).err
    assert await logged_actions(service) == []


async def test_nothing_is_done_with_an_unknown_id(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy_rejected(shop)

    result = await pointsaga("retry", redemption, "cr_unknown", "--yes", status=2)

    assert result.err == "there is no redemption cr_unknown; nothing was done\n"
    assert await logged_actions(service) == []


@pytest.mark.parametrize("event", ["reward_redeemed", "reward_refunded"])
async def test_a_skip_completes_the_workflow(service: Service, shop: Shop, pointsaga: CommandLine, event: str) -> None:
    if event == "reward_refunded":
        redemption, end = await refund_rejected(shop), service.wait_for_refund
    else:
        [redemption], end = await buy_rejected(shop), service.wait_for_purchase

    result = await pointsaga("skip", redemption, *SKIP)

    [action] = result.json["redemptions"][0]["actions"]
    assert (action["action"], action["event"]) == ("skip", event)
    assert await end(redemption) == "COMPLETED"
    assert (await shop.deliveries(event))["klaviyo"] == "skipped"
    assert await logged_actions(service) == [("delivery_skip_requested", facts(event, "left Klaviyo"))]


async def test_a_skip_needs_no_workflow(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    redemption = await buy_terminated(shop)
    await an_hour_later(service)

    await pointsaga("skip", redemption, *SKIP)

    assert await delivery_statuses(shop) == {"skipped": 1, "sent": 3}
    await pointsaga("stuck")


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--channel", "fax", "--reason", "x"], "--channel"),
        (["--reason", "x"], "--channel"),
        (["--channel", "klaviyo"], "--reason"),
    ],
)
async def test_a_skip_needs_channel_and_reason(pointsaga: CommandLine, words: list[str], wrong: str) -> None:
    assert f"'{wrong}'" in (await pointsaga("skip", "cr_any", *words, "--yes", status=2)).err
