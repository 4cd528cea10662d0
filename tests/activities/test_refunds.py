"""Taking codes and giving points back, when answers are lost, tries overlap, and a use comes in between."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from clients.outcomes import Unknown, VendorError
from database import Sessions
from db import redemptions, refunds
from db.tables import Delivery, DiscountCode, PointLot, Redemption, Refund
from tests.activities.conftest import Steps, steps_for
from tests.service import Service, a_lot, until


async def wished(service: Service, steps: Steps) -> None:
    """A redemption that is captured, and that somebody wants refunded."""
    await steps.points.reserve_points(steps.first)
    await steps.discounts.generate_discount_code(steps.first)
    async with service.store.begin() as session:
        row = await session.get_one(Redemption, steps.first.redemption_id)
        await refunds.ask(session, row, actor="an operator", reason=None, channels=["klaviyo"])


async def refund_of(service: Service, steps: Steps) -> Refund:
    async with service.store() as session:
        return await session.get_one(Refund, steps.first.redemption_id)


async def use(store: Sessions, steps: Steps) -> bool:
    """What the order's webhook does."""
    async with store.begin() as session:
        return await redemptions.use(session, steps.first.redemption_id, at=datetime.now(UTC))


async def test_refunding_twice_gives_the_points_back_once(service: Service, steps: Steps) -> None:
    await wished(service, steps)

    for _ in range(2):
        assert await steps.refunds.remove_discount_code(steps.first)
        assert await steps.refunds.refund_points(steps.first)

    assert await steps.shop.lots() == [300, 400]
    assert await steps.shop.deliveries("reward_refunded") == {"klaviyo": "pending"}
    assert await service.audit() == []


async def test_overlapping_tries_refund_once(service: Service, steps: Steps) -> None:
    await wished(service, steps)
    await service.fault("shopify", operation="discountCodeDelete", kind="latency", seconds=0.2, times=2)

    assert all(await asyncio.gather(*(steps.refunds.remove_discount_code(steps.first) for _ in range(3))))
    assert all(await asyncio.gather(*(steps.refunds.refund_points(steps.first) for _ in range(3))))

    assert await steps.shop.lots() == [300, 400]
    assert (await refund_of(service, steps)).code_removed is True
    assert await service.audit() == []


@pytest.mark.parametrize("operation", ["discountCodeDeactivate", "discountCodeDelete", "codeDiscountNodeByCode"])
@pytest.mark.parametrize("kind", ["execute_then_drop", "drop", "broken_json", "down"])
async def test_a_lost_answer_does_not_make_us_forget_that_the_code_was_there(
    service: Service, steps: Steps, operation: str, kind: str
) -> None:
    await wished(service, steps)
    await service.fault("shopify", operation=operation, kind=kind, times=1)

    with pytest.raises(VendorError):
        await steps.refunds.remove_discount_code(steps.first)
    assert await steps.shop.lots() == [0, 200]
    assert await steps.refunds.remove_discount_code(steps.first)

    assert (await refund_of(service, steps)).code_removed is True
    assert [one["status"] for one in await steps.shop.discounts()] == ["deleted"]


async def test_a_discount_that_outlives_its_deletion_is_deleted_again(service: Service, steps: Steps) -> None:
    await wished(service, steps)
    done: dict[str, Any] = {"data": {"discountCodeDelete": {"userErrors": []}}}
    await service.fault("shopify", operation="discountCodeDelete", kind="status", status=200, body=done)

    with pytest.raises(Unknown):
        await steps.refunds.remove_discount_code(steps.first)
    assert await steps.refunds.remove_discount_code(steps.first)

    assert [one["status"] for one in await steps.shop.discounts()] == ["deleted"]


async def test_a_code_that_shopify_makes_late_does_not_come_back_after_its_refund(
    service: Service, steps: Steps
) -> None:
    await steps.points.reserve_points(steps.first)
    await service.fault("shopify", operation="discountCodeBasicCreate", kind="execute_late", seconds=1)
    with pytest.raises(Unknown):
        await steps.discounts.generate_discount_code(steps.first)
    await wished(service, steps)

    assert await steps.refunds.remove_discount_code(steps.first)
    assert await steps.refunds.refund_points(steps.first)

    await asyncio.sleep(1.2)
    assert [one["status"] for one in await steps.shop.discounts()] == ["expired"]


