"""The whole service in one process, and the words in which tests speak of it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowHandle

from api.app import create_app
from clients.shopify_webhooks import signature
from database import Sessions, sessions
from db import tables
from db.api_keys import find_key
from db.audit import Finding, audit
from db.tables import ActivityLog, Delivery, PointLot, Redemption, ShopifyWebhook, StaleMetafield
from db.vault import Vault
from domain.ids import purchase_workflow_id, refund_workflow_id
from sandbox.app import create_app as create_sandbox
from sandbox.transport import SandboxTransport
from services.import_format import ImportFile
from services.imports import write_import
from settings import Settings
from worker import build_worker
from workflows.redeem_reward import RedeemReward
from workflows.refund_redemption import RefundRedemption

Json = dict[str, Any]
ALL_VENDORS = ("shopify", "klaviyo", "omnisend", "postscript")


def a_reward(reward_id: str = "reward_abc", **changes: Any) -> Json:
    """£5 off for 500 points."""
    return {
        "id": reward_id,
        "name": "£5 off your next order",
        "discount_type": "fixed_amount",
        "discount_amount": "5.00",
        "points_cost": 500,
        "expiry_days": 30,
        **changes,
    }


def a_lot(points: int, *, days_old: int = 10, lot_id: str | None = None, expires_in: timedelta | None = None) -> Json:
    """Points earned some days ago."""
    now = datetime.now(UTC)
    return {
        "id": lot_id or uuid4().hex,
        "points": points,
        "earned_at": (now - timedelta(days=days_old)).isoformat(),
        "expires_at": (now + expires_in).isoformat() if expires_in else None,
    }


def a_customer(*lots: Json, customer_id: str | None = None, **changes: Any) -> Json:
    """A member with these lots."""
    customer_id = customer_id or str(uuid4().int % 10**12)
    return {
        "shopify_customer_id": customer_id,
        "email": f"jane.{customer_id}@shopper.io",
        "phone": "+447700900123",
        "first_name": "Jane",
        "lots": list(lots),
        **changes,
    }


def a_shop(
    *customers: Json, rewards: Sequence[Json] | None = None, vendors: Sequence[str] = ALL_VENDORS, **changes: Any
) -> Json:
    """A shop of its own, with a full and a read-only key."""
    name = uuid4().hex[:12]
    tokens = {"shopify": {"access_token": f"shpat_{name}"}, "klaviyo": {"api_key": f"pk_{name}"}}
    tokens |= {"omnisend": {"api_key": f"om_{name}"}, "postscript": {"api_key": f"sk_{name}"}}
    return {
        "domain": f"shop-{name}.myshopify.com",
        "name": "A shop",
        "currency": "GBP",
        "api_keys": [{"key": f"full-{name}", "scope": "full"}, {"key": f"read-{name}", "scope": "read_only"}],
        "rewards": [a_reward()] if rewards is None else list(rewards),
        "customers": list(customers),
        **{vendor: tokens[vendor] for vendor in vendors},
        **changes,
    }


def sealed_by_a_lost_key(**credentials: str) -> str:
    """Credentials that none of our keys opens."""
    return Vault([SecretStr(Fernet.generate_key().decode())]).seal(credentials)


async def until(condition: Callable[[], Awaitable[object]], *, seconds: float = 30) -> None:
    """Wait for something that is bound to come."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is watched is in other processes
            await asyncio.sleep(0.05)


