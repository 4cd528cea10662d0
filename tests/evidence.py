"""The evidence that invariants are checked against: a shop's ledger, answers of the API, and what vendors hold."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, Self, TypeVar, get_args

import httpx
from pydantic import BaseModel, ConfigDict, TypeAdapter
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from api.errors import DATABASE_UNAVAILABLE
from clients.marketing import EVENT_NAMES
from database import Sessions
from db import tables
from db.audit import Finding, audit
from domain.channels import Channel
from domain.deliveries import DeliveryStatus
from domain.discounts import CodeState
from domain.events import EventKind
from domain.points import EntryKind
from domain.redemptions import RedemptionStatus
from domain.refunds import RefundStatus
from domain.reissues import ReissueStatus

Json = dict[str, Any]
MARKETING = (Channel.KLAVIYO, Channel.OMNISEND, Channel.POSTSCRIPT)
FINAL = frozenset({200, 201, 403, 404, 422})
"""Statuses that a repeated request gets again."""


# The ledger of one shop, as plain values. Class and field names are those of the tables.


class Row(BaseModel):
    model_config = ConfigDict(frozen=True)


class Lot(Row):
    id: int
    customer_id: str
    points: int
    remaining: int
    earned_at: datetime
    expires_at: datetime | None
    import_id: str | None

    @property
    def is_usable(self) -> bool:
        return self.expires_at is None or self.expires_at > datetime.now(UTC)


class Entry(Row):
    id: int
    customer_id: str
    lot_id: int
    points: int
    kind: EntryKind
    redemption_id: str | None
    attempt: int | None
    created_at: datetime


class Draw(Row):
    redemption_id: str
    attempt: int
    lot_id: int
    points: int


class Redemption(Row):
    id: str
    customer_id: str
    reward_id: str
    attempt: int
    status: RedemptionStatus
    is_refunded: bool
    is_queued: bool
    points_spent: int
    captured_at: datetime | None

    @property
    def is_paid(self) -> bool:
        """Whether the customer has paid for a code and was not refunded."""
        return self.status.is_captured and not self.is_refunded

    def __str__(self) -> str:
        return f"{self.status}, refunded" if self.is_refunded else self.status


class Code(Row):
    id: int
    redemption_id: str
    attempt: int
    code: str
    state: CodeState
    is_current: bool


class RefundRow(Row):
    redemption_id: str
    status: RefundStatus


class ReissueRow(Row):
    redemption_id: str
    order_id: str
    status: ReissueStatus
    reissued_at: datetime | None


class Delivery(Row):
    redemption_id: str
    channel: Channel
    event: EventKind
    status: DeliveryStatus
    attempted_at: datetime | None
    last_error: str | None


class Key(Row):
    key: str
    redemption_id: str


class Earning(Row):
    id: str
    action: str
    points: int


class LogEntry(Row):
    id: int
    redemption_id: str | None
    kind: str


class Ledger(Row):
    """What the property tests compare before and after an operation."""

    point_lots: list[Lot]
    ledger_entries: list[Entry]
    redemption_draws: list[Draw]
    redemptions: list[Redemption]
    discount_codes: list[Code]

    def events_of(self, row: Redemption) -> list[EventKind]:
        """What has happened to the redemption and must be delivered, in this order."""
        if not row.status.is_captured:
            has_failed = row.is_queued and row.status is RedemptionStatus.FAILED and self._has_reserved(row)
            return [EventKind.PURCHASE_FAILED] if has_failed else []
        reissued = [EventKind.REWARD_REISSUED] if self.replaced_codes(row) else []
        refunded = [EventKind.REWARD_REFUNDED] if row.is_refunded else []
        return [EventKind.REWARD_REDEEMED, *reissued, *refunded]

    def codes_of(self, row: Redemption) -> list[Code]:
        """The codes of the redemption's last attempt that no other discount has, oldest first."""
        return self._codes.get((row.id, row.attempt), [])

    def replaced_codes(self, row: Redemption) -> list[str]:
        """The codes that were replaced by reissues, oldest first."""
        codes = self.codes_of(row)
        current = max((code.id for code in codes if code.is_current), default=0)
        return [code.code for code in codes if not code.is_current and code.id < current]

    def _has_reserved(self, row: Redemption) -> bool:
        return (row.id, row.attempt) in self._reserved

    @cached_property
    def _codes(self) -> dict[tuple[str, int], list[Code]]:
        found: dict[tuple[str, int], list[Code]] = {}
        for code in sorted(self.discount_codes, key=lambda code: code.id):
            if code.state is not CodeState.FOREIGN:
                found.setdefault((code.redemption_id, code.attempt), []).append(code)
        return found

    @cached_property
    def _reserved(self) -> set[tuple[str, int]]:
        """Redemption and attempt of every reservation."""
        return {(one.redemption_id, one.attempt) for one in self.redemption_draws}

    @cached_property
    def by_id(self) -> dict[str, Redemption]:
        return {row.id: row for row in self.redemptions}


