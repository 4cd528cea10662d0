"""Two customers are merged, before, during and after the steps of a redemption."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, text, update
from sqlalchemy.exc import DBAPIError

from activities.attempt import Attempt
from activities.expiry import Expiry
from clients.outcomes import NotExecuted
from db import customers, refunds
from db.merges import merge_customers
from db.redemptions import find_redemption
from db.tables import Customer, PointLot
from domain.ids import new_redemption_id
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service
from tests.steps import Steps, steps_for


@pytest.fixture
async def steps(service: Service) -> AsyncGenerator[Steps]:
    """Steps of a customer with 300 older and 400 newer points; Sam, the other customer, has 100. Audited afterwards."""
    steps = await steps_for(service, a_lot(300, days_old=20), a_lot(400))
    await add_sam(steps)
    yield steps
    assert await service.audit() == []


async def add_sam(steps: Steps, *lots: Any) -> None:
    sam = a_customer(*(lots or [a_lot(100)]), first_name="Sam")
    await steps.service.import_shop({**a_shop(sam, rewards=[]), "domain": steps.shop.domain, "api_keys": []})
    steps.shop.customers.append(sam["shopify_customer_id"])


async def merge(steps: Steps, *, merged: int = 0, kept: int = 1) -> bool:
    """Merge two of the shop's customers, by number."""
    ids = {"kept_id": steps.shop.customers[kept], "merged_id": steps.shop.customers[merged]}
    async with steps.service.store.begin() as session:
        return await merge_customers(session, steps.first.shop_id, **ids, actor="Shopify")


async def customer(steps: Steps, number: int) -> Customer:
    async with steps.service.store() as session:
        return await session.get_one(Customer, (steps.first.shop_id, steps.shop.customers[number]))


async def points(steps: Steps) -> list[int]:
    """Points of Jane and of Sam."""
    return [(await customer(steps, number)).points for number in (0, 1)]


async def refund(steps: Steps, attempt: Attempt) -> None:
    """Request a refund, and return the points."""
    async with steps.service.store.begin() as session:
        row = await find_redemption(session, attempt.shop_id, attempt.redemption_id)
        assert row is not None
        await refunds.request_refund(session, row, actor="test", reason=None, channels=[])
    assert await steps.refunds.remove_discount_code(attempt)
    assert await steps.refunds.refund_points(attempt)


async def test_the_kept_customer_gets_points_history_and_totals(steps: Steps) -> None:
    await steps.capture()
    before = await customer(steps, 0)

    assert await merge(steps)

    jane, sam = await customer(steps, 0), await customer(steps, 1)
    assert [(one.points, one.lifetime_points, one.redeemed_points) for one in (jane, sam)] == [
        (0, 0, 0),
        (300, 800, 500),
    ]
    assert (jane.merged_into, jane.excluded, jane.email, jane.first_name) == (sam.id, True, None, None)
    assert (sam.first_name, sam.phone) == ("Sam", before.phone)
    assert sorted(await steps.shop.lots(sam.id)) == [0, 100, 200]
    [entry] = (await steps.shop.get(f"/v1/customers/{sam.id}/reward-history")).json()["data"]
    assert entry["id"] == steps.first.redemption_id
    assert (await steps.shop.get(f"/v1/customers/{jane.id}/reward-history")).json()["data"] == []


async def test_a_merge_is_in_both_activity_logs(steps: Steps) -> None:
    await merge(steps)

    jane, sam = steps.shop.customers
    for identifier, facts in (
        (jane, {"merged_into": sam}),
        (sam, {"merged_customer_id": jane, "points": 700, "lots": 2, "redemptions": 0}),
    ):
        [newest, *_] = (await steps.shop.get(f"/v1/customers/{identifier}/activity")).json()["data"]
        assert newest["attributes"]["kind"] == "customers_merged"
        assert (newest["attributes"]["actor"], newest["attributes"]["facts"]) == ("Shopify", facts)


async def test_a_repeated_merge_changes_nothing(steps: Steps) -> None:
    assert await merge(steps)
    again = await asyncio.gather(merge(steps), merge(steps), merge(steps, merged=1, kept=0))

    assert again == [False, False, False]
    assert await points(steps) == [0, 800]


async def test_a_repeated_merge_does_not_wait_for_the_merged_customer(steps: Steps) -> None:
    """The holder locks the survivor next, so a merge that waits while it holds the survivor would deadlock."""
    await merge(steps)
    async with steps.service.store.begin() as purchase:
        await customers.lock_customer(purchase, steps.first.shop_id, steps.shop.customers[0])

        assert not await asyncio.wait_for(merge(steps), timeout=10)


async def test_merges_can_follow_one_another_in_any_order(steps: Steps) -> None:
    await add_sam(steps, a_lot(50))
    # Sam → the third one arrives before Jane → Sam.
    await merge(steps, merged=1, kept=2)
    await merge(steps, merged=0, kept=1)

    assert [(await customer(steps, number)).points for number in range(3)] == [0, 0, 850]


async def test_an_unknown_survivor_becomes_a_member(steps: Steps) -> None:
    steps.shop.customers[1] = "4711"

    assert await merge(steps)

    kept = await customer(steps, 1)
    assert (kept.points, kept.first_name, kept.excluded) == (700, "Jane", False)


async def test_an_unknown_customer_is_not_merged(steps: Steps) -> None:
    steps.shop.customers[0] = "4711"

    assert not await merge(steps)


