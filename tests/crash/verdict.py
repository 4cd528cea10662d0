"""What must be true once a purchase, or a refund, has come to its end, whatever died on the way."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.service import Service, Shop

POINTS, COST = 700, 500
LEFT = POINTS - COST

Facts = Mapping[str, object]
Allowed = Mapping[str, Collection[object]]

PURCHASED: Allowed = {
    "the workflow": ["COMPLETED"],
    "redemptions": [["active"]],
    "lots": [[LEFT]],
    "balance": [LEFT],
    "what the caller's code is among the live ones": ["the only one"],
    "klaviyo": [("sent", 1)],
    # It may keep what it is sent twice, and a second e-mail is mild.
    "omnisend": [("sent", 1), ("sent", 2)],
    "different events at omnisend": [1],
    "postscript": [("sent", 1), ("unknown", 0), ("unknown", 1)],
    "metafields": [("sent", 1)],
    "points in the metafield": [[LEFT]],
    "audit": [[]],
}
NOT_PURCHASED: Allowed = {
    "the workflow": ["FAILED"],
    "redemptions": [["failed"]],
    "lots": [[POINTS]],
    "balance": [POINTS],
    "what the caller's code is among the live ones": ["none, and there are none"],
    "klaviyo": [(None, 0)],
    "omnisend": [(None, 0)],
    "different events at omnisend": [0],
    "postscript": [(None, 0)],
    "metafields": [(None, 0)],
    "points in the metafield": [[]],
    "audit": [[]],
}
REFUNDED: Allowed = {
    **PURCHASED,
    "redemptions": [["expired"]],
    "lots": [[POINTS]],
    "balance": [POINTS],
    "what the caller's code is among the live ones": ["not among them, and there are none"],
    "points in the metafield": [[POINTS]],
}
ALLOWED = {200: REFUNDED, 201: PURCHASED, 503: NOT_PURCHASED}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A purchase or a refund of which nothing more will come."""

    service: Service
    shop: Shop
    answer: httpx.Response
    workflow: str

    async def objections(self) -> list[str]:
        """Everything about it that must not be."""
        facts = await self._facts()
        allowed = ALLOWED[self.answer.status_code]
        return [f"{name}: {facts[name]}" for name, values in allowed.items() if facts[name] not in values]

    async def _facts(self) -> Facts:
        return {
            "the workflow": self.workflow,
            "redemptions": [row.status for row in await self.shop.redemptions()],
            "lots": await self.shop.lots(),
            "balance": await self.shop.balance(),
            "what the caller's code is among the live ones": await self._code(),
            **await self._told(),
            "audit": await self._findings(),
        }

    async def _code(self) -> str:
        live = [one["code"] for one in await self.shop.discounts("live")]
        given = self.answer.json().get("data", {}).get("attributes", {}).get("discount_code")
        if given is None:
            return f"none, and there are {len(live) or 'none'}"
        if given in live:
            return "the only one" if live == [given] else f"one of {len(live)}"
        return f"not among them, and there are {len(live) or 'none'}"

    async def _told(self) -> Facts:
        event = "reward_refunded" if self.answer.status_code == 200 else "reward_redeemed"
        deliveries = await self.shop.deliveries(event)
        arrived = {vendor: await self._events(vendor) for vendor in ("klaviyo", "omnisend", "postscript")}
        arrived["metafields"] = (await self.service.vendor("shopify"))["metafields"]
        return {
            **{channel: (deliveries.get(channel), len(there)) for channel, there in arrived.items()},
            "different events at omnisend": len({event["eventID"] for event in arrived["omnisend"]}),
            "points in the metafield": [json.loads(one["value"])["points_balance"] for one in arrived["metafields"]],
        }

    async def _events(self, vendor: str) -> list[Any]:
        return (await self.service.vendor(vendor))["events"]

    async def _findings(self) -> list[str]:
        """The customer's and the redemption's; others may be in the middle of being found out."""
        ours = {*self.shop.customers, *(row.id for row in await self.shop.redemptions())}
        return [f"{one.subject} {one.detail}" for one in await self.service.audit() if ours & {*one.subject.split()}]
