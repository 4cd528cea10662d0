"""`pointsaga refund`."""

import json

from tests.commands.conftest import CommandLine
from tests.commands.scenes import BY_ANN, buy
from tests.service import Service
from tests.shop import Shop


async def test_a_refund_removes_code_and_returns_points(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy(shop)

    result = await pointsaga("refund", redemption, "--yes", *BY_ANN)
    repeated = await pointsaga("refund", redemption, "--yes", "--json", *BY_ANN)

    assert "500 points for £5 off your next order, active" in result.out
    assert "refunded: the code is removed, and the points are refunded" in result.out
    assert repeated.json["result"] == "refunded"
    assert "it was refunded before" in repeated.json["detail"]
    assert (await shop.lots(), await shop.discounts("live")) == ([500], [])
    assert await service.audit() == []


async def test_a_used_code_is_not_refunded(shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy(shop)
    await shop.use_code((await shop.discounts("live"))[0]["code"])

    result = await pointsaga("refund", redemption, "--yes", *BY_ANN, status=1)

    assert "refused: the discount code has been used" in result.out
    assert await shop.lots() == [0]


async def test_a_dry_run_refunds_nothing(shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy(shop)

    result = await pointsaga("refund", redemption, "--dry-run", "--json", *BY_ANN)

    assert result.json["result"] == "planned"
    assert "planned: the code would be removed" in (await pointsaga("refund", redemption, "--dry-run", *BY_ANN)).out
    assert await shop.balance() == 0


async def test_a_refund_outlives_its_command(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy(shop)
    await service.add_fault("shopify", kind="status", status=502, times=None)

    words = ("refund", redemption, "--yes", "--json", *BY_ANN)
    process = await pointsaga.start(*words, PURCHASE_DEADLINE_SECONDS="2")
    out, err = await process.communicate()

    assert process.returncode == 1
    result = json.loads(out)
    assert result["result"] == "pending"
    assert "waiting for Shopify" in result["detail"]
    assert b"no answer from the workflow" in err
    await service.clear_faults("shopify")
    assert await service.wait_for_refund(redemption) == "COMPLETED"
    assert await shop.lots() == [500]


async def test_an_unknown_redemption_is_wrong_usage(pointsaga: CommandLine) -> None:
    result = await pointsaga("refund", "cr_unknown", "--yes", *BY_ANN, status=2)

    assert "there is no redemption cr_unknown" in result.err
