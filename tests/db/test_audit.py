"""The audit finds violations of the ledger's invariants. Every change is rolled back."""

import pytest
from sqlalchemy import text

from database import Sessions
from db.audit import INVARIANTS, count_violations
from tests.builders import a_customer, a_lot, a_shop
from tests.service import Service
from tests.shop import Shop

_LOT, _CUSTOMER, _DRAWS, _COST, _CODE, _REFUND, _STATUS, _TOTALS, _COUNTS = INVARIANTS


@pytest.mark.parametrize(
    ("statement", "violated"),
    [
        ("UPDATE point_lots SET remaining = remaining - 1 WHERE customer_id = :customer", {_LOT, _CUSTOMER}),
        ("UPDATE redemption_draws SET points = points + 1 WHERE redemption_id = :redemption", {_DRAWS}),
        ("UPDATE redemptions SET points_spent = points_spent + 1 WHERE id = :redemption", {_COST}),
        ("UPDATE redemptions SET status = 'failed' WHERE id = :redemption", {_COST, _CODE}),
        ("UPDATE discount_codes SET state = 'void' WHERE redemption_id = :redemption", {_CODE}),
        ("UPDATE customers SET lifetime_points = lifetime_points + 1 WHERE id = :customer", {_TOTALS}),
        ("UPDATE history_counts SET entries = entries + 1 WHERE customer_id = :customer", {_COUNTS}),
        ("UPDATE shops SET customers = customers + 1", {_COUNTS}),
    ],
)
async def test_the_audit_finds_changed_purchases(
    service: Service, store: Sessions, statement: str, violated: set[str]
) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(600))))
    redemption = (await shop.purchase()).json()["data"]["id"]

    assert await _violated(statement, service, store, shop, redemption) == violated


@pytest.mark.parametrize(
    ("statement", "violated"),
    [
        ("UPDATE redemptions SET is_refunded = false WHERE id = :redemption", {_COST, _CODE, _REFUND, _STATUS}),
        ("UPDATE redemptions SET status = 'active' WHERE id = :redemption", {_STATUS}),
        ("UPDATE refunds SET status = 'pending' WHERE redemption_id = :redemption", {_STATUS}),
        ("UPDATE discount_codes SET state = 'live' WHERE redemption_id = :redemption", {_CODE}),
        ("UPDATE redemption_draws SET points = points + 1 WHERE redemption_id = :redemption", {_DRAWS, _REFUND}),
    ],
)
async def test_the_audit_finds_changed_refunds(
    service: Service, store: Sessions, statement: str, violated: set[str]
) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(600))))
    redemption = (await shop.purchase()).json()["data"]["id"]
    assert (await shop.refund(redemption)).status_code == 200

    assert await _violated(statement, service, store, shop, redemption) == violated


async def _violated(statement: str, service: Service, store: Sessions, shop: Shop, redemption: str) -> set[str]:
    """The invariants that are violated by the statement and were not before."""
    assert await service.audit() == []
    async with store.begin() as session:
        await session.execute(text(statement), {"customer": shop.customers[0], "redemption": redemption})
        violated = {name for name, query in INVARIANTS.items() if (await session.execute(query)).first() is not None}
        counts = {name: await count_violations(session, name, of_recent=False) for name in INVARIANTS}
        recent = {name for name in INVARIANTS if await count_violations(session, name, of_recent=True)}
        assert {name for name, number in counts.items() if number} == violated
        # The customers of a shop are counted only with everything else.
        assert recent == (set() if "UPDATE shops" in statement else violated)
        await session.rollback()
    return violated
