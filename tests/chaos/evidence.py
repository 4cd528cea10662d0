"""What is known when all is over: from the customers, the ledger, the vendors and the engine."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from temporalio.client import Client

from clients.marketing import POINTS_NAMES
from database import Sessions
from db.audit import Finding, audit
from db.tables import (
    ActivityLog,
    Base,
    Delivery,
    DiscountCode,
    Earning,
    IdempotencyKey,
    LedgerEntry,
    PointLot,
    Redemption,
    RedemptionDraw,
    Refund,
)
from domain.channels import Channel
from domain.events import EventKind
from domain.redemptions import CAPTURED
from tests.chaos.operators import RUNS
from tests.chaos.subscriber import Heard
from tests.chaos.vendors import Vendors
from tests.chaos.wishes import Order, Purchase, Wish, Wishes
from tests.chaos.world import DOMAIN, Json, World

Row = TypeVar("Row", bound=Base)
MARKETING = (Channel.KLAVIYO, Channel.OMNISEND, Channel.POSTSCRIPT)
News = tuple[str, EventKind]
"""A discount code, and what happened to it."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All of it, as of one moment after the recovery."""

    world: World
    wishes: Wishes
    still_open: dict[str, int]
    keys: dict[str, IdempotencyKey]
    rows: dict[str, Redemption]
    refunds: dict[str, Refund]
    """By redemption."""
    codes: Sequence[DiscountCode]
    draws: Sequence[RedemptionDraw]
    lots: dict[int, PointLot]
    entries: Sequence[LedgerEntry]
    earnings: Sequence[Earning]
    log: Sequence[ActivityLog]
    deliveries: Sequence[Delivery]
    discounts: Sequence[Json]
    """Every discount that Shopify ever had, fences too."""
    told: dict[Channel, Counter[News]]
    """How often each marketing vendor, and the subscriber, took a piece of news."""
    heard: Sequence[Heard]
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
    def captured(self) -> list[Redemption]:
        """Redemptions that were paid for, refunded ones included."""
        return [row for row in self.rows.values() if row.status in CAPTURED]

    @cached_property
    def balances(self) -> dict[str, int]:
        """Customer → points in all lots."""
        found: Counter[str] = Counter()
        for lot in self.lots.values():
            found[lot.customer_id] += lot.remaining
        return found

    @cached_property
    def purchase_of(self) -> dict[str, Purchase]:
        """Redemption → the purchase it was made for."""
        by_key = {purchase.key: purchase for purchase in self.wishes.purchases}
        return {claim.redemption_id: by_key[key] for key, claim in self.keys.items() if key in by_key}

    @cached_property
    def order_of(self) -> dict[str, Order]:
        """Redemption → the order that its code was used in."""
        return {order.redemption_id: order for order in self.wishes.orders}

    @property
    def unheard(self) -> Iterator[Wish]:
        """Wishes that came true and were not answered, and adjustments of which nobody knows."""
        for purchase in self.wishes.purchases:
            row = self.row_of(purchase)
            if row is not None and row.status in CAPTURED and not purchase.bought:
                yield purchase
        for refund in self.wishes.refunds:
            if refund.redemption_id in self.refunds and not refund.decided:
                yield refund
        yield from (adjustment for adjustment in self.wishes.adjustments if not adjustment.decided)

    def row_of(self, purchase: Purchase) -> Redemption | None:
        """The purchase's row, if it came so far."""
        claim = self.keys.get(purchase.key)
        return self.rows.get(claim.redemption_id) if claim else None

    def code_of(self, row: Redemption) -> str | None:
        """The code that the customer of a captured redemption was given."""
        mine = (one for one in self.codes if (one.redemption_id, one.attempt) == (row.id, row.attempt))
        return next((one.code for one in mine if one.state != "foreign"), None)


async def gather(
    store: Sessions,
    vendors: Vendors,
    temporal: Client,
    *,
    world: World,
    wishes: Wishes,
    heard: Sequence[Heard],
    open_: Json,
) -> Evidence:
    """Ask every side."""
    async with store.begin() as session:
        findings = await audit(session)
    async with store() as session:
        return Evidence(
            world=world,
            wishes=wishes,
            still_open=open_,
            keys={one.key: one for one in await _all(session, IdempotencyKey)},
            rows={one.id: one for one in await _all(session, Redemption)},
            refunds={one.redemption_id: one for one in await _all(session, Refund)},
            codes=await _all(session, DiscountCode),
            draws=await _all(session, RedemptionDraw),
            lots={one.id: one for one in await _all(session, PointLot)},
            entries=await _all(session, LedgerEntry),
            earnings=await _all(session, Earning),
            log=await _all(session, ActivityLog),
            deliveries=await _all(session, Delivery),
            discounts=[one for one in (await vendors.look("shopify"))["discounts"] if one["shop"] == DOMAIN],
            told={vendor: _told(vendor, (await vendors.look(vendor))["events"]) for vendor in MARKETING}
            | {Channel.WEBHOOKS: Counter((one.code, one.kind) for one in heard if one.is_thanked_for)},
            heard=heard,
            runs={run.id: run.status.name if run.status else "?" async for run in temporal.list_workflows(RUNS)},
            findings=findings,
        )


def redemption_of(discount: Json) -> str:
    """The redemption that a discount is tagged with."""
    return next((tag for tag in discount["tags"] if tag.startswith("cr_")), "nobody's")


async def _all(session: AsyncSession, table: type[Row]) -> list[Row]:
    return list(await session.scalars(select(table)))


def _told(vendor: Channel, events: Sequence[Json]) -> Counter[News]:
    inner = [event["data"]["attributes"] if vendor is Channel.KLAVIYO else event for event in events]
    return Counter(_news(event["properties"]) for event in inner)


def _news(properties: Json) -> News:
    kind = next(kind for kind, name in POINTS_NAMES.items() if name in properties)
    return properties["discount_code"], kind
