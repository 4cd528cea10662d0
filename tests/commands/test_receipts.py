"""`pointsaga show`."""

from datetime import timedelta

from sqlalchemy import select

from db.tables import IdempotencyKey
from tests.builders import a_customer, a_lot, a_shop
from tests.commands.conftest import CommandLine
from tests.commands.scenes import buy, buy_rejected
from tests.service import Service
from tests.shop import Shop


async def test_a_receipt_has_ledger_and_workflows(service: Service, pointsaga: CommandLine) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(300, days_old=9), a_lot(300, days_old=8))))
    [redemption] = await buy_rejected(shop)

    receipt = (await pointsaga("show", redemption, "--json")).json
    text = (await pointsaga("show", redemption)).out

    assert (receipt["status"], receipt["shop"], receipt["points_spent"]) == ("active", shop.domain, 500)
    assert [lot["points"] for lot in receipt["lots"]] == [300, 200]
    assert {one["channel"]: one["status"] for one in receipt["deliveries"]}["klaviyo"] == "failed"
    steps = [step["what"] for step in receipt["steps"]]
    assert steps[0] == "attempt 1: 500 points reserved"
    assert steps[1] == "attempt 1: captured, the customer has the code"
    assert "klaviyo: failed" in steps
    [workflow] = receipt["runs"]
    assert (workflow["status"], workflow["stage"]) == ("running", "NeedsAttention")
    assert workflow["link"] == f"http://ui.test/namespaces/default/workflows/redemption-{redemption}-1"
    [code] = await shop.discounts("live")
    for words in (redemption, code["code"], "500 points reserved", "HTTP 401", workflow["link"]):
        assert words in text


async def test_an_ended_code_is_shown_as_expired(shop: Shop, pointsaga: CommandLine) -> None:
    redemption = await shop.buy()
    await shop.end_code(redemption, timedelta(seconds=-1))

    assert (await pointsaga("show", redemption, "--json")).json["status"] == "expired"
    assert f"{redemption} is expired" in (await pointsaga("show", redemption)).out


async def test_released_points_are_on_the_receipt(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.add_fault("shopify", kind="status", status=401, times=None)
    assert (await shop.purchase()).status_code == 503
    [redemption] = await shop.redemptions()
    await service.wait_for_purchase(redemption.id)

    receipt = (await pointsaga("show", redemption.id, "--json")).json

    assert receipt["status"] == "failed"
    [release] = receipt["reversals"]
    assert (release["kind"], release["points"]) == ("release", 500)
    assert "attempt 1: code void" in [step["what"] for step in receipt["steps"]]


async def test_a_failed_attempt_says_why_without_temporal(service: Service, shop: Shop, pointsaga: CommandLine) -> None:
    await service.add_fault("shopify", kind="status", status=401, times=None)
    assert (await shop.purchase()).status_code == 503
    [redemption] = await shop.redemptions()

    receipt = (await pointsaga("show", redemption.id, "--json", TEMPORAL_ADDRESS="127.0.0.1:1")).json
    text = (await pointsaga("show", redemption.id, TEMPORAL_ADDRESS="127.0.0.1:1")).out

    [failure] = receipt["failures"]
    assert (failure["attempt"], failure["code"]) == (1, "configuration_rejected")
    assert "HTTP 401" in failure["reason"]
    assert "attempt 1: failed" in text


async def test_a_refused_purchase_can_be_shown(service: Service, pointsaga: CommandLine) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(5))))
    assert (await shop.purchase()).status_code == 422
    async with service.store() as session:
        [redemption] = await session.scalars(select(IdempotencyKey.redemption_id))

    shown = (await pointsaga("show", redemption, "--json")).json

    assert (shown["status"], shown["shop"]) == ("refused", shop.domain)
    assert [one["id"] for one in shown["runs"]] == [f"redemption-{redemption}-1"]
    assert "is refused" in (await pointsaga("show", redemption)).out


async def test_an_unknown_redemption_is_wrong_usage(pointsaga: CommandLine) -> None:
    result = await pointsaga("show", "cr_unknown", "--json", status=2)

    assert (result.out, result.err) == ("", "there is no redemption cr_unknown\n")


async def test_receipts_work_without_temporal(shop: Shop, pointsaga: CommandLine) -> None:
    [redemption] = await buy(shop)

    result = await pointsaga("show", redemption, "--json", TEMPORAL_ADDRESS="127.0.0.1:1")

    assert (result.json["status"], result.json["runs"]) == ("active", None)
    assert "is unavailable" in result.err


async def test_a_redemption_is_found_by_whatever_is_known(shop: Shop, pointsaga: CommandLine) -> None:
    headers = {"Authorization": shop.full_key, "X-Request-Id": f"req-{shop.domain}"}
    body = {"customer_identifier": shop.customers[0]}
    answer = await shop.service.api.post("/v1/rewards/reward_abc/purchase", headers=headers, json=body)
    entry = answer.json()["data"]
    code = entry["attributes"]["discount_code"]

    for known in (f"redemption-{entry['id']}-1", f"refund-{entry['id']}", headers["X-Request-Id"], code, code.lower()):
        assert (await pointsaga("show", known, "--json")).json["id"] == entry["id"], known


async def test_a_refused_purchase_is_found_by_its_request(shop: Shop, pointsaga: CommandLine) -> None:
    answer = await shop.purchase(reward="unknown")

    result = await pointsaga("show", answer.headers["x-request-id"])

    assert "is refused: no points were reserved" in result.out