async def test_equal_import_ids_stay_apart_and_are_not_imported_again(service: Service) -> None:
    steps = await steps_for(service, a_lot(300, lot_id="signup"))
    await add_sam(steps, a_lot(100, lot_id="signup"))
    lot = a_lot(300, lot_id="signup")
    jane = a_customer(lot, customer_id=steps.shop.customers[0])

    await merge(steps)
    await service.import_shop({**a_shop(jane, rewards=[]), "domain": steps.shop.domain, "api_keys": []})

    assert await points(steps) == [0, 400]
    assert await service.audit() == []


async def test_the_ledger_permits_no_other_change(steps: Steps) -> None:
    for change in ("customer_id = (SELECT max(id) FROM customers WHERE id <> customer_id)", "points = points"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with steps.service.store.begin() as session:
                await session.execute(text(f"UPDATE ledger_entries SET {change}"))


async def test_a_purchase_goes_on_for_the_kept_customer(steps: Steps) -> None:
    await merge(steps)
    assert await steps.points.reserve_points(steps.first) is None
    assert (await steps.row()).customer_id == steps.shop.customers[1]

    await steps.discounts.generate_discount_code(steps.first)

    assert (await steps.row()).status == "active"
    assert await points(steps) == [0, 300]
    [code] = await steps.shop.discounts("live")
    assert code["customers"] == [steps.shop.customers[1]]


async def test_the_merged_customer_is_not_refused_as_excluded(steps: Steps) -> None:
    await merge(steps)

    refused = await steps.shop.purchase(customer=steps.shop.customers[0], reward="reward_unknown")

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (404, "reward_not_found")


async def test_a_quote_for_the_merged_customer_says_what_a_purchase_would_do(steps: Steps) -> None:
    jane, sam = steps.shop.customers
    await merge(steps)

    quoted = (await steps.shop.quote(customer=jane)).json()["data"]["attributes"]
    rewards = (await steps.shop.get(f"/v1/customers/{jane}/rewards")).json()["data"]

    assert (quoted["customer_id"], quoted["redeemable"], quoted["balance_before"]) == (sam, True, 800)
    assert [one["attributes"]["redeemable"] for one in rewards] == [True]
    assert await steps.points.reserve_points(steps.first) is None
    assert await points(steps) == [0, quoted["balance_after"]]


async def test_points_for_the_merged_customer_go_to_the_kept_customer(steps: Steps) -> None:
    await merge(steps)

    answer = await steps.shop.adjust(50, customer=steps.shop.customers[0])

    assert answer.json()["data"]["attributes"]["adjustment"] == 50
    assert await points(steps) == [0, 850]


async def test_reserved_points_are_released_to_the_kept_customer(steps: Steps) -> None:
    await steps.points.reserve_points(steps.first)
    await merge(steps)

    assert await steps.points.release_points(steps.first)

    assert await points(steps) == [0, 800]


async def test_a_code_of_the_merged_customer_is_replaced_before_the_capture(
    steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    await steps.points.reserve_points(steps.first)
    create, merged = steps.shopify.create_discount, list[bool]()

    async def create_and_merge(*arguments: Any) -> str:
        gid = await create(*arguments)
        if not merged:
            merged.append(await merge(steps))
        return gid

    monkeypatch.setattr(steps.shopify, "create_discount", create_and_merge)
    for _ in range(2):
        with pytest.raises(NotExecuted):
            await steps.discounts.generate_discount_code(steps.first)
    await steps.discounts.generate_discount_code(steps.first)

    [code] = await steps.shop.discounts("live")
    assert code["customers"] == [steps.shop.customers[1]]
    assert await points(steps) == [0, 300]


async def test_a_refund_after_the_merge_returns_the_points_to_the_kept_customer(steps: Steps) -> None:
    await steps.capture()
    await merge(steps)

    await refund(steps, steps.first)

    assert await points(steps) == [0, 800]
    assert (await customer(steps, 1)).redeemed_points == 0


async def test_a_merge_races_with_a_purchase_a_refund_and_an_expiry(steps: Steps) -> None:
    """Each of them waits for the other on another connection, in both orders."""
    await steps.capture()
    second = steps.first.model_copy(update={"redemption_id": new_redemption_id()})
    await expire_sams_lot(steps)
    for first_to_lock in (0, 1):
        async with steps.service.store.begin() as blocker:
            await customers.lock_customer(blocker, steps.first.shop_id, steps.shop.customers[first_to_lock])
            racing = [
                asyncio.create_task(one)
                for one in (merge(steps), steps.points.reserve_points(second), refund_or_nothing(steps))
            ]
            await asyncio.sleep(0.2)
        await asyncio.gather(*racing)
        await Expiry(steps.service.store).expire_points(None)

    # 200 were left, the refund has returned 500, Sam's 100 have expired, and the second purchase may have cost 500.
    held = sum(row.points_spent for row in await steps.shop.redemptions() if row.status == "pending")
    assert sum(await points(steps)) == 700 - held
    assert (await points(steps))[0] == 0


async def expire_sams_lot(steps: Steps) -> None:
    mine = update(PointLot).where(PointLot.customer_id == steps.shop.customers[1])
    async with steps.service.store.begin() as session:
        await session.execute(mine.values(expires_at=func.now() - timedelta(hours=1)))


async def refund_or_nothing(steps: Steps) -> None:
    async with steps.service.store() as session:
        row = await find_redemption(session, steps.first.shop_id, steps.first.redemption_id)
    if row is not None and not row.is_refunded:
        await refund(steps, steps.first)