@dataclass(kw_only=True)
class Shop:
    """A shop that exists, and its API."""

    service: "Service"
    domain: str
    full_key: str
    read_key: str
    customers: list[str]

    async def purchase(
        self,
        *,
        reward: str = "reward_abc",
        customer: str | None = None,
        key: str | None = None,
        api: httpx.AsyncClient | None = None,
    ) -> httpx.Response:
        """Ask for a reward, for the shop's first customer unless told otherwise."""
        headers = {"Authorization": self.full_key} | ({"Idempotency-Key": key} if key else {})
        return await (api or self.service.api).post(
            f"/v1/rewards/{reward}/purchase",
            headers=headers,
            json={"customer_identifier": customer or self.customers[0]},
        )

    async def quote(self, *, reward: str = "reward_abc", customer: str | None = None) -> httpx.Response:
        """Ask what such a purchase would do."""
        return await self.service.api.post(
            f"/v1/rewards/{reward}/quote",
            headers={"Authorization": self.read_key},
            json={"customer_identifier": customer or self.customers[0]},
        )

    async def refund(self, redemption_id: str, reason: str | None = None, *, key: str | None = None) -> httpx.Response:
        """Ask for a redemption's points back."""
        return await self.service.api.post(
            f"/v1/reward-history/{redemption_id}/refund",
            headers={"Authorization": key or self.full_key},
            json=None if reason is None else {"reason": reason},
        )

    async def use(self, code: str) -> None:
        """A customer's order uses the code at Shopify."""
        answer = await self.service.vendors.post(f"/_sandbox/shopify/shops/{self.domain}/uses", json={"code": code})
        assert answer.is_success, answer.text

    async def get(self, path: str, key: str | None = None) -> httpx.Response:
        """Read something of the shop's."""
        return await self.service.api.get(path, headers={"Authorization": key or self.read_key})

    async def send(
        self, method: str, path: str, body: Any, *, key: str | None = None, api_key: str | None = None
    ) -> httpx.Response:
        """Change something of the shop's; `key` is the Idempotency-Key."""
        headers = {"Authorization": api_key or self.full_key} | ({"Idempotency-Key": key} if key else {})
        return await self.service.api.request(method, path, headers=headers, json=body)

    async def hear(
        self,
        topic: str,
        body: object,
        *,
        webhook_id: str | None = None,
        signed_by: int = 0,
        api: httpx.AsyncClient | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """What Shopify says of the shop, signed with one of the app's secrets. A body of bytes is sent as it is."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        says = {
            "X-Shopify-Topic": topic,
            "X-Shopify-Shop-Domain": self.domain,
            "X-Shopify-Webhook-Id": webhook_id or str(uuid4()),
            "X-Shopify-Triggered-At": datetime.now(UTC).isoformat(),
            "X-Shopify-Hmac-Sha256": signature(content, self.service.settings.shopify_webhook_secrets[signed_by]),
            "Content-Type": "application/json",
        }
        given = httpx.Headers(says | (headers or {}), encoding="utf-8")
        return await (api or self.service.api).post("/webhooks/shopify", content=content, headers=given)

    async def told(self, topic: str, body: object) -> None:
        """Shopify says this of the shop, and it is processed."""
        answer = await self.hear(topic, body)
        assert answer.json() == {"status": "accepted"}, answer.text
        await until(self.has_heard)

    async def has_heard(self) -> bool:
        """Whether everything that Shopify said of the shop is processed."""
        return all(webhook.processed_at is not None for webhook in await self.webhooks())

    async def webhooks(self) -> list[ShopifyWebhook]:
        """Everything that Shopify said of the shop."""
        row = await self.service.caller(self.read_key)
        async with self.service.store() as session:
            return list(await session.scalars(select(ShopifyWebhook).where(ShopifyWebhook.shop_id == row.id)))

    async def keep_credentials(self, **sealed: str) -> None:
        """Have these, by vendor, and no others to speak to the shop's vendors with."""
        rows = update(tables.Shop).where(tables.Shop.domain == self.domain)
        async with self.service.store.begin() as session:
            await session.execute(rows.values(credentials=sealed))

    async def untold(self) -> set[str]:
        """The customers of whose points or standing the shop's theme is still to hear."""
        query = select(StaleMetafield.customer_id).where(StaleMetafield.customer_id.in_(self.customers))
        async with self.service.store() as session:
            return set(await session.scalars(query))

    async def activity(self, kind: str | None = None) -> list[ActivityLog]:
        """What the merchant reads of the shop's customers."""
        query = select(ActivityLog).where(ActivityLog.customer_id.in_(self.customers)).order_by(ActivityLog.id)
        async with self.service.store() as session:
            return [one for one in await session.scalars(query) if kind in (None, one.kind)]

    async def adjust(self, points: int, *, key: str | None = None, **more: Any) -> httpx.Response:
        """Give or take points of the shop's first customer."""
        body = {"adjustment": points, **more}
        return await self.send("POST", f"/v1/customers/{self.customers[0]}/points", body, key=key)

    async def customer(self) -> Json:
        """What the API tells of the shop's first customer."""
        return (await self.get(f"/v1/customers/{self.customers[0]}")).json()["data"]["attributes"]

    async def balance(self, customer: str | None = None) -> int:
        """What the API says the customer can spend."""
        answer = await self.get(f"/v1/customers/{customer or self.customers[0]}")
        return answer.json()["data"]["attributes"]["current_points"]

    async def lots(self, customer: str | None = None) -> list[int]:
        """What remains in each of the customer's lots, oldest first."""
        query = select(PointLot.remaining).where(PointLot.customer_id == (customer or self.customers[0]))
        async with self.service.store() as session:
            return list(await session.scalars(query.order_by(PointLot.earned_at, PointLot.id)))

    async def redemptions(self) -> list[Redemption]:
        """Every redemption of the shop, the oldest first."""
        query = select(Redemption).where(Redemption.customer_id.in_(self.customers)).order_by(Redemption.created_at)
        async with self.service.store() as session:
            return list(await session.scalars(query))

    async def deliveries(self, event: str = "reward_redeemed") -> dict[str, str]:
        """Channel → status, of this event of all redemptions of the shop."""
        ids = [redemption.id for redemption in await self.redemptions()]
        query = select(Delivery).where(Delivery.redemption_id.in_(ids), Delivery.event == event)
        async with self.service.store() as session:
            return {row.channel: row.status for row in await session.scalars(query)}

    async def discounts(self, status: str | None = None) -> list[Json]:
        """What the sandbox's Shopify holds for this shop."""
        held = (await self.service.vendor("shopify"))["discounts"]
        return [one for one in held if one["shop"] == self.domain and status in (None, one["status"])]


@dataclass(kw_only=True)
class Service:
    """API, worker and vendors, joined as in production but in one process."""

    settings: Settings
    store: Sessions
    temporal: Client
    api: httpx.AsyncClient
    vendors: httpx.AsyncClient
    worker_http: httpx.AsyncClient

    @classmethod
    @asynccontextmanager
    async def running(
        cls, settings: Settings, engine: AsyncEngine, temporal: Client, *, working: bool = True
    ) -> "AsyncGenerator[Service]":
        """All of it, until the block ends; `working=False` leaves the worker to the test."""
        settings = settings.model_copy(update={"temporal_task_queue": f"test-{uuid4().hex}"})
        sandbox = create_sandbox()
        async with AsyncExitStack() as stack:
            app = create_app(settings, temporal)
            await stack.enter_async_context(app.router.lifespan_context(app))
            service = cls(
                settings=settings,
                store=sessions(engine),
                temporal=temporal,
                api=await stack.enter_async_context(in_process(httpx.ASGITransport(app, raise_app_exceptions=False))),
                vendors=await stack.enter_async_context(in_process(httpx.ASGITransport(sandbox))),
                worker_http=await stack.enter_async_context(in_process(SandboxTransport(sandbox))),
            )
            if working:
                await stack.enter_async_context(service.worker())
            yield service

    def worker(self) -> Any:
        """A worker of this service, to be entered."""
        return build_worker(self.temporal, self.settings, self.store, self.worker_http)

    async def import_shop(self, shop: Json) -> None:
        """As `pointsaga import` does."""
        vault = Vault(self.settings.encryption_keys)
        file = ImportFile.model_validate({"shops": [shop]})
        await write_import(self.store, vault, file)

    async def open_shop(self, shop: Json) -> Shop:
        """Import a shop whose theme knows how its customers stand."""
        await self.import_shop(shop)
        mine = select(tables.Shop.id).where(tables.Shop.domain == shop["domain"]).scalar_subquery()
        async with self.store.begin() as session:
            await session.execute(delete(StaleMetafield).where(StaleMetafield.shop_id == mine))
        return Shop(
            service=self,
            domain=shop["domain"],
            full_key=shop["api_keys"][0]["key"],
            read_key=shop["api_keys"][1]["key"],
            customers=[customer["shopify_customer_id"] for customer in shop["customers"]],
        )

    async def caller(self, key: str) -> tables.Shop:
        """The shop's own row."""
        async with self.store() as session:
            found = await find_key(session, key)
        assert found is not None
        return found[0]

    async def vendor(self, name: str) -> Json:
        """What the sandbox shows of a vendor."""
        return (await self.vendors.get(f"/_sandbox/{name}")).raise_for_status().json()

    async def fault(self, vendor: str, kind: str, **more: Any) -> None:
        """Script what a vendor does next."""
        answer = await self.vendors.post(f"/_sandbox/{vendor}/faults", json={"kind": kind, **more})
        assert answer.is_success, answer.text

    async def heal(self, vendor: str) -> None:
        """Clear the vendor's script."""
        (await self.vendors.delete(f"/_sandbox/{vendor}/faults")).raise_for_status()

    async def attempts(self) -> list[tuple[str, int]]:
        """Every redemption and attempt that had a run here."""
        query = f"TaskQueue = '{self.settings.temporal_task_queue}' AND WorkflowType = 'RedeemReward'"
        ids = [run.id async for run in self.temporal.list_workflows(query)]
        return [(one.removeprefix("redemption-").rpartition("-")[0], int(one.rpartition("-")[2])) for one in ids]

    def run_of(self, redemption_id: str, attempt: int = 1) -> "WorkflowHandle[RedeemReward, Any]":
        """The workflow of an attempt."""
        return self.temporal.get_workflow_handle_for(RedeemReward.run, purchase_workflow_id(redemption_id, attempt))

    async def page_of(self, run: str) -> str:
        """What the Temporal UI shows as the current details of a run, by its workflow id."""
        query = self.temporal.get_workflow_handle(run).query(
            "__temporal_workflow_metadata", result_type=WorkflowMetadata
        )
        return (await query).current_details

    async def end_of(self, redemption_id: str, attempt: int = 1) -> str:
        """Wait until the attempt's workflow has ended, and tell how."""
        return await ending(self.run_of(redemption_id, attempt))

    async def end_of_refund(self, redemption_id: str) -> str:
        """Wait until the refund's workflow has ended, and tell how."""
        return await ending(self.refund_of(redemption_id))

    def refund_of(self, redemption_id: str) -> "WorkflowHandle[RefundRedemption, Any]":
        """The workflow of a refund."""
        return self.temporal.get_workflow_handle_for(RefundRedemption.run, refund_workflow_id(redemption_id))

    async def audit(self) -> list[Finding]:
        """What breaks an invariant of the ledger."""
        async with self.store.begin() as session:
            return await audit(session)


async def ending(handle: "WorkflowHandle[Any, Any]") -> str:
    """Wait until the workflow has ended, and tell how."""
    await asyncio.wait([asyncio.ensure_future(_outcome(handle))], timeout=60)
    status = (await handle.describe()).status
    assert status is not None
    return status.name


async def _outcome(handle: "WorkflowHandle[Any, Any]") -> None:
    try:
        await handle.result()
    except Exception:  # noqa: BLE001 - how it ended is read from the description
        return


def in_process(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    """A client that reaches its app without a network."""
    return httpx.AsyncClient(transport=transport, base_url="http://test", timeout=60)
