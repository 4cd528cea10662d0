"""`pointsaga refund`."""

import json

from tests.commands.conftest import Pointsaga, a_process
from tests.commands.scenes import a_shop_of, buy
from tests.service import Service

WHY = ("--by", "ann", "--reason", "the order was cancelled")


async def test_a_refund_kills_the_code_restores_the_lots_and_changes_nothing_the_second_time(
    service: Service, pointsaga: Pointsaga
) -> None:
    shop = await a_shop_of(service)
    [redemption] = await buy(shop)

    said = await pointsaga("refund", redemption, "--yes", *WHY)

    assert "500 points for £5 off your next order, active" in said.out
    assert "refunded: the code is removed, and the points are back" in said.out
    assert (await shop.lots(), await shop.discounts("live")) == ([500], [])
    again = await pointsaga("refund", redemption, "--yes", "--json", *WHY)
    assert again.json["result"] == "refunded"
    assert await shop.lots() == [500]
    assert await service.audit() == []


async def test_a_used_code_is_refused_and_nothing_is_changed(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    [redemption] = await buy(shop)
    await shop.use((await shop.discounts("live"))[0]["code"])

    said = await pointsaga("refund", redemption, "--yes", *WHY, status=1)

    assert "refused: its discount code has been used" in said.out
    assert await shop.lots() == [0]


async def test_a_refund_is_shown_before_it_is_made(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    [redemption] = await buy(shop)

    said = await pointsaga("refund", redemption, "--dry-run", "--json", *WHY)

    assert said.json["result"] == "planned"
    assert "planned: its code would be removed" in (await pointsaga("refund", redemption, "--dry-run", *WHY)).out
    assert await shop.balance() == 0


async def test_a_refund_that_waits_for_shopify_says_so_and_goes_on_by_itself(
    service: Service, pointsaga: Pointsaga
) -> None:
    shop = await a_shop_of(service)
    [redemption] = await buy(shop)
    await service.fault("shopify", kind="status", status=502, times=None)

    impatient = Pointsaga({**pointsaga.env, "PURCHASE_DEADLINE_SECONDS": "2"})
    refunding = await a_process(impatient, "refund", redemption, "--yes", "--json", *WHY)
    said, logged = await refunding.communicate()

    assert refunding.returncode == 1
    told = json.loads(said)
    assert told["result"] == "pending"
    assert told["detail"].startswith("it has begun and waits for Shopify")
    assert b"the engine gave no answer" in logged
    await service.heal("shopify")
    assert await service.end_of_refund(redemption) == "COMPLETED"
    assert await shop.lots() == [500]


async def test_a_redemption_that_nobody_knows_is_a_misuse(pointsaga: Pointsaga) -> None:
    said = await pointsaga("refund", "cr_nobody", "--yes", *WHY, status=2)

    assert "there is no redemption cr_nobody" in said.err
