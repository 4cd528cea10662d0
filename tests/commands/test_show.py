"""`pointsaga show`: what happened, from the ledger."""

from tests.commands.conftest import Pointsaga, command_line
from tests.commands.scenes import a_shop_of, buy, refused_by_klaviyo
from tests.service import Service, a_customer, a_lot, a_shop


async def test_a_receipt_tells_lots_steps_deliveries_and_the_run(service: Service, pointsaga: Pointsaga) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(300, days_old=9), a_lot(300, days_old=8))))
    [redemption] = await refused_by_klaviyo(shop)

    receipt = (await pointsaga("show", redemption, "--json")).json
    said = (await pointsaga("show", redemption)).out

    assert (receipt["status"], receipt["shop"], receipt["points_spent"]) == ("active", shop.domain, 500)
    assert [lot["points"] for lot in receipt["lots"]] == [300, 200]
    assert {one["channel"]: one["status"] for one in receipt["deliveries"]}["klaviyo"] == "failed"
    steps = [step["what"] for step in receipt["steps"]]
    assert steps[:2] == ["attempt 1: 500 points reserved", "attempt 1: captured, the code is the customer's"]
    assert "klaviyo: failed" in steps
    [run] = receipt["runs"]
    assert (run["status"], run["stage"]) == ("running", "NeedsAttention")
    assert run["link"] == f"http://ui.test/namespaces/default/workflows/redemption-{redemption}-1"
    [code] = await shop.discounts("live")
    for words in (redemption, code["code"], "500 points reserved", "HTTP 401", run["link"]):
        assert words in said


async def test_points_that_came_back_are_on_the_receipt(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)
    await service.fault("shopify", kind="status", status=401, times=None)
    assert (await shop.purchase()).status_code == 503
    [redemption] = await shop.redemptions()
    await service.end_of(redemption.id)

    receipt = (await pointsaga("show", redemption.id, "--json")).json

    assert receipt["status"] == "failed"
    [release] = receipt["reversals"]
    assert (release["kind"], release["points"]) == ("release", 500)
    assert "attempt 1: code void" in [step["what"] for step in receipt["steps"]]


async def test_an_unknown_redemption_is_the_askers_mistake(pointsaga: Pointsaga) -> None:
    said = await pointsaga("show", "cr_nobody", "--json", status=2)

    assert said.err == "there is no redemption cr_nobody\n"
    assert said.out == ""


async def test_without_the_engine_the_ledger_still_tells(service: Service) -> None:
    [redemption] = await buy(await a_shop_of(service))

    said = await command_line(service)("show", redemption, "--json", TEMPORAL_ADDRESS="127.0.0.1:1")

    assert said.json["status"] == "active"
    assert said.json["runs"] is None
    assert "cannot be asked" in said.err
