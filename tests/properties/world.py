"""The real thing: one customer of a new shop in PostgreSQL, the steps themselves, and a Shopify in the sandbox."""

from collections.abc import Awaitable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI
from sqlalchemy import JSON, insert, text

import clients.shopify
from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.expiry import Expiry
from activities.points import Points
from activities.refunds import Refunds
from clients.outcomes import VendorError
from database import Sessions
from db import discount_codes, points, redemptions, refunds
from db.tables import Customer, LedgerEntry, PointLot, Reward, Shop
from db.vault import Vault
from domain.eligibility import Refusal
from domain.errors import EarlierAttemptPending, RedemptionClosed
from domain.redemptions import new_redemption_id
from domain.refunds import RefundRefusal
from sandbox.faults import Fault
from sandbox.shopify import Shopify
from sandbox.transport import SandboxTransport
from settings import Settings
from tests.properties.operations import (
    BUYS,
    REWARDS,
    Earn,
    Generate,
    Message,
    Outcome,
    Refund,
    Release,
    Reserve,
    Void,
    Weather,
)

CUSTOMER = "6789012345"
_CREATE = "discountCodeBasicCreate"
_FAULTS_OF_REFUND = {
    Weather.LOST: Fault(operation="discountCodeDelete", kind="execute_then_drop", times=9),
    Weather.DROPPED: Fault(operation="discountCodeDeactivate", kind="drop", times=9),
    Weather.REFUSED: Fault(kind="status", status=401, times=9),
    Weather.DOWN: Fault(kind="down"),
}
_FAULTS = {
    Weather.LOST: Fault(operation=_CREATE, kind="execute_then_drop", times=9),
    Weather.DROPPED: Fault(operation=_CREATE, kind="drop", times=9),
    Weather.REFUSED: Fault(kind="status", status=401, times=9),
    Weather.DOWN: Fault(kind="down"),
}


@dataclass(frozen=True)
class LotRow:
    """A lot as the database has it."""

    id: int
    points: int
    remaining: int
    earned_at: str
    expires_at: str | None
    usable: bool


@dataclass(frozen=True)
class Entry:
    """A movement in the ledger."""

    id: int
    lot: int
    points: int
    kind: str
    redemption: str | None
    attempt: int | None


@dataclass(frozen=True)
class Row:
    """A redemption's row, the arbiter."""

    attempt: int
    status: str


