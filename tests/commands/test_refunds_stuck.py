"""A refund that does not come to its end: how it is listed, and what an operator has done about it."""

import asyncio

import pytest

from domain.refunds import refund_id
from services.stuck import Kind
from tests.commands.conftest import Pointsaga
from tests.commands.scenes import (
    a_shop_of,
    at_rest,
    buy,
    mended,
    much_later,
    refunded_unheard_by_klaviyo,
    refused_by_klaviyo,
    requests_logged,
    terminate_run,
)
from tests.commands.test_stuck import listed
from tests.service import Service, Shop, until

WHY = ("--by", "ann", "--reason", "the key is mended")


@pytest.fixture
async def shop(service: Service) -> Shop:
    return await a_shop_of(service)


async def all_told(shop: Shop) -> None:
    """Everybody has heard of purchase and refund, Klaviyo of each once, and the run is over."""
    await at_rest(shop, sent=8)
    klaviyo = await shop.service.vendor("klaviyo")
    assert (len(klaviyo["events"]), klaviyo["duplicates"]) == (2, 0)
    [redemption] = await shop.redemptions()
    assert await shop.service.end_of_refund(redemption.id) == "COMPLETED"


async def test_refused_news_of_a_refund_is_listed_and_tried_again(
    service: Service, pointsaga: Pointsaga, shop: Shop
) -> None:
    redemption = await refunded_unheard_by_klaviyo(shop)
    stuck = await listed(service, Kind.NEEDS_ATTENTION)
    await mended(service)

    preview = (await pointsaga("retry", redemption, "--dry-run", "--json")).json["planned"]
    said = await pointsaga("retry", redemption, "--channel", "klaviyo", "--yes", *WHY)

    assert (stuck.event, stuck.run) == ("reward_refunded", refund_id(redemption))
    assert stuck.why.startswith("klaviyo (refund): HTTP 401")
    assert stuck.command == f"pointsaga retry {redemption}"
    [action] = preview[redemption]
    assert (action["event"], action["run"]) == ("reward_refunded", refund_id(redemption))
    assert "retry klaviyo (refund)" in said.out
    await all_told(shop)
    facts = {"by": "ann", "reason": "the key is mended", "event": "reward_refunded", "channels": ["klaviyo"]}
    assert await requests_logged(service) == [("delivery_retry_requested", facts)]
    again = await pointsaga("retry", redemption, "--yes", "--json")
    assert (again.json["acted"], again.json["nothing_to_do"]) == (0, 1)


async def test_a_purchase_and_its_refund_are_asked_for_each_by_itself(
    service: Service, pointsaga: Pointsaga, shop: Shop
) -> None:
    [redemption] = await refused_by_klaviyo(shop)
    await mended(service)
    await pointsaga("retry", redemption, "--yes")
    await at_rest(shop, sent=4)
    await service.fault("klaviyo", kind="status", status=401, times=None)
    assert (await shop.refund(redemption)).status_code == 200
    await at_rest(shop, failed=1, sent=7)
    await mended(service)

    await pointsaga("retry", redemption, "--yes")

    await all_told(shop)
    asked = [(facts["event"], facts["channels"]) for _, facts in await requests_logged(service)]
    assert asked == [("reward_redeemed", ["klaviyo"]), ("reward_refunded", ["klaviyo"])]


async def test_news_of_a_refund_that_wait_for_their_next_try_are_tried_now(
    service: Service, pointsaga: Pointsaga, shop: Shop
) -> None:
    [redemption] = await buy(shop)
    await service.end_of(redemption)
    await service.fault("klaviyo", kind="throttled", retry_after=600)
    assert (await shop.refund(redemption)).status_code == 200
    await until(lambda: _is_throttled(service))

    said = await pointsaga("retry", redemption, "--yes", "--json")

    [one] = said.json["redemptions"]
    assert one["detail"] == "try klaviyo (refund) now"
    assert one["actions"][0]["event"] == "reward_refunded"
    await all_told(shop)


async def _is_throttled(service: Service) -> bool:
    return any(call["fault"] for call in (await service.vendor("klaviyo"))["calls"])


