"""Differences between ledger and Shopify are found."""

from datetime import timedelta

import pytest

from activities.drift import Drift
from db.vault import Vault
from tests.builders import a_lot, encrypt_with_lost_key
from tests.faults import FIND_CODE, VendorFault
from tests.service import Service
from tests.steps import Steps, steps_for

CODES_ARE_DUE = timedelta(hours=2)


@pytest.fixture
def drift(service: Service, steps: Steps) -> Drift:
    return Drift(service.store, Vault(service.settings.encryption_keys), steps.shopify)


async def logged(steps: Steps) -> list[str]:
    return [entry.kind for entry in await steps.shop.activity_log()]


async def test_an_unpaid_code_is_deleted(service: Service, steps: Steps, drift: Drift) -> None:
    await steps.points.reserve_points(steps.first)
    store, discount = await steps.planned_discount()
    await steps.points.release_points(steps.first)
    await steps.discounts.void_discount_code(steps.first)
    await steps.shopify.create_discount(store, discount)
    await service.let_time_pass(CODES_ARE_DUE)

    assert await drift.check_codes(None) == 1

    assert await steps.shop.discounts("live") == []
    assert await logged(steps) == ["unpaid_discount_code_removed"]


async def test_a_missing_paid_code_is_logged(service: Service, steps: Steps, drift: Drift) -> None:
    await steps.capture()
    [discount] = await steps.shop.discounts("live")
    store, _ = await steps.planned_discount()
    await steps.shopify.delete_discount(store, discount["id"])
    await service.let_time_pass(CODES_ARE_DUE)

    assert await drift.check_codes(None) == 1

    assert await logged(steps) == ["reward_redeemed", "discount_code_missing"]


async def test_equal_codes_are_compared_once_an_hour(service: Service, steps: Steps, drift: Drift) -> None:
    await steps.capture()
    await service.let_time_pass(CODES_ARE_DUE)

    assert [await drift.check_codes(None), await drift.check_codes(None)] == [0, 0]

    operations = [call["operation"] for call in (await service.vendor("shopify"))["calls"]]
    assert operations.count(FIND_CODE) == 1
    assert len(await steps.shop.discounts("live")) == 1


async def test_a_failed_comparison_is_not_a_difference(service: Service, steps: Steps, drift: Drift) -> None:
    await steps.capture()
    await service.let_time_pass(CODES_ARE_DUE)
    await service.inject("shopify", VendorFault.UNAUTHORIZED)

    assert await drift.check_codes(None) == 0

    assert await logged(steps) == ["reward_redeemed"]


async def test_unreadable_credentials_do_not_stop_the_batch(
    service: Service, steps: Steps, drift: Drift, caplog: pytest.LogCaptureFixture
) -> None:
    other = await steps_for(service, a_lot(500))
    await steps.capture()
    await other.capture()
    await steps.shop.set_credentials(shopify=encrypt_with_lost_key(access_token="shpat_lost"))
    (await service.vendors.delete("/_sandbox")).raise_for_status()
    await service.let_time_pass(CODES_ARE_DUE)

    assert await drift.check_codes(None) == 1

    assert await logged(steps) == ["reward_redeemed"]
    assert await logged(other) == ["reward_redeemed", "discount_code_missing"]
    assert "none of ENCRYPTION_KEYS decrypts the shop's credentials" in caplog.text