@dataclass(frozen=True)
class Code:
    """A discount code as the database knows it."""

    redemption: str
    attempt: int
    code: str
    state: str


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that can be seen of the customer at one moment; `live` are the codes that Shopify would take."""

    balance: int
    lots: list[LotRow]
    entries: list[Entry]
    draws: list[list[Any]]
    rows: dict[str, Row]
    codes: list[Code]
    live: list[str]


# `unanswered` and the times of change are left out: they are notes about asking, and an unanswered ask leaves one.
_SNAPSHOT = text(
    """
    SELECT json_build_object(
        'lots', (SELECT json_agg(json_build_array(id, points, remaining, earned_at, expires_at,
                      coalesce(expires_at > clock_timestamp(), true)) ORDER BY id)
                  FROM point_lots WHERE shop_id = :shop),
        'entries', (SELECT json_agg(json_build_array(id, lot_id, points, kind, redemption_id, attempt) ORDER BY id)
                    FROM ledger_entries WHERE shop_id = :shop),
        'draws', (SELECT json_agg(json_build_array(d.redemption_id, d.attempt, d.lot_id, d.points)
                      ORDER BY d.redemption_id, d.attempt, d.lot_id)
                  FROM redemption_draws d JOIN redemptions r ON r.id = d.redemption_id WHERE r.shop_id = :shop),
        'rows', (SELECT json_agg(json_build_array(id, attempt, status)) FROM redemptions WHERE shop_id = :shop),
        'codes', (SELECT json_agg(json_build_array(redemption_id, attempt, code, state) ORDER BY id)
                  FROM discount_codes WHERE shop_id = :shop)
    ) AS seen
    """
).columns(seen=JSON)


class Bench:
    """What all examples share: the database, and a Shopify that each finds empty."""

    def __init__(self, store: Sessions, settings: Settings) -> None:
        self.store = store
        self.shopify = Shopify()
        vault = Vault(settings.encryption_keys)
        self.credentials = {"shopify": vault.seal({"access_token": "shpat_properties"})}
        app = FastAPI()
        app.include_router(self.shopify.router)
        self.http = httpx.AsyncClient(transport=SandboxTransport(app), base_url="http://vendors")
        url, version = settings.shopify_admin_url, settings.shopify_api_version
        client = clients.shopify.Shopify(self.http, url_template=url, api_version=version)
        self.points = Points(store)
        self.discounts = Discounts(store, vault, client)
        self.expiry = Expiry(store)
        self.refunds = Refunds(store, vault, client)

    async def aclose(self) -> None:
        """Close the line to the sandbox."""
        await self.http.aclose()

    async def new_world(self) -> "World":
        """A shop of its own, with one customer who has no points yet."""
        self.shopify.reset()
        shop = Shop(
            domain=f"{uuid4().hex}.myshopify.com",
            name="A shop",
            currency="GBP",
            credentials=self.credentials,
            customers=1,
        )
        async with self.store.begin() as session:
            session.add(shop)
            await session.flush()
            session.add(Customer(shop_id=shop.id, id=CUSTOMER))
            await session.execute(insert(Reward), [_reward(shop.id, name) for name in REWARDS])
        return World(self, shop)


def _reward(shop_id: int, name: str) -> dict[str, Any]:
    discount = {"discount_type": "fixed_amount", "discount_amount": "5.00", "expiry_days": 30}
    limits = {"points_cost": REWARDS[name].cost, "max_redemptions": REWARDS[name].cap}
    return {"shop_id": shop_id, "id": name, "name": name, **discount, **limits}


class World:
    """One customer, and the messages of their redemptions."""

    def __init__(self, bench: Bench, shop: Shop) -> None:
        self._bench = bench
        self._shop_id = shop.id
        self._shop_domain = shop.domain
        self._start = datetime.now(UTC)
        self._first = [self._attempt(new_redemption_id(), reward) for reward in BUYS]
        self._late: set[tuple[int, int]] = set()

    def id_of(self, redemption: int) -> str:
        """Its public id."""
        return self._first[redemption].redemption_id

    async def earn(self, award: Earn) -> None:
        """Award points, as an import does."""
        whose: dict[str, Any] = {"shop_id": self._shop_id, "customer_id": CUSTOMER}
        earned_at = self._start - timedelta(days=10 - award.day)
        expires_at = self._start + timedelta(days=1) if award.expires else None
        amounts = {"points": award.points, "remaining": award.points}
        async with self._bench.store.begin() as session:
            lot = PointLot(**whose, **amounts, earned_at=earned_at, expires_at=expires_at)
            session.add(lot)
            await session.flush()
            session.add(
                LedgerEntry(**whose, lot_id=lot.id, points=award.points, kind="earn", lifetime_points=award.points)
            )

    async def expire(self, lot_id: int) -> None:
        """An hour has passed since the lot expired."""
        past = text("UPDATE point_lots SET expires_at = now() - interval '1 hour' WHERE id = :lot")
        async with self._bench.store.begin() as session:
            await session.execute(past, {"lot": lot_id})

    async def sweep(self) -> None:
        """The hourly round comes by."""
        while await self._bench.expiry.expire_points(None):
            pass

    async def overdue(self, redemption: int, attempt: int) -> None:
        """An hour has passed since the attempt's deadline."""
        self._late.add((redemption, attempt))
        past = text("UPDATE redemptions SET deadline = :past WHERE id = :id AND attempt = :attempt")
        message = self._message(redemption, attempt)
        values = {"past": message.deadline, "id": message.redemption_id, "attempt": attempt}
        async with self._bench.store.begin() as session:
            await session.execute(past, values)

    async def send(self, message: Message) -> Outcome:
        """Run the step, and put its answer into one word."""
        if isinstance(message, Generate | Void) and message.weather is not Weather.FAIR:
            self._bench.shopify.script.add(_FAULTS[message.weather])
        try:
            return _outcome_of(await self._step(message))
        except RedemptionClosed:
            return Outcome.CLOSED
        except EarlierAttemptPending:
            return Outcome.WAIT
        except VendorError:
            return Outcome.FAILED
        finally:
            self._bench.shopify.script.clear()

    async def use(self, redemption: int) -> None:
        """A customer's order uses the code, if there is one and it works."""
        async with self._bench.store() as session:
            row = await redemptions.find_redemption(session, self._shop_id, self.id_of(redemption))
            code = row and await discount_codes.customer_code(session, row)
        if code is not None:
            await self._bench.http.post(f"/_sandbox/shopify/shops/{self._shop_domain}/uses", json={"code": code})

    async def refund(self, wish: Refund) -> Outcome:
        """Keep the wish, and take the steps until one says no."""
        async with self._bench.store.begin() as session:
            row = await redemptions.find_redemption(session, self._shop_id, self.id_of(wish.redemption))
            if row is None:
                return Outcome.REFUSED
            kept = await refunds.ask(session, row, actor="somebody", reason=None, channels=[])
        if isinstance(kept, RefundRefusal):
            return Outcome.REFUSED
        if wish.weather is not Weather.FAIR:
            self._bench.shopify.script.add(_FAULTS_OF_REFUND[wish.weather])
        attempt = self._message(wish.redemption, row.attempt)
        try:
            removed = await self._bench.refunds.remove_discount_code(attempt)
            return Outcome.DONE if removed and await self._bench.refunds.refund_points(attempt) else Outcome.REFUSED
        except VendorError:
            return Outcome.FAILED
        finally:
            self._bench.shopify.script.clear()

    async def look(self) -> Snapshot:
        """The customer as the database and Shopify have them."""
        async with self._bench.store() as session:
            seen: dict[str, Any] = (await session.execute(_SNAPSHOT, {"shop": self._shop_id})).scalar_one()
            balance = await points.balance(session, self._shop_id, CUSTOMER, now=datetime.now(UTC))
        return Snapshot(
            balance=balance,
            lots=[LotRow(*lot) for lot in seen["lots"] or ()],
            entries=[Entry(*entry) for entry in seen["entries"] or ()],
            draws=seen["draws"] or [],
            rows={key: Row(attempt, status) for key, attempt, status in seen["rows"] or ()},
            codes=[Code(*code) for code in seen["codes"] or ()],
            live=[made["code"] for made in self._bench.shopify.contents()["discounts"] if made["status"] == "live"],
        )

    def _step(self, message: Message) -> Awaitable[Refusal | bool | None]:
        attempt = self._message(message.redemption, message.attempt)
        match message:
            case Reserve():
                return self._bench.points.reserve_points(attempt)
            case Generate():
                return self._bench.discounts.generate_discount_code(attempt)
            case Release():
                return self._bench.points.release_points(attempt)
            case Void():
                return self._bench.discounts.void_discount_code(attempt)

    def _message(self, redemption: int, attempt: int) -> Attempt:
        hours = -1 if (redemption, attempt) in self._late else 1
        changes = {"number": attempt, "deadline": self._start + timedelta(hours=hours)}
        return self._first[redemption].model_copy(update=changes)

    def _attempt(self, redemption_id: str, reward: str) -> Attempt:
        return Attempt(
            shop_id=self._shop_id,
            shop_domain=self._shop_domain,
            redemption_id=redemption_id,
            number=1,
            customer_id=CUSTOMER,
            reward_id=reward,
            deadline=self._start,
            channels=[],
        )


def _outcome_of(answer: Refusal | bool | None) -> Outcome:
    if isinstance(answer, Refusal):
        return Outcome.REFUSED
    return Outcome.CAPTURED if answer is False else Outcome.DONE


def without_shopify(snapshot: Snapshot) -> Snapshot:
    """What is ours of it: a step that Shopify failed may have been executed there all the same."""
    return replace(snapshot, live=[])
