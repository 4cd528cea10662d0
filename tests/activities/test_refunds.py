"""Removing codes and refunding points, with unknown outcomes, overlapping calls and uses."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from clients.outcomes import Unknown, VendorError
from database import Sessions
from db import redemptions, refunds
from db.tables import Delivery, Redemption, Refund
from tests.builders import a_lot
from tests.faults import CREATE_CODE, DEACTIVATE_CODE, DELETE_CODE, FIND_CODE, VendorFault
from tests.service import Service
from tests.steps import Steps, steps_for
from tests.waiting import wait_until


@pytest.fixture
async def steps(steps: Steps) -> Steps:
    """A captured redemption with a refund request."""
    return await capture_and_request(steps)


async def capture_and_request(steps: Steps) -> Steps:
    await steps.capture()
    async with steps.service.store.begin() as session:
        row = await session.get_one(Redemption, steps.first.redemption_id)
        await refunds.request_refund(session, row, actor="an operator", reason=None, channels=["klaviyo"])
    return steps


async def refund_of(steps: Steps) -> Refund:
    async with steps.service.store() as session:
        return await session.get_one(Refund, steps.first.redemption_id)


async def refund(steps: Steps) -> None:
    assert await steps.refunds.remove_discount_code(steps.first)
    assert await steps.refunds.refund_points(steps.first)


async def use(store: Sessions, steps: Steps) -> bool:
    """Use the code, as an order's webhook does."""
    async with store.begin() as session:
        return await redemptions.use(session, steps.first.redemption_id, at=datetime.now(UTC))


async def statuses(steps: Steps) -> list[str]:
    return [one["status"] for one in await steps.shop.discounts()]


async def test_overlapping_refunds_return_the_points_once(service: Service, steps: Steps) -> None:
    await service.inject("shopify", VendorFault.SLOW, operation=DELETE_CODE, seconds=0.2, times=2)

    assert all(await asyncio.gather(*(steps.refunds.remove_discount_code(steps.first) for _ in range(3))))
    assert all(await asyncio.gather(*(steps.refunds.refund_points(steps.first) for _ in range(3))))
    await refund(steps)

    assert await steps.shop.lots() == [300, 400]
    assert await steps.shop.deliveries("reward_refunded") == {"klaviyo": "pending"}
    assert (await refund_of(steps)).code_removed is True
    assert await service.audit() == []


@pytest.mark.parametrize("operation", [DEACTIVATE_CODE, DELETE_CODE, FIND_CODE])
@pytest.mark.parametrize("fault", [VendorFault.LOST, VendorFault.DROPPED, VendorFault.GARBLED, VendorFault.DOWN])
async def test_a_retry_keeps_the_record_of_the_removal(
    service: Service, steps: Steps, operation: str, fault: VendorFault
) -> None:
    await service.inject("shopify", fault, operation=operation, times=1)

    with pytest.raises(VendorError):
        await steps.refunds.remove_discount_code(steps.first)
    assert await steps.shop.lots() == [0, 200]
    assert await steps.refunds.remove_discount_code(steps.first)

    assert (await refund_of(steps)).code_removed is True
    assert await statuses(steps) == ["deleted"]


async def test_a_discount_that_survives_its_deletion_is_deleted_again(service: Service, steps: Steps) -> None:
    done: dict[str, Any] = {"data": {"discountCodeDelete": {"userErrors": []}}}
    await service.add_fault("shopify", operation=DELETE_CODE, kind="status", status=200, body=done)

    with pytest.raises(Unknown):
        await steps.refunds.remove_discount_code(steps.first)
    assert await steps.refunds.remove_discount_code(steps.first)

    assert await statuses(steps) == ["deleted"]


async def test_a_late_creation_cannot_restore_a_refunded_code(service: Service) -> None:
    steps = await steps_for(service, a_lot(700))
    await steps.points.reserve_points(steps.first)
    await service.inject("shopify", VendorFault.LATE, operation=CREATE_CODE, seconds=1)
    with pytest.raises(Unknown):
        await steps.discounts.generate_discount_code(steps.first)
    await capture_and_request(steps)

    await refund(steps)

    await asyncio.sleep(1.2)
    assert await statuses(steps) == ["expired"]


async def test_a_code_cannot_be_used_during_its_removal(service: Service, steps: Steps) -> None:
    [discount] = await steps.shop.discounts()
    await service.inject("shopify", VendorFault.SLOW, operation=DELETE_CODE, seconds=0.5)
    removal = asyncio.ensure_future(steps.refunds.remove_discount_code(steps.first))
    await wait_until(lambda: is_deactivated(steps))

    is_removed, use = await asyncio.gather(removal, steps.shop.use_code(discount["code"]), return_exceptions=True)

    assert is_removed is True
    assert "not usable" in str(use)


async def is_deactivated(steps: Steps) -> bool:
    return (await refund_of(steps)).code_removed is True


async def test_a_use_after_the_removal_keeps_the_points_spent(service: Service, steps: Steps) -> None:
    assert await steps.refunds.remove_discount_code(steps.first)
    assert await use(service.store, steps)

    assert await steps.refunds.refund_points(steps.first) is False

    assert ((await refund_of(steps)).status, (await steps.row()).status) == ("refused", "used")
    assert await steps.shop.lots() == [0, 200]
    assert await service.audit() == []


@pytest.mark.parametrize("refund_first", [True, False])
async def test_the_first_commit_of_use_and_refund_wins(service: Service, steps: Steps, *, refund_first: bool) -> None:
    mine, number = steps.first.redemption_id, steps.first.number
    async with service.store.begin() as first:
        if refund_first:
            assert await redemptions.refund(first, mine, number)
            second = asyncio.ensure_future(use(service.store, steps))
        else:
            assert await redemptions.use(first, mine, at=datetime.now(UTC))
            second = asyncio.ensure_future(steps.refunds.refund_points(steps.first))
        await asyncio.wait([second], timeout=0.3)
        assert not second.done()
        if refund_first:
            await refunds.complete(first, await first.get_one(Redemption, mine), contact=b"")

    assert await second is False
    assert await steps.shop.lots() == ([300, 400] if refund_first else [0, 200])
    assert await service.audit() == []


async def test_a_redemption_is_either_used_or_refunded(service: Service) -> None:
    for _ in range(10):
        steps = await capture_and_request(await steps_for(service, a_lot(500)))

        used, refunded = await asyncio.gather(use(service.store, steps), steps.refunds.refund_points(steps.first))

        assert used is not refunded
        assert await steps.shop.lots() == [500 if refunded else 0]
    assert await service.audit() == []


async def test_points_refunded_to_an_expired_lot_can_be_spent(service: Service) -> None:
    steps = await capture_and_request(await steps_for(service, a_lot(10_000, expires_in=timedelta(days=1))))
    await steps.expire_lots()

    await refund(steps)

    # The other 9,500 stay expired.
    assert await steps.shop.lots() == [9500, 500]
    assert await steps.shop.balance() == 500
    assert await service.audit() == []


async def test_a_refunded_code_is_not_delivered(service: Service, steps: Steps) -> None:
    await refund(steps)

    assert await steps.shop.deliveries() == {"klaviyo": "skipped"}
    assert await steps.shop.deliveries("reward_refunded") == {"klaviyo": "pending"}
    assert [code.state for code in await steps.codes()] == ["void"]
    async with service.store() as session:
        reasons = await session.scalars(select(Delivery.last_error).where(Delivery.status == "skipped"))
        assert list(reasons) == ["refunded before it was sent"]
