"""`pointsaga retry` and `pointsaga skip`."""

import pytest
from sqlalchemy import select

from db.tables import Delivery
from tests.commands.conftest import Pointsaga
from tests.commands.scenes import (
    a_shop_of,
    all_sent,
    buy,
    mended,
    much_later,
    refused_by_klaviyo,
    requests_logged,
    statuses,
    terminate,
    terminated_while_klaviyo_is_down,
)
from tests.service import Service, until

WHY = ("--by", "ann", "--reason", "the key is mended")


async def test_a_refused_delivery_is_tried_again_and_the_log_knows_who_asked(
    service: Service, pointsaga: Pointsaga
) -> None:
    shop = await a_shop_of(service)
    [redemption] = await refused_by_klaviyo(shop)
    await mended(service)

    said = await pointsaga("retry", redemption, "--yes", *WHY)

    await all_sent(shop)
    assert "acted: 1, nothing to do: 0, failed: 0" in said.out
    assert len((await service.vendor("klaviyo"))["events"]) == 1
    facts = {"by": "ann", "reason": "the key is mended", "event": "reward_redeemed", "channels": ["klaviyo"]}
    assert await requests_logged(service) == [("delivery_retry_requested", facts)]


async def test_retried_again_when_all_is_done_there_is_nothing_to_do(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    [redemption] = await refused_by_klaviyo(shop)
    await mended(service)
    await pointsaga("retry", redemption, "--yes")
    await all_sent(shop)

    said = await pointsaga("retry", redemption, "--yes", "--json")

    assert (said.json["acted"], said.json["nothing_to_do"]) == (0, 1)
    assert len(await requests_logged(service)) == 1


async def test_what_waits_for_its_next_try_is_tried_now(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    await service.fault("klaviyo", kind="throttled", retry_after=600)
    [redemption] = await buy(shop)
    await until(lambda: _only_klaviyo_is_put_off(service))

    said = await pointsaga("retry", redemption, "--yes", "--json")

    assert said.json["redemptions"][0]["detail"] == "try klaviyo now"
    await all_sent(shop)


async def test_where_the_run_is_gone_a_retry_starts_a_settlement_that_tries_again(
    service: Service, pointsaga: Pointsaga
) -> None:
    shop = await a_shop_of(service)
    [redemption] = await refused_by_klaviyo(shop)
    await terminate(service, redemption)
    await mended(service)
    await much_later(service)

    said = await pointsaga("retry", redemption, "--yes", "--json")

    assert said.json["redemptions"][0]["detail"] == "settle attempt 1, retry klaviyo"
    await all_sent(shop)
    assert [kind for kind, _ in await requests_logged(service)] == ["restart_requested"]


async def test_a_dry_run_tells_and_does_nothing(service: Service, pointsaga: Pointsaga) -> None:
    [redemption] = await refused_by_klaviyo(await a_shop_of(service))
    before = (await service.vendor("klaviyo"))["requests"]

    said = await pointsaga("retry", redemption, "--dry-run")
    planned = (await pointsaga("retry", redemption, "--dry-run", "--json")).json["planned"]

    assert "retry klaviyo" in said.out
    [action] = planned[redemption]
    assert (action["action"], action["event"], action["channels"]) == ("retry", "reward_redeemed", ["klaviyo"])
    assert await requests_logged(service) == []
    assert (await service.vendor("klaviyo"))["requests"] == before


async def test_nothing_is_done_while_nobody_can_be_asked(service: Service, pointsaga: Pointsaga) -> None:
    [redemption] = await refused_by_klaviyo(await a_shop_of(service))

    said = await pointsaga("retry", redemption, status=2)

    assert "say --yes" in said.err
    assert await requests_logged(service) == []


async def test_one_unknown_redemption_stops_it_before_anything_is_done(service: Service, pointsaga: Pointsaga) -> None:
    [redemption] = await refused_by_klaviyo(await a_shop_of(service))

    said = await pointsaga("retry", redemption, "cr_nobody", "--yes", status=2)

    assert said.err == "there is no redemption cr_nobody; nothing was done\n"
    assert await requests_logged(service) == []


async def test_a_skipped_channel_is_left_untold_and_the_run_ends(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    [redemption] = await refused_by_klaviyo(shop)

    await pointsaga("skip", redemption, "--channel", "klaviyo", "--reason", "left Klaviyo", "--by", "ann", "--yes")

    assert await service.end_of(redemption) == "COMPLETED"
    assert await statuses(shop) == {"skipped": 1, "sent": 3}
    facts = {"by": "ann", "reason": "left Klaviyo", "event": "reward_redeemed", "channels": ["klaviyo"]}
    assert await requests_logged(service) == [("delivery_skip_requested", facts)]


async def test_a_channel_is_skipped_even_where_no_run_waits(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    redemption = await terminated_while_klaviyo_is_down(shop)
    await much_later(service)

    await pointsaga("skip", redemption, "--channel", "klaviyo", "--reason", "left Klaviyo", "--yes")

    assert await statuses(shop) == {"skipped": 1, "sent": 3}
    await pointsaga("stuck")


@pytest.mark.parametrize("words", [["--channel", "fax", "--reason", "x"], ["--reason", "x"], ["--channel", "klaviyo"]])
async def test_a_skip_needs_a_channel_and_a_reason(pointsaga: Pointsaga, words: list[str]) -> None:
    await pointsaga("skip", "cr_any", *words, "--yes", status=2)


async def _only_klaviyo_is_put_off(service: Service) -> bool:
    async with service.store() as session:
        waiting = await session.execute(
            select(Delivery.channel, Delivery.last_error).where(Delivery.status == "pending")
        )
        return [(channel, bool(error)) for channel, error in waiting] == [("klaviyo", True)]
