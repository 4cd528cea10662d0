"""What is known when all is over: from the customers, the ledger, the vendors and the engine."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import Client

from chaos.operators import RUNS
from chaos.records import Purchase
from chaos.vendors import Vendors
from chaos.world import DOMAIN, Json, World
from db.audit import Finding, audit
from db.engine import Sessions
from db.tables import Base, Delivery, DiscountCode, IdempotencyKey, LedgerEntry, PointLot, Redemption, RedemptionDraw

Row = TypeVar("Row", bound=Base)
MARKETING = ("klaviyo", "omnisend", "postscript")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All of it, as of one moment after the recovery."""

    world: World
    purchases: Sequence[Purchase]
    still_open: dict[str, int]
    keys: dict[str, IdempotencyKey]
    rows: dict[str, Redemption]
    codes: Sequence[DiscountCode]
    draws: Sequence[RedemptionDraw]
    entries: Sequence[LedgerEntry]
    deliveries: Sequence[Delivery]
    balances: dict[str, int]
    discounts: Sequence[Json]
    """Every discount that Shopify ever had, fences too."""
    told: dict[str, Counter[str]]
    """Marketing vendor → discount code → events that arrived."""
    runs: dict[str, str]
    """Workflow id → how it stands."""
    findings: Sequence[Finding]

    @cached_property
    def live(self) -> dict[str, list[Json]]:
        """Redemption → its discounts that a customer can use."""
        found: dict[str, list[Json]] = {}
        for one in self.discounts:
            if one["status"] == "live":
                found.setdefault(redemption_of(one), []).append(one)
        return found

    @cached_property
    def purchase_of(self) -> dict[str, Purchase]:
        """Redemption → the purchase it was made for."""
        by_key = {purchase.key: purchase for purchase in self.purchases}
        return {claim.redemption_id: by_key[key] for key, claim in self.keys.items() if key in by_key}

    def row_of(self, purchase: Purchase) -> Redemption | None:
        """The purchase's row, if it came so far."""
        claim = self.keys.get(purchase.key)
        return self.rows.get(claim.redemption_id) if claim else None

    def code_of(self, row: Redemption) -> str | None:
        """The code that the ledger says the customer has."""
        codes = (one.code for one in self.codes if one.redemption_id == row.id and one.state == "live")
        return next(codes, None)


async def gather(
    store: Sessions, vendors: Vendors, temporal: Client, *, world: World, purchases: Sequence[Purchase], open_: Json
) -> Evidence:
    """Ask every side."""
    async with store.begin() as session:
        findings = await audit(session)
    async with store() as session:
        keys, rows = await _all(session, IdempotencyKey), await _all(session, Redemption)
        return Evidence(
            world=world,
            purchases=purchases,
            still_open=open_,
            keys={one.key: one for one in keys},
            rows={one.id: one for one in rows},
            codes=await _all(session, DiscountCode),
            draws=await _all(session, RedemptionDraw),
            entries=await _all(session, LedgerEntry),
            deliveries=await _all(session, Delivery),
            balances=await _balances(session),
            discounts=[one for one in (await vendors.look("shopify"))["discounts"] if one["shop"] == DOMAIN],
            told={vendor: _told(vendor, (await vendors.look(vendor))["events"]) for vendor in MARKETING},
            runs={run.id: run.status.name if run.status else "?" async for run in temporal.list_workflows(RUNS)},
            findings=findings,
        )


def redemption_of(discount: Json) -> str:
    """The redemption that a discount is tagged with."""
    return next((tag for tag in discount["tags"] if tag.startswith("cr_")), "nobody's")


async def _all(session: AsyncSession, table: type[Row]) -> list[Row]:
    return list(await session.scalars(select(table)))


async def _balances(session: AsyncSession) -> dict[str, int]:
    query = select(PointLot.customer_id, func.sum(PointLot.remaining)).group_by(PointLot.customer_id)
    return {customer: int(points) for customer, points in await session.execute(query)}


def _told(vendor: str, events: Sequence[Json]) -> Counter[str]:
    inner = [event["data"]["attributes"] if vendor == "klaviyo" else event for event in events]
    return Counter(event["properties"]["discount_code"] for event in inner)