class Records(Ledger):
    """The ledger and everything beside it."""

    refunds: list[RefundRow]
    reissues: list[ReissueRow]
    deliveries: list[Delivery]
    idempotency_keys: list[Key]
    earnings: list[Earning]
    activity_log: list[LogEntry]


AnyLedger = TypeVar("AnyLedger", bound=Ledger)


async def read(session: AsyncSession, kind: type[AnyLedger], *, domain: str) -> AnyLedger:
    """Read a shop's rows in one statement."""
    rows: str = (await session.execute(text(_query(kind)), {"domain": domain})).scalar_one()
    return kind.model_validate_json(rows)


@cache
def _query(kind: type[Ledger]) -> str:
    return f"SELECT json_build_object({', '.join(map(_rows, kind.model_fields, kind.model_fields.values()))})::text"


def _rows(table: str, field: Any) -> str:
    columns = ", ".join(get_args(field.annotation)[0].model_fields)
    of_shop = "shop_id = (SELECT id FROM shops WHERE domain = :domain)"
    if table == "redemption_draws":
        of_shop = f"redemption_id IN (SELECT id FROM redemptions WHERE {of_shop})"
    rows = f"SELECT {columns} FROM {table} WHERE {of_shop}"
    return f"'{table}', (SELECT coalesce(json_agg(r ORDER BY r), '[]') FROM ({rows}) r)"