async def test_nobody_can_use_a_code_between_the_count_and_its_end(service: Service, steps: Steps) -> None:
    await wished(service, steps)
    [discount] = await steps.shop.discounts()
    await service.fault("shopify", operation="discountCodeDelete", kind="latency", seconds=0.5)
    removing = asyncio.ensure_future(steps.refunds.remove_discount_code(steps.first))
    await until(lambda: is_noted(service, steps))

    with pytest.raises(AssertionError, match="does not work"):
        await steps.shop.use(discount["code"])

    assert await removing


async def is_noted(service: Service, steps: Steps) -> bool:
    return (await refund_of(service, steps)).code_removed is True


async def test_a_use_that_is_told_of_after_the_code_was_removed_keeps_the_points(
    service: Service, steps: Steps
) -> None:
    await wished(service, steps)
    assert await steps.refunds.remove_discount_code(steps.first)
    assert await use(service.store, steps)

    assert await steps.refunds.refund_points(steps.first) is False

    assert ((await refund_of(service, steps)).state, (await steps.row()).status) == ("refused", "used")
    assert await steps.shop.lots() == [0, 200]
    assert await service.audit() == []


@pytest.mark.parametrize("refund_first", [True, False])
async def test_of_a_use_and_a_refund_the_one_that_commits_first_wins(
    service: Service, steps: Steps, *, refund_first: bool
) -> None:
    await wished(service, steps)
    mine, number = steps.first.redemption_id, steps.first.number
    async with service.store() as first:
        if refund_first:
            assert await redemptions.refund(first, mine, number)
            second = asyncio.ensure_future(use(service.store, steps))
        else:
            assert await redemptions.use(first, mine, at=datetime.now(UTC))
            second = asyncio.ensure_future(steps.refunds.refund_points(steps.first))
        await asyncio.wait([second], timeout=0.3)
        assert not second.done()
        if refund_first:
            await refunds.complete(first, await first.get_one(Redemption, mine))
        await first.commit()

    assert await second is False
    assert await steps.shop.lots() == ([300, 400] if refund_first else [0, 200])
    assert await service.audit() == []


async def test_a_use_and_a_refund_at_once_never_both_happen(service: Service) -> None:
    for _ in range(10):
        steps = await steps_for(service, a_lot(500))
        await wished(service, steps)

        used, refunded = await asyncio.gather(use(service.store, steps), steps.refunds.refund_points(steps.first))

        assert used is not refunded
        assert await steps.shop.lots() == [500 if refunded else 0]
    assert await service.audit() == []


async def test_a_lot_that_expired_meanwhile_gets_its_points_back_with_a_week_to_spend_them(service: Service) -> None:
    steps = await steps_for(service, a_lot(10_000, expires_in=timedelta(days=1)))
    await wished(service, steps)
    mine = PointLot.customer_id == steps.first.customer_id
    async with service.store.begin() as session:
        await session.execute(update(PointLot).where(mine).values(expires_at=func.now() - timedelta(hours=1)))

    await steps.refunds.remove_discount_code(steps.first)
    assert await steps.refunds.refund_points(steps.first)

    # The 9500 beside them have expired and stay so.
    assert await steps.shop.lots() == [9500, 500]
    assert await steps.shop.balance() == 500
    assert await service.audit() == []


async def test_nobody_is_sent_a_code_that_was_taken_back(service: Service, steps: Steps) -> None:
    await wished(service, steps)

    await steps.refunds.remove_discount_code(steps.first)
    await steps.refunds.refund_points(steps.first)

    assert await steps.shop.deliveries() == {"klaviyo": "skipped"}
    assert await steps.shop.deliveries("reward_refunded") == {"klaviyo": "pending"}
    async with service.store() as session:
        codes = select(DiscountCode.state).where(DiscountCode.redemption_id == steps.first.redemption_id)
        assert list(await session.scalars(codes)) == ["void"]
        mine = Delivery.redemption_id == steps.first.redemption_id
        whys = await session.scalars(select(Delivery.last_error).where(mine, Delivery.status == "skipped"))
        assert list(whys) == ["refunded before it was sent"]