async def test_a_refund_is_left_untold_and_its_run_ends(service: Service, pointsaga: Pointsaga, shop: Shop) -> None:
    redemption = await refunded_unheard_by_klaviyo(shop)

    words = ("--channel", "klaviyo", "--reason", "left Klaviyo", "--by", "ann", "--yes", "--json")
    said = await pointsaga("skip", redemption, *words)

    [action] = said.json["redemptions"][0]["actions"]
    assert (action["action"], action["event"]) == ("skip", "reward_refunded")
    assert await service.end_of_refund(redemption) == "COMPLETED"
    assert (await shop.deliveries("reward_refunded"))["klaviyo"] == "skipped"
    facts = {"by": "ann", "reason": "left Klaviyo", "event": "reward_refunded", "channels": ["klaviyo"]}
    assert await requests_logged(service) == [("delivery_skip_requested", facts)]


@pytest.mark.parametrize("command", ["retry", "redrive"])
async def test_a_refund_whose_run_is_gone_is_begun_again_and_tells_who_refused(
    service: Service, pointsaga: Pointsaga, shop: Shop, command: str
) -> None:
    redemption = await refunded_unheard_by_klaviyo(shop)
    await terminate_run(service, refund_id(redemption))
    await mended(service)
    await much_later(service)

    stuck = await listed(service, Kind.RUN_GONE)
    said = await pointsaga(command, redemption, "--yes", "--json", *WHY)

    assert stuck.why == "not told: klaviyo (refund); the run is terminated"
    assert said.json["redemptions"][0]["detail"] == "resume the refund, retry klaviyo"
    await all_told(shop)
    [(kind, facts)] = await requests_logged(service)
    assert (kind, facts["event"], facts["by"]) == ("restart_requested", "reward_refunded", "ann")


async def test_a_refund_that_was_terminated_half_way_is_found_by_a_query_and_made(
    service: Service, pointsaga: Pointsaga, shop: Shop
) -> None:
    redemption = await waits_for_shopify(shop)
    await terminate_run(service, refund_id(redemption))
    await service.heal("shopify")
    await much_later(service)

    preview = await pointsaga("redrive", "--query", "ExecutionStatus = 'Terminated'", "--dry-run", "--json")
    await pointsaga("redrive", "--query", "ExecutionStatus = 'Terminated'", "--yes")

    [planned] = [one for one in preview.json["planned"] if one["redemption_id"] == redemption]
    assert (planned["kind"], planned["event"]) == ("run_gone", "reward_refunded")
    assert planned["why"] == "the refund is not made; the run is terminated"
    await all_told(shop)
    assert (await shop.lots(), await service.audit()) == ([500], [])


async def waits_for_shopify(shop: Shop) -> str:
    """A refund whose code Shopify does not let go, and whose caller has gone away."""
    [redemption] = await buy(shop)
    await shop.service.end_of(redemption)
    before = (await shop.service.vendor("shopify"))["requests"]
    await shop.service.fault("shopify", kind="status", status=401, times=None)
    asked = asyncio.ensure_future(shop.refund(redemption))
    await until(lambda: _was_asked(shop.service, before))
    asked.cancel()
    return redemption


async def _was_asked(service: Service, before: int) -> bool:
    return (await service.vendor("shopify"))["requests"] > before


async def test_a_refund_that_waits_for_shopify_is_listed_and_shown_and_needs_no_command(
    service: Service, pointsaga: Pointsaga, shop: Shop
) -> None:
    redemption = await waits_for_shopify(shop)
    await much_later(service)

    stuck = await listed(service, Kind.REFUND_WAITS)
    said = await pointsaga("retry", redemption, "--yes", "--json")
    shown = await pointsaga("show", redemption)

    assert (stuck.why, stuck.command) == ("its code is not removed at Shopify yet", f"pointsaga show {redemption}")
    assert said.json["nothing_to_do"] == 1
    for words in ("refund asked for by API key", refund_id(redemption), "remove_discount_code, try", "HTTP 401"):
        assert words in shown.out
    await service.heal("shopify")
    await all_told(shop)
