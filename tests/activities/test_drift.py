"""The sweep: ledger and Shopify are made to disagree, and it is found."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from activities.drift import Drift
from db.tables import ActivityLog, DiscountCode
from db.vault import Vault
from tests.activities.conftest import Steps, steps_for
from tests.activities.test_discounts import planned
from tests.service import Service, a_lot, sealed_by_a_lost_key


@pytest.fixture
def drift(service: Service, steps: Steps) -> Drift:
    return Drift(service.store, Vault(service.settings.encryption_keys), steps.shopify)


async def an_hour_later(service: Service, *steps: Steps) -> None:
    """These redemptions' codes, and no others, are due."""
    mine = DiscountCode.redemption_id.in_([one.first.redemption_id for one in steps])
    async with service.store.begin() as session:
        await session.execute(update(DiscountCode).where(~mine).values(checked_at=func.now()))
        due = func.now() - timedelta(hours=2)
        await session.execute(update(DiscountCode).where(mine).values(checked_at=due, updated_at=due))


async def reports(service: Service, steps: Steps) -> list[str]:
    """What the merchant reads of this redemption."""
    mine = ActivityLog.redemption_id == steps.first.redemption_id
    async with service.store() as session:
        return list(await session.scalars(select(ActivityLog.kind).where(mine).order_by(ActivityLog.id)))


async def test_a_code_that_nobody_paid_for_is_removed(service: Service, steps: Steps, drift: Drift) -> None:
    await steps.points.reserve_points(steps.first)
    store, discount = await planned(service, steps)
    await steps.points.release_points(steps.first)
    await steps.discounts.void_discount_code(steps.first)
    await steps.shopify.create_discount(store, discount)
    await an_hour_later(service, steps)

    assert await drift.check_codes(None) == 1

    assert await steps.shop.discounts("live") == []
    assert await reports(service, steps) == ["unpaid_discount_code_removed"]


async def test_a_paid_code_that_is_gone_is_reported(service: Service, steps: Steps, drift: Drift) -> None:
    await steps.points.reserve_points(steps.first)
    store, _ = await planned(service, steps)
    await steps.discounts.generate_discount_code(steps.first)
    [discount] = await steps.shop.discounts("live")
    await steps.shopify.delete_discount(store, discount["id"])
    await an_hour_later(service, steps)

    assert await drift.check_codes(None) == 1

    assert await reports(service, steps) == ["reward_redeemed", "discount_code_missing"]


async def test_codes_that_agree_are_left_alone_and_not_asked_about_for_an_hour(
    service: Service, steps: Steps, drift: Drift
) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    await an_hour_later(service, steps)

    assert [await drift.check_codes(None), await drift.check_codes(None)] == [0, 0]

    asked = [call["operation"] for call in (await service.vendor("shopify"))["calls"]]
    assert asked.count("codeDiscountNodeByCode") == 1
    assert len(await steps.shop.discounts("live")) == 1


async def test_a_shop_that_cannot_be_asked_does_not_stop_the_sweep(
    service: Service, steps: Steps, drift: Drift
) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    await an_hour_later(service, steps)
    await service.fault("shopify", kind="status", status=401)

    assert await drift.check_codes(None) == 0

    assert await reports(service, steps) == ["reward_redeemed"]


async def test_credentials_that_cannot_be_read_are_reported_and_the_other_shops_codes_are_looked_at(
    service: Service, steps: Steps, drift: Drift, caplog: pytest.LogCaptureFixture
) -> None:
    sound = await steps_for(service, a_lot(500))
    for one in (steps, sound):
        await one.points.reserve_points(one.first)
        await one.discounts.generate_discount_code(one.first)
    await steps.shop.keep_credentials(shopify=sealed_by_a_lost_key(access_token="shpat_lost"))
    (await service.vendors.delete("/_sandbox")).raise_for_status()
    await an_hour_later(service, steps, sound)

    assert await drift.check_codes(None) == 1

    assert await reports(service, steps) == ["reward_redeemed"]
    assert await reports(service, sound) == ["reward_redeemed", "discount_code_missing"]
    assert "none of ENCRYPTION_KEYS opens the shop's credentials" in caplog.text
