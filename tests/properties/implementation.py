"""The product under test: one customer of a new shop in PostgreSQL, the activities, and the sandbox's Shopify."""

from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI
from sqlalchemy import insert, text

import clients.shopify
from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.expiry import Expiry
from activities.order_webhooks import order_cancelled
from activities.points import Points
from activities.refunds import Refunds
from activities.reissues import Reissues
from clients.outcomes import VendorError
from clients.shopify_webhooks import Order
from database import Sessions
from db import discount_codes, points, redemptions, refunds, shops
from db.tables import Customer, LedgerEntry, PointLot, Reward, Shop
from db.vault import Vault
from domain.eligibility import Refusal
from domain.errors import EarlierAttemptPending, RedemptionClosed
from domain.ids import new_redemption_id
from domain.refunds import RefundRefusal
from domain.shopify_budget import NoTurn, Turn
from sandbox.faults import Fault
from sandbox.saved import Saved
from sandbox.shopify import Shopify
from sandbox.transport import SandboxTransport
from settings import Settings
from tests.evidence import Json, Ledger, read
from tests.faults import CREATE_CODE, DEACTIVATE_CODE, DELETE_CODE, VendorFault
from tests.properties.operations import (
    REDEEMED,
    REWARDS,
    Cancel,
    Earn,
    Generate,
    Message,
    Outcome,
    Refund,
    Release,
    Reserve,
    Void,
)

CUSTOMER = "6789012345"
_OPERATIONS = {VendorFault.LOST: CREATE_CODE, VendorFault.DROPPED: CREATE_CODE}
_REFUND_OPERATIONS = {VendorFault.LOST: DELETE_CODE, VendorFault.DROPPED: DEACTIVATE_CODE}
"""Shopify operations that a fault meets. Other faults meet every operation."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The customer in the database and at Shopify at one moment. `working`: codes that an order can use."""

    balance: int
    ledger: Ledger
    working: list[str]
    discounts: list[Json] = field(compare=False)


class Backend:
    """What all examples share: database, activities, and a Shopify that is reset for each."""

    def __init__(self, store: Sessions, settings: Settings) -> None:
        self.store = store
        self.shopify = Shopify(Saved())
        vault = Vault(settings.encryption_keys)
        self.credentials = {"shopify": vault.seal({"access_token": "shpat_properties"})}
        app = FastAPI()
        app.include_router(self.shopify.router)
        self.http = httpx.AsyncClient(transport=SandboxTransport(app), base_url="http://vendors")
        url, version = settings.shopify_admin_url, settings.shopify_api_version
        client = clients.shopify.Shopify(self.http, url_template=url, api_version=version)
        self.points = Points(store, vault)
        self.discounts = Discounts(store, vault, client)
        self.expiry = Expiry(store)
        self.refunds = Refunds(store, vault, client)
        self.reissues = Reissues(store, vault, client)

    async def new_customer(self) -> "Implementation":
        """A customer without points, in a new shop."""
        self.shopify.reset()
        domain = f"{uuid4().hex}.myshopify.com"
        shop = Shop(domain=domain, name="A shop", currency="GBP", credentials=self.credentials, customers=1)
        async with self.store.begin() as session:
            session.add(shop)
            await session.flush()
            session.add(Customer(shop_id=shop.id, id=CUSTOMER))
            await session.execute(insert(Reward), [_reward(shop.id, name) for name in REWARDS])
        return Implementation(self, shop)


def _reward(shop_id: int, name: str) -> dict[str, Any]:
    reward = REWARDS[name]
    discount = {"discount_type": "fixed_amount", "discount_amount": None if reward.step else "5.00", "expiry_days": 30}
    price = {"points_cost": reward.step or reward.cost, "points_step": reward.step}
    price |= {"pricing": "variable" if reward.step else "fixed", "value_per_step": "0.50" if reward.step else None}
    # A code with an unknown outcome is recognised with its items.
    scope = {"applies_to": {"products": ["8"]} if reward.step else None}
    limits = {"max_redemptions": reward.cap, "max_per_customer": reward.limit, "on_order_cancelled": "reissue"}
    return {"shop_id": shop_id, "id": name, "name": name, **discount, **price, **scope, **limits}


