"""Amounts in currencies without decimals, and with three"""

import pytest

from tests.api.support import attributes_of, purchased
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service


@pytest.mark.parametrize(
    ("currency", "amount", "money", "number"), [("JPY", "500", "500", 500), ("KWD", "2.125", "2.125", 2.125)]
)
async def test_an_amount_is_exact_everywhere(
    service: Service, currency: str, amount: str, money: str, number: float
) -> None:
    reward = a_reward(discount_amount=amount, minimum_spend=amount)
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), rewards=[reward], currency=currency))

    redemption = await purchased(shop)

    [discount] = await shop.discounts("live")
    assert discount["asked"]["customerGets"]["value"]["discountAmount"]["amount"] == money
    assert discount["asked"]["minimumRequirement"]["subtotal"]["greaterThanOrEqualToSubtotal"] == money
    shown = attributes_of(await shop.get("/v1/rewards/reward_abc"))
    receipt = attributes_of(await shop.get(f"/v1/reward-history/{redemption}/receipt"))["reward"]
    assert [one[name] for one in (shown, receipt) for name in ("discount_amount", "minimum_spend")] == [number] * 4
    [event] = (await service.vendor("klaviyo"))["events"]
    properties = event["data"]["attributes"]["properties"]
    assert (properties["discount_value"], properties["currency"]) == (number, currency)
