"""Merges of two customers among purchases, refunds, reissues, expiries and adjustments of both.

No point is lost or doubled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from activities.attempt import Attempt
from activities.expiry import Expiry
from activities.order_webhooks import order_cancelled
from clients.outcomes import VendorError
from clients.shopify_webhooks import Order
from db import customers, discount_codes, refunds, shops
from db.adjustments import Adjustment, adjust
from db.merges import merge_customers
from db.redemptions import find_redemption
from db.tables import Customer, LedgerEntry, PointLot
from domain.errors import EarlierAttemptPending, RedemptionClosed
from domain.ids import new_earning_id, new_redemption_id
from tests.builders import a_customer, a_lot, a_reward, a_shop
from tests.service import Service
from tests.steps import Steps, steps_for

EXAMPLES = 15
_KINDS = ("reserve", "generate", "release", "refund", "cancel", "expire", "adjust")
_operation = st.tuples(st.sampled_from(_KINDS), st.integers(0, 3))


@dataclass
class World:
    """Jane and Sam, who has two redemptions each: 0 and 1 are Jane's, 2 and 3 are Sam's."""

    steps: Steps
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    adjusted: int = 0

    async def apply(self, kind: str, number: int) -> None:
        """Apply an operation to the redemption with this number, or to its customer. It may be refused."""
        attempt, steps = self.attempts[number], self.steps
        try:
            match kind:
                case "reserve":
                    await steps.points.reserve_points(attempt)
                case "generate":
                    await steps.discounts.generate_discount_code(attempt)
                case "release":
                    await steps.points.release_points(attempt)
                case "refund":
                    await self._refund(attempt)
                case "cancel":
                    await self._cancel(attempt)
                case "expire":
                    await self._expire(attempt)
                case _:
                    await self._adjust(attempt, 250 if number % 2 else -150)
        except (RedemptionClosed, EarlierAttemptPending, VendorError):
            pass

    async def merge(self) -> None:
        ids = {"kept_id": self.attempts[2].customer_id, "merged_id": self.attempts[0].customer_id}
        async with self.steps.service.store.begin() as session:
            await merge_customers(session, self.attempts[0].shop_id, **ids, actor="Shopify")

    async def _refund(self, attempt: Attempt) -> None:
        async with self.steps.service.store.begin() as session:
            row = await find_redemption(session, attempt.shop_id, attempt.redemption_id)
            if row is None or not row.status.is_captured:
                return
            await refunds.request_refund(session, row, actor="test", reason=None, channels=[])
        await self.steps.refunds.remove_discount_code(attempt)
        await self.steps.refunds.refund_points(attempt)

    async def _cancel(self, attempt: Attempt) -> None:
        """Let an order use the code and be cancelled, and reissue the code."""
        now = datetime.now(UTC)
        async with self.steps.service.store.begin() as session:
            row = await find_redemption(session, attempt.shop_id, attempt.redemption_id)
            code = row and await discount_codes.customer_code(session, row)
            if code is None:
                return
            shop = await shops.get_shop(session, attempt.shop_id)
            order = {"id": code, "created_at": now, "cancelled_at": now, "discount_codes": [{"code": code}]}
            requested = await order_cancelled(session, shop, Order.model_validate(order))
        if requested:
            reissue = attempt.model_copy(update={"order_id": code})
            await self.steps.reissues.retire_discount_code(reissue)
            assert await self.steps.reissues.reissue_discount_code(reissue)

    async def _expire(self, attempt: Attempt) -> None:
        oldest = select(func.min(PointLot.id)).where(
            PointLot.customer_id == attempt.customer_id, PointLot.remaining > 0
        )
        lot = update(PointLot).where(PointLot.id == oldest.scalar_subquery())
        async with self.steps.service.store.begin() as session:
            await session.execute(lot.values(expires_at=func.now() - timedelta(minutes=1)))
        await Expiry(self.steps.service.store).expire_points(None)

    async def _adjust(self, attempt: Attempt, points: int) -> None:
        wanted = Adjustment(id=new_earning_id(), points=points, moves_lifetime=True, note=None, actor="test")
        async with self.steps.service.store.begin() as session:
            row = await customers.find_customer(session, attempt.shop_id, attempt.customer_id, locked=True)
            if row is not None and not row.excluded:
                await adjust(session, row, wanted)


async def new_world(service: Service) -> World:
    rewards = [a_reward(on_order_cancelled="reissue")]
    steps = await steps_for(service, a_lot(600, days_old=20), a_lot(500), rewards=rewards)
    sam = a_customer(a_lot(700), first_name="Sam")
    await service.import_shop({**a_shop(sam, rewards=[]), "domain": steps.shop.domain, "api_keys": []})
    steps.shop.customers.append(sam["shopify_customer_id"])
    owners = [customer for customer in steps.shop.customers for _ in range(2)]
    ids = [{"redemption_id": new_redemption_id(), "customer_id": owner} for owner in owners]
    return World(steps, [steps.first.model_copy(update=one) for one in ids])


async def totals(service: Service, shop_id: int) -> tuple[int, ...]:
    """Sums over all customers, and the sum of the ledger."""
    columns = (Customer.points, Customer.lifetime_points, Customer.redeemed_points)
    async with service.store() as session:
        sums = (await session.execute(select(*map(func.sum, columns)).where(Customer.shop_id == shop_id))).one()
        ledger = select(func.sum(LedgerEntry.points)).where(LedgerEntry.shop_id == shop_id)
        return *map(int, sums), int((await session.execute(ledger)).scalar_one())


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(before=st.lists(_operation, max_size=6), after=st.lists(_operation, max_size=8))
async def test_a_merge_moves_every_point_once(
    without_temporal: Service, before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]
) -> None:
    world = await new_world(without_temporal)
    shop_id = world.attempts[0].shop_id
    for operation in before:
        await world.apply(*operation)

    sums = await totals(without_temporal, shop_id)
    await world.merge()
    assert await totals(without_temporal, shop_id) == sums
    await world.merge()
    assert await totals(without_temporal, shop_id) == sums

    for operation in after:
        await world.apply(*operation)
    # The audit compares lots, entries, draws, totals and counts of each customer.
    assert await without_temporal.audit() == []
    async with without_temporal.store() as session:
        merged = await session.get_one(Customer, (shop_id, world.attempts[0].customer_id))
        assert (merged.points, merged.lifetime_points, merged.redeemed_points) == (0, 0, 0)