class Implementation:
    """One customer and their redemptions."""

    def __init__(self, backend: Backend, shop: Shop) -> None:
        self._backend = backend
        self._shop = shop
        self._start = datetime.now(UTC)
        self._late: set[tuple[int, int]] = set()
        self._orders = 0
        self.ids = [new_redemption_id() for _ in REDEEMED]
        """Redemption ids, in the order of `REDEEMED`."""

    async def earn(self, award: Earn) -> None:
        """Award points as an import does."""
        ids: dict[str, Any] = {"shop_id": self._shop.id, "customer_id": CUSTOMER}
        earned_at = self._start - timedelta(days=10 - award.day)
        expires_at = self._start + timedelta(days=1) if award.expires else None
        amounts = {"points": award.points, "remaining": award.points}
        async with self._backend.store.begin() as session:
            lot = PointLot(**ids, **amounts, earned_at=earned_at, expires_at=expires_at)
            session.add(lot)
            await session.flush()
            session.add(
                LedgerEntry(**ids, lot_id=lot.id, points=award.points, kind="earn", lifetime_points=award.points)
            )

    async def expire(self, lot_id: int) -> None:
        """Let the lot have expired an hour ago."""
        past = text("UPDATE point_lots SET expires_at = now() - interval '1 hour' WHERE id = :lot")
        async with self._backend.store.begin() as session:
            await session.execute(past, {"lot": lot_id})

    async def sweep(self) -> None:
        while await self._backend.expiry.expire_points(None):
            pass

    async def overdue(self, redemption: int, attempt: int) -> None:
        """Let the attempt's deadline have passed an hour ago."""
        self._late.add((redemption, attempt))
        past = text("UPDATE redemptions SET deadline = :past WHERE id = :id AND attempt = :attempt")
        message = self._attempt(redemption, attempt)
        values = {"past": message.deadline, "id": message.redemption_id, "attempt": attempt}
        async with self._backend.store.begin() as session:
            await session.execute(past, values)

    async def send(self, message: Message) -> Outcome:
        """Run the activity."""
        if isinstance(message, Generate | Void) and message.fault:
            self._inject(message.fault, _OPERATIONS)
        try:
            return _outcome_of(await self._run(message))
        except RedemptionClosed:
            return Outcome.CLOSED
        except EarlierAttemptPending:
            return Outcome.WAIT
        except VendorError:
            return Outcome.FAILED
        finally:
            self._backend.shopify.script.clear()

    async def use(self, redemption: int) -> None:
        """Let an order use the code, if there is one and it works."""
        async with self._backend.store() as session:
            row = await redemptions.find_redemption(session, self._shop.id, self.ids[redemption])
            code = row and await discount_codes.customer_code(session, row)
        if code is not None:
            await self._backend.http.post(f"/_sandbox/shopify/shops/{self._shop.domain}/uses", json={"code": code})

    async def refund(self, refund: Refund) -> Outcome:
        """Store the refund request and run the refund's activities until one refuses."""
        async with self._backend.store.begin() as session:
            row = await redemptions.find_redemption(session, self._shop.id, self.ids[refund.redemption])
            if row is None:
                return Outcome.REFUSED
            stored = await refunds.request_refund(session, row, actor="a test", reason=None, channels=[])
        if isinstance(stored, RefundRefusal):
            return Outcome.REFUSED
        if refund.fault:
            self._inject(refund.fault, _REFUND_OPERATIONS)
        attempt, activities = self._attempt(refund.redemption, row.attempt), self._backend.refunds
        try:
            is_done = await activities.remove_discount_code(attempt) and await activities.refund_points(attempt)
            return Outcome.DONE if is_done else Outcome.REFUSED
        except VendorError:
            return Outcome.FAILED
        finally:
            self._backend.shopify.script.clear()

    async def cancel(self, cancel: Cancel) -> None:
        """Let an order use the code and be cancelled, and reissue the code: first with the fault, then without."""
        self._orders += 1
        order_id, requested = str(self._orders), []
        async with self._backend.store.begin() as session:
            row = await redemptions.find_redemption(session, self._shop.id, self.ids[cancel.redemption])
            code = row and await discount_codes.customer_code(session, row)
            if row is not None and code is not None:
                now = datetime.now(UTC)
                order = {"id": order_id, "created_at": now, "cancelled_at": now, "discount_codes": [{"code": code}]}
                shop = await shops.get_shop(session, self._shop.id)
                requested = await order_cancelled(session, shop, Order.model_validate(order))
        if row is not None and requested:
            await self._reissue(self._attempt(cancel.redemption, row.attempt), order_id, cancel.fault)

    async def _reissue(self, attempt: Attempt, order_id: str, fault: VendorFault | None) -> None:
        attempt, activities = attempt.model_copy(update={"order_id": order_id}), self._backend.reissues
        await activities.retire_discount_code(attempt)
        if fault:
            self._backend.shopify.script.add(Fault.model_validate(fault.script(operation=CREATE_CODE)))
            with suppress(VendorError):
                await activities.reissue_discount_code(attempt)
        assert await activities.reissue_discount_code(attempt)

    async def snapshot(self) -> Snapshot:
        async with self._backend.store() as session:
            ledger = await read(session, Ledger, domain=self._shop.domain)
            balance = await points.balance(session, self._shop.id, CUSTOMER, now=datetime.now(UTC))
        discounts: list[Json] = self._backend.shopify.contents()["discounts"]
        working = [one["code"] for one in discounts if one["status"] == "live"]
        return Snapshot(balance=balance, ledger=ledger, working=working, discounts=discounts)

    def _inject(self, fault: VendorFault, operations: dict[VendorFault, str]) -> None:
        times = None if fault is VendorFault.DOWN else 9
        script = fault.script(operation=operations.get(fault), times=times)
        self._backend.shopify.script.add(Fault.model_validate(script))

    def _run(self, message: Message) -> Awaitable[Refusal | NoTurn | Turn | bool | None]:
        attempt = self._attempt(message.redemption, message.attempt)
        match message:
            case Reserve():
                return self._backend.points.reserve_points(attempt)
            case Generate():
                return self._backend.discounts.generate_discount_code(attempt)
            case Release():
                return self._backend.points.release_points(attempt)
            case Void():
                return self._backend.discounts.void_discount_code(attempt)

    def _attempt(self, redemption: int, attempt: int) -> Attempt:
        hours = -1 if (redemption, attempt) in self._late else 1
        reward = REWARDS[REDEEMED[redemption]]
        return Attempt(
            shop_id=self._shop.id,
            shop_domain=self._shop.domain,
            redemption_id=self.ids[redemption],
            number=attempt,
            customer_id=CUSTOMER,
            reward_id=REDEEMED[redemption],
            deadline=self._start + timedelta(hours=hours),
            channels=[],
            points_to_spend=reward.cost if reward.step else None,
        )


def _outcome_of(result: Refusal | NoTurn | Turn | bool | None) -> Outcome:
    assert not isinstance(result, NoTurn | Turn), "the rate limit is larger than these purchases need"
    if isinstance(result, Refusal):
        return Outcome.REFUSED
    return Outcome.CAPTURED if result is False else Outcome.DONE
