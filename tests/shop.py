"""A shop of the service under test: its API, its webhooks, its rows and its vendors."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
from pydantic import SecretStr
from sqlalchemy import func, select, update

from clients.shopify_webhooks import signature
from db import tables
from db.shopify_budgets import store_figures
from db.tables import ActivityLog, Delivery, PointLot, Redemption, ShopifyWebhook, StaleMetafield
from domain.shopify_budget import ShopifyBudget
from tests.builders import Json
from tests.waiting import wait_for, wait_until

if TYPE_CHECKING:
    from tests.service import Service


@dataclass(kw_only=True)
class Shop:
    """An imported shop. Methods without `customer` concern the first one."""

    service: "Service"
    domain: str
    full_key: str
    read_key: str
    admin_key: str
    customers: list[str]

    async def purchase(
        self,
        *,
        reward: str = "reward_abc",
        customer: str | None = None,
        key: str | None = None,
        prefer: str | None = None,
        api: httpx.AsyncClient | None = None,
        **more: Any,
    ) -> httpx.Response:
        """Purchase a reward. `key` is the Idempotency-Key, `prefer` the header `Prefer`."""
        body = {"customer_identifier": customer or self.customers[0], **more}
        return await self.send("POST", f"/v1/rewards/{reward}/purchase", body, key=key, prefer=prefer, api=api)

    async def buy(self) -> str:
        """Purchase, and wait until it is delivered. Returns the redemption id."""
        redemption = (await self.purchase()).json()["data"]["id"]
        assert await self.service.wait_for_purchase(redemption) == "COMPLETED"
        return redemption

    async def quote(self, *, reward: str = "reward_abc", customer: str | None = None, **more: Any) -> httpx.Response:
        body = {"customer_identifier": customer or self.customers[0], **more}
        return await self.send("POST", f"/v1/rewards/{reward}/quote", body, api_key=self.read_key)

    async def refund(self, redemption_id: str, reason: str | None = None, *, key: str | None = None) -> httpx.Response:
        """Refund a redemption. `key` is the API key."""
        body = None if reason is None else {"reason": reason}
        return await self.send("POST", f"/v1/reward-history/{redemption_id}/refund", body, api_key=key)

    async def adjust(
        self, points: int, *, customer: str | None = None, key: str | None = None, **more: Any
    ) -> httpx.Response:
        """Add or deduct points. `key` is the Idempotency-Key."""
        body = {"adjustment": points, **more}
        return await self.send("POST", f"/v1/customers/{customer or self.customers[0]}/points", body, key=key)

    async def get(self, path: str, key: str | None = None) -> httpx.Response:
        return await self.service.api.get(path, headers={"Authorization": key or self.read_key})

    async def send(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        key: str | None = None,
        api_key: str | None = None,
        prefer: str | None = None,
        api: httpx.AsyncClient | None = None,
    ) -> httpx.Response:
        """Send a request with a JSON body, or None. `key` is the Idempotency-Key, `prefer` the header `Prefer`."""
        headers = {"Authorization": api_key or self.full_key} | ({"Idempotency-Key": key} if key else {})
        headers |= {"Prefer": prefer} if prefer else {}
        return await (api or self.service.api).request(method, path, headers=headers, json=body)

    async def administrate(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> httpx.Response:
        """Send a request with the key of scope `admin`. `key` is the Idempotency-Key."""
        return await self.send(method, path, body, key=key, api_key=self.admin_key)

    async def upload(self, lines: str | bytes, media_type: str = "application/jsonl") -> httpx.Response:
        """Create or update many customers."""
        headers = {"Authorization": self.admin_key, "Content-Type": media_type}
        return await self.service.api.post("/v1/customers/bulk", headers=headers, content=lines)

    async def customer(self, customer: str | None = None) -> Json:
        """The customer's attributes in the API."""
        return (await self.get(f"/v1/customers/{customer or self.customers[0]}")).json()["data"]["attributes"]

    async def balance(self, customer: str | None = None) -> int:
        return (await self.customer(customer))["current_points"]

    async def send_webhook(
        self,
        topic: str,
        body: object,
        *,
        webhook_id: str | None = None,
        signed_by: int | str = 0,
        api: httpx.AsyncClient | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Send a Shopify webhook. `signed_by`: a secret, or its number in the settings. Bytes are sent unchanged.

        A header with an empty value is left out.
        """
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        app_secrets = self.service.settings.shopify_webhook_secrets
        secret = SecretStr(signed_by) if isinstance(signed_by, str) else app_secrets[signed_by]
        usual = {
            "X-Shopify-Topic": topic,
            "X-Shopify-Shop-Domain": self.domain,
            "X-Shopify-Webhook-Id": webhook_id or str(uuid4()),
            "X-Shopify-Triggered-At": datetime.now(UTC).isoformat(),
            "X-Shopify-Hmac-Sha256": signature(content, secret),
            "Content-Type": "application/json",
        }
        given = {name: value for name, value in (usual | (headers or {})).items() if value}
        return await (api or self.service.api).post(
            "/webhooks/shopify", content=content, headers=httpx.Headers(given, encoding="utf-8")
        )

    async def process_webhook(self, topic: str, body: object, **options: Any) -> None:
        """Send a Shopify webhook, and wait until it is processed."""
        answer = await self.send_webhook(topic, body, **options)
        assert answer.json() == {"status": "accepted"}, answer.text
        await wait_until(self.has_processed_webhooks)

    async def has_processed_webhooks(self) -> bool:
        return all(webhook.processed_at is not None for webhook in await self.webhooks())

    async def end_code(self, redemption: str, ends_in: timedelta) -> None:
        """Move the end of the redemption's code."""
        mine = update(Redemption).where(Redemption.id == redemption)
        async with self.service.store.begin() as session:
            await session.execute(mine.values(expires_at=func.now() + ends_in))

    async def set_price(self, variant_id: str, price: str | None) -> None:
        """Set the price of a product variant at Shopify. None: it does not exist."""
        path = f"/_sandbox/shopify/shops/{self.domain}/variants/{variant_id}"
        answer = await self.service.vendors.put(path, json={"price": price})
        assert answer.is_success, answer.text

    async def use_code(self, code: str) -> None:
        """Use the code in an order at Shopify."""
        answer = await self.service.vendors.post(f"/_sandbox/shopify/shops/{self.domain}/uses", json={"code": code})
        assert answer.is_success, answer.text

    async def wait_at_shopify(self, seconds: float, *, maximum: int = 2000) -> None:
        """Let the next code's turn at Shopify come after this time. `maximum`: of query cost that is available."""
        rate = 100
        full_in = timedelta(seconds=seconds - 10 / rate + maximum / rate)
        budget = ShopifyBudget(maximum=maximum, restore_rate=rate, full_in=full_in)
        async with self.service.store() as session:
            await store_figures(session, (await self.row()).id, budget)

    async def use_up_shopify(self, *, calls: int) -> None:
        """Make calls that cost 10 each, as another program of the same app does."""
        for _ in range(calls):
            response = await self.service.vendors.post(
                f"/{self.domain}/admin/api/2026-10/graphql.json",
                json={"query": "mutation { metafieldsSet(metafields: []) { userErrors { message } } }"},
                headers={"X-Shopify-Access-Token": "shpat_other"},
            )
            assert response.json()["data"]["metafieldsSet"] is not None

    async def discounts(self, status: str | None = None) -> list[Json]:
        """The shop's discounts at Shopify."""
        stored = (await self.service.vendor("shopify"))["discounts"]
        return [one for one in stored if one["shop"] == self.domain and status in (None, one["status"])]

    async def row(self) -> tables.Shop:
        return (await self._rows(select(tables.Shop).where(tables.Shop.domain == self.domain)))[0]

    async def webhooks(self) -> list[ShopifyWebhook]:
        shop = select(tables.Shop.id).where(tables.Shop.domain == self.domain).scalar_subquery()
        return await self._rows(select(ShopifyWebhook).where(ShopifyWebhook.shop_id == shop))

    async def stale_customers(self) -> set[str]:
        mine = StaleMetafield.customer_id.in_(self.customers)
        return set(await self._rows(select(StaleMetafield.customer_id).where(mine)))

    async def activity_log(self, kind: str | None = None) -> list[ActivityLog]:
        query = select(ActivityLog).where(ActivityLog.customer_id.in_(self.customers)).order_by(ActivityLog.id)
        return [one for one in await self._rows(query) if kind in (None, one.kind)]

    async def lots(self, customer: str | None = None) -> list[int]:
        """Remaining points of the customer's lots, oldest first."""
        query = select(PointLot.remaining).where(PointLot.customer_id == (customer or self.customers[0]))
        return await self._rows(query.order_by(PointLot.earned_at, PointLot.id))

    async def redemptions(self) -> list[Redemption]:
        """Redemptions of all customers, oldest first."""
        query = select(Redemption).where(Redemption.customer_id.in_(self.customers)).order_by(Redemption.created_at)
        return await self._rows(query)

    async def deliveries(self, event: str = "reward_redeemed") -> dict[str, str]:
        """Channel → status of the event's delivery, over all redemptions."""
        ids = [redemption.id for redemption in await self.redemptions()]
        query = select(Delivery).where(Delivery.redemption_id.in_(ids), Delivery.event == event)
        return {row.channel: row.status for row in await self._rows(query)}

    async def wait_for_delivery(self, channel: str, status: str) -> None:
        async def current() -> str | None:
            return (await self.deliveries()).get(channel)

        await wait_for(current, status)

    async def set_credentials(self, **encrypted: str) -> None:
        mine = update(tables.Shop).where(tables.Shop.domain == self.domain)
        async with self.service.store.begin() as session:
            await session.execute(mine.values(credentials=encrypted))

    async def _rows(self, query: Any) -> list[Any]:
        async with self.service.store() as session:
            return list(await session.scalars(query))
