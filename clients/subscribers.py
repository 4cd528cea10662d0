"""Sends signed webhooks to subscribers.

The signature is HMAC-SHA256 over `{timestamp}.{body}`, compatible with Mage's webhooks. Receivers reject old
timestamps, so each attempt has its own.
"""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import httpx
from pydantic import SecretStr

from clients.destinations import Destinations, Limits
from clients.marketing import rfc3339
from clients.outcomes import NotExecuted, Unknown, observed_call
from clients.spans import call_span
from clients.targets import HostUnknown, TargetRefused, Targets
from clients.vendor_http import CONNECT_SECONDS, tls_context
from domain.events import EventKind, RewardEvent
from domain.subscriptions import SENT_EVENTS, WebhookEvent

TOTAL_SECONDS = 10.0
LIMITS = Limits(in_flight=5, open_seconds=30)

_VENDOR = "Subscriber"
_POINTS = {
    EventKind.REWARD_REDEEMED: "points_redeemed",
    EventKind.REWARD_REFUNDED: "points_refunded",
    EventKind.PURCHASE_FAILED: "points_released",
    EventKind.REWARD_REISSUED: "points_redeemed",
}


@dataclass(frozen=True, kw_only=True)
class WebhookRequest:
    """One attempt to deliver an event to a subscriber. Only `sent_at` differs between attempts."""

    id: UUID
    event: WebhookEvent
    body: bytes
    secret: SecretStr
    sent_at: datetime

    @property
    def headers(self) -> dict[str, str]:
        timestamp = rfc3339(self.sent_at)
        return {
            "Content-Type": "application/json",
            "User-Agent": "Pointsaga-Webhook/1.0",
            "X-Webhook-Id": str(self.id),
            "X-Webhook-Event": self.event,
            "X-Webhook-Timestamp": timestamp,
            "X-Webhook-Signature": f"sha256={self._signature(timestamp)}",
        }

    def _signature(self, timestamp: str) -> str:
        signed = timestamp.encode() + b"." + self.body
        return hmac.new(self.secret.get_secret_value().encode(), signed, hashlib.sha256).hexdigest()


class Subscribers:
    """Webhook client. Each request has its own connection, so two hosts with one address never share one."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._hosts = Destinations(_VENDOR, LIMITS)
        self._tls = tls_context()

    async def send(self, url: str, request: WebhookRequest, *, shop_id: int) -> int:
        """Send once and return the HTTP status. Redirects are not followed, response bodies not read.

        The limits are those of each shop's host: shops that share a host do not hold each other's calls.

        Raises:
            NotExecuted: no connection, the URL is not allowed, or the call is held.
            Unknown: the connection failed later, or the response took more than 10 s.
        """
        with call_span(_VENDOR, "webhook") as span, observed_call("subscriber", "send_webhook") as call:
            status = await self._send(url, request, shop_id)
            span.set_attribute("http.response.status_code", status)
            if not 200 <= status < 300:
                call.outcome = "refused" if status < 500 else "unknown"
            return status

    async def _send(self, url: str, request: WebhookRequest, shop_id: int) -> int:
        try:
            target = self._targets.parse(url)
            async with self._hosts[f"{target.host} {shop_id}"].call(), asyncio.timeout(TOTAL_SECONDS):
                return await self._post(target, await self._targets.addresses(target), request)
        except (TargetRefused, HostUnknown) as error:
            raise NotExecuted(_VENDOR, str(error)) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotExecuted(_VENDOR, type(error).__name__) from error
        except (httpx.RequestError, TimeoutError) as error:
            raise Unknown(_VENDOR, type(error).__name__) from error

    async def _post(self, target: httpx.URL, addresses: Sequence[str], request: WebhookRequest) -> int:
        *others, last = addresses
        for address in others:
            try:
                return await self._post_to(address, target, request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post_to(last, target, request)

    async def _post_to(self, address: str, target: httpx.URL, request: WebhookRequest) -> int:
        """Connect to the address, with the URL's host in `Host` and in TLS: servers and certificates need it."""
        timeout = httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS)
        async with (
            httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=timeout) as http,
            http.stream(
                "POST",
                target.copy_with(host=address),
                headers={"Host": target.netloc.decode(), **request.headers},
                content=request.body,
                extensions={"sni_hostname": target.raw_host.decode()},
            ) as response,
        ):
            return response.status_code


def webhook_body(shop_domain: str, event: RewardEvent) -> bytes:
    """The JSON body, in the format of Mage's `points.redeemed`; the other events follow it.

    A failed purchase has no code; its client knows the id of the reward history entry.
    """
    failed = event.kind is EventKind.PURCHASE_FAILED
    subject = {"reward_history_entry_id": event.redemption_id} if failed else {"discount_code": event.discount_code}
    content = {
        "event": SENT_EVENTS[event.kind],
        "shop": shop_domain.removesuffix(".myshopify.com"),
        "timestamp": rfc3339(event.occurred_at),
        "data": {
            "shopify_customer_id": event.customer_id,
            "email": event.email,
            _POINTS[event.kind]: event.points,
            "points_balance": event.points_balance,
            "reward_name": event.reward_name,
            "reward_id": event.reward_id,
            **subject,
        },
    }
    return json.dumps(content, ensure_ascii=False).encode()
