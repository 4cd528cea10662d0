"""Those who subscribed to webhooks: what they are sent, signed so that they know from whom.

The signature is HMAC-SHA256 over `{timestamp}.{body}`, as Mage's merchants verify it. The timestamp is that of the try,
as receivers refuse old ones.
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

from clients.marketing import rfc3339
from clients.outcomes import NotExecuted, Unknown
from clients.targets import HostUnknown, TargetRefused, Targets
from clients.wire import CONNECT_SECONDS
from domain.events import EventKind, RewardEvent
from domain.subscriptions import EVENTS, WebhookEvent

TOTAL_SECONDS = 10.0

_WHO = "Subscriber"
_POINTS = {EventKind.REWARD_REDEEMED: "points_redeemed", EventKind.REWARD_REFUNDED: "points_refunded"}


@dataclass(frozen=True, kw_only=True)
class WebhookRequest:
    """One event on its way to one subscriber.

    Attributes:
        id: the same on every try.
        body: the same on every try.
        sent_at: the time of this try, which is signed too.
    """

    id: UUID
    event: WebhookEvent
    body: bytes
    secret: SecretStr
    sent_at: datetime

    @property
    def headers(self) -> dict[str, str]:
        """What goes with the body."""
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
    """Sends notices. No connection outlives its notice, so none is shared by two hosts at one address."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._tls = httpx.create_ssl_context()

    async def send(self, url: str, notice: WebhookRequest) -> int:
        """Send once; the HTTP status is the caller's to judge. Follows no redirect, and reads no answer's body.

        Raises:
            NotExecuted: they were not reached, or must not be.
            Unknown: they broke off, or took too long.
        """
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                target = self._targets.parse(url)
                return await self._post(target, await self._targets.addresses(target), notice)
        except (TargetRefused, HostUnknown) as error:
            raise NotExecuted(_WHO, str(error)) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotExecuted(_WHO, type(error).__name__) from error
        except (httpx.RequestError, TimeoutError) as error:
            raise Unknown(_WHO, type(error).__name__) from error

    async def _post(self, target: httpx.URL, addresses: Sequence[str], notice: WebhookRequest) -> int:
        *others, last = addresses
        for address in others:
            try:
                return await self._post_to(address, target, notice)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return await self._post_to(last, target, notice)

    async def _post_to(self, address: str, target: httpx.URL, notice: WebhookRequest) -> int:
        """Send to that address, in the name of the target's host: for its virtual hosts, and for its certificate."""
        timeout = httpx.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS)
        async with (
            httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=timeout) as http,
            http.stream(
                "POST",
                target.copy_with(host=address),
                headers={"Host": target.netloc.decode(), **notice.headers},
                content=notice.body,
                extensions={"sni_hostname": target.raw_host.decode()},
            ) as response,
        ):
            return response.status_code


def webhook_body(shop_domain: str, event: RewardEvent) -> bytes:
    """The body, in the words of Mage's `points.redeemed`; a refund's alike."""
    content = {
        "event": EVENTS[event.kind],
        "shop": shop_domain.removesuffix(".myshopify.com"),
        "timestamp": rfc3339(event.occurred_at),
        "data": {
            "shopify_customer_id": event.customer_id,
            "email": event.email,
            _POINTS[event.kind]: event.points,
            "points_balance": event.points_balance,
            "reward_name": event.reward_name,
            "reward_id": event.reward_id,
            "discount_code": event.discount_code,
        },
    }
    return json.dumps(content, ensure_ascii=False).encode()