# Requests and their answers.


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One response. `status` is None if the connection broke before it."""

    began: datetime
    ended: datetime
    status: int | None
    text: str
    api: str = ""

    @classmethod
    def of(cls, response: httpx.Response) -> Self:
        now = datetime.now(UTC)
        return cls(began=now, ended=now, status=response.status_code, text=response.text)

    @property
    def says_nothing(self) -> bool:
        """Whether the outcome stays unknown: no answer, one without access to the database, or a queued purchase."""
        return self.status in (None, 202) or DATABASE_UNAVAILABLE in self.text

    @property
    def is_announced_failure(self) -> bool:
        """Whether a queued purchase has failed. Its subscribers know that, so it is final."""
        has_errors = self.status == 503 and self.text.startswith('{"errors"')
        return has_errors and self.body["errors"][0].get("meta", {}).get("retry") == "new_key"

    @property
    def body(self) -> Any:
        return TypeAdapter(Any).validate_json(self.text)

    @property
    def data(self) -> Json:
        """The document of a purchase or an adjustment."""
        return self.body["data"]

    def __str__(self) -> str:
        if self.status is None:
            return "no answer (connection lost)"
        code = self.body["errors"][0]["code"] if self.text.startswith('{"errors"') else ""
        return f"{self.status} {code}".rstrip()


@dataclass(frozen=True, kw_only=True)
class Request:
    """One intention, however often it was sent."""

    answers: list[Answer] = field(default_factory=list[Answer])
    late_answers: list[Answer] = field(default_factory=list[Answer])
    """Answers to requests that were repeated once everything had ended."""

    def is_decided_by(self, answer: Answer) -> bool:
        """Whether a repeated request gets the answer again."""
        return answer.status in FINAL

    @property
    def final(self) -> list[Answer]:
        return [answer for answer in (*self.answers, *self.late_answers) if self.is_decided_by(answer)]


@dataclass(frozen=True, kw_only=True)
class Purchase(Request):
    """`points`: to spend on a reward with variable pricing."""

    key: str
    customer: str
    reward: str
    points: int | None = None
    is_queued: bool = False

    def is_decided_by(self, answer: Answer) -> bool:
        return super().is_decided_by(answer) or (self.is_queued and answer.is_announced_failure)

    @property
    def was_queued(self) -> bool:
        """Whether its points were held, while the code was to come."""
        return any(answer.status == 202 for answer in self.answers)

    @property
    def successes(self) -> list[Answer]:
        return [answer for answer in self.final if answer.status == 201]

    @property
    def rejection(self) -> Answer | None:
        """The last answer if it excludes a purchase. None also while a later request has had no answer."""
        if any(answer.status == 201 for answer in self.answers):
            return None
        informative = [answer for answer in self.answers if not answer.says_nothing]
        last = max(informative, key=lambda answer: answer.ended, default=None)
        unknown = [answer.began for answer in self.answers if answer.says_nothing]
        return None if last is None or any(began > last.ended for began in unknown) else last


@dataclass(frozen=True, kw_only=True)
class Refund(Request):
    redemption_id: str


# Evidence.


@dataclass(frozen=True)
class Arrival:
    """An event that a receiver accepted. `id`: what it recognizes a duplicate by."""

    redemption_id: str
    code: str
    event: EventKind
    id: str = ""


def arrivals(vendor: Channel, events: Sequence[Json]) -> list[Arrival]:
    """Read the events that a marketing vendor of the sandbox holds."""
    return [_arrival(event["data"]["attributes"] if vendor is Channel.KLAVIYO else event) for event in events]


def _arrival(event: Json) -> Arrival:
    properties = event["properties"]
    # Vendors have the name in different places, and Postscript with underscores.
    words = str(event).replace("_", " ")
    kind = next(kind for kind, name in EVENT_NAMES.items() if name in words)
    return Arrival(properties["redemption_id"], properties["discount_code"], kind, event.get("eventID", ""))


def survivor(customer: str, merged: Mapping[str, str]) -> str:
    """The customer, or who has everything of theirs after all merges."""
    while customer in merged:
        customer = merged[customer]
    return customer


@dataclass(frozen=True, kw_only=True)
class State:
    """A shop at one moment.

    Attributes:
        discounts: every discount that Shopify ever had for the shop.
        costs, caps: by reward. A reward without a cost has variable pricing.
        limits: how often a customer can redeem a reward, by reward.
        removable: redemptions, or their codes, that need not work any more, beside used ones: an order has the code,
            or a refund began.
        merged: customer → the one who has everything since their merge.
        voided: attempts whose code has been voided. None: of every attempt without a purchase.
    """

    ledger: Ledger
    discounts: Sequence[Json]
    costs: Mapping[str, int]
    caps: Mapping[str, int] = field(default_factory=dict[str, int])
    limits: Mapping[str, int] = field(default_factory=dict[str, int])
    removable: Collection[str] = ()
    merged: Mapping[str, str] = field(default_factory=dict[str, str])
    voided: Collection[tuple[str, int]] | None = None

    def cost_of(self, row: Redemption) -> int:
        return self.costs.get(row.reward_id, row.points_spent)

    def survivor(self, customer: str) -> str:
        return survivor(customer, self.merged)


@dataclass(frozen=True, kw_only=True)
class Evidence(State):
    """A shop once everything has ended.

    Attributes:
        awards: points of each customer at the start.
        adjusted: points given to and taken from each customer since, as answered.
        erased: customers whose data were erased, with their idempotency keys.
        channels: where events must be delivered.
        arrivals: what each receiver accepted.
        workflows: workflow id → status.
    """

    ledger: Records
    awards: Mapping[str, int]
    adjusted: Mapping[str, int] = field(default_factory=dict[str, int])
    erased: Collection[str] = ()
    purchases: Sequence[Purchase] = ()
    refunds: Sequence[Refund] = ()
    channels: Collection[Channel]
    arrivals: Mapping[Channel, Sequence[Arrival]]
    workflows: Mapping[str, str] = field(default_factory=dict[str, str])
    findings: Sequence[Finding]

    @classmethod
    async def gather(cls, store: Sessions, sandbox: httpx.AsyncClient, domain: str, **known: Any) -> Self:
        """Read the shop's rows, what vendors hold of it, and what the audit finds. `known`: the other attributes."""
        async with store.snapshot() as session:
            findings = await audit(session)
        async with store() as session:
            ledger = await read(session, Records, domain=domain)
            shop = select(tables.Shop.id).where(tables.Shop.domain == domain).scalar_subquery()
            query = select(tables.Redemption.id).where(tables.Redemption.shop_id != shop)
            of_other_shops = set(await session.scalars(query))

        async def view(vendor: str) -> Json:
            return (await sandbox.get(f"/_sandbox/{vendor}")).raise_for_status().json()

        arrived: dict[Channel, list[Arrival]] = {}
        for vendor in MARKETING:
            every = arrivals(vendor, (await view(vendor))["events"])
            arrived[vendor] = [one for one in every if one.redemption_id not in of_other_shops]
        customers = {row.customer_id for row in (*ledger.point_lots, *ledger.redemptions)}
        subjects = {f"shop {domain}", *(f"lot {lot.id}" for lot in ledger.point_lots)}
        subjects |= {f"customer {one}" for one in customers} | {f"redemption {one}" for one in ledger.by_id}
        return cls(
            ledger=ledger,
            discounts=[one for one in (await view("shopify"))["discounts"] if one["shop"] == domain],
            findings=[finding for finding in findings if finding.subject in subjects],
            **{**known, "arrivals": arrived | known.get("arrivals", {})},
        )

    @cached_property
    def refund_rows(self) -> dict[str, RefundRow]:
        return {refund.redemption_id: refund for refund in self.ledger.refunds}

    @cached_property
    def reissued_at(self) -> dict[str, datetime]:
        """Time of the last reissue, by redemption."""
        return {one.redemption_id: one.reissued_at for one in self.ledger.reissues if one.reissued_at is not None}

    @cached_property
    def redemption_ids(self) -> dict[str, str]:
        """Redemption, or earning, by idempotency key."""
        return {row.key: row.redemption_id for row in self.ledger.idempotency_keys}

    def row_of(self, purchase: Purchase) -> Redemption | None:
        """The redemption of the purchase. That of an erased customer is known only if it was answered."""
        if purchase.customer in self.erased:
            return self.ledger.by_id.get(purchase.successes[0].data["id"]) if purchase.successes else None
        return self.ledger.by_id.get(self.redemption_ids.get(purchase.key, ""))

    def code_of(self, row: Redemption) -> str | None:
        """The code of a captured redemption."""
        return next((one.code for one in self.ledger.codes_of(row) if one.is_current), None)

    def announced_codes(self, row: Redemption, event: EventKind) -> list[str | None]:
        """What the event names: a code that the customer had, or the redemption of a failed purchase."""
        if event is EventKind.PURCHASE_FAILED:
            return [row.id]
        current = self.code_of(row)
        return [*self.ledger.replaced_codes(row), current] if event is EventKind.REWARD_REDEEMED else [current]

    @property
    def returned(self) -> Collection[str]:
        """Redemptions whose points are refunded as their order was cancelled."""
        return ()

    def lasting_answers(self, refund: Refund) -> list[Answer]:
        """The final answers. What refuses a refund, the use in an order, can be gone when the order is cancelled."""
        is_cancelled = refund.redemption_id in self.reissued_at or refund.redemption_id in self.returned
        return [answer for answer in refund.final if not (answer.status == 422 and is_cancelled)]

    def moved(self, kind: EntryKind) -> Counter[str]:
        """Sum of the ledger entries of this kind, by customer."""
        sums: Counter[str] = Counter()
        for entry in self.ledger.ledger_entries:
            sums[entry.customer_id] += entry.points if entry.kind is kind else 0
        return sums
