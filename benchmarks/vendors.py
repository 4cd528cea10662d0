"""`python -m benchmarks.vendors PORT`: Shopify, Klaviyo, Omnisend and Postscript, which accept everything at once.

Shopify's creation of a code takes as long as `POST /delay?ms=150` says. `GET /calls` has the number of calls by name.
"""

import asyncio
import itertools
import json
import re
import sys
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

import uvicorn
from starlette.types import Receive, Scope, Send

from local_stack.ports import LOOPBACK

DELIVERIES = ("klaviyo", "omnisend", "postscript", "metafieldsSet")
"""Names of the calls that deliver an event."""
OPERATION = re.compile(r"\b(discountCode\w+|codeDiscountNodeByCode|metafieldsSet)\(")


class InstantVendors:
    """The vendors, as an ASGI app."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._ids = itertools.count(1)
        self._delay = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            status, answer = await self._answer(scope, await _body(receive))
            await _respond(send, status, answer)

    async def _answer(self, scope: Scope, body: bytes) -> tuple[int, Any]:
        vendor = scope["path"].split("/")[1]
        match vendor:
            case "calls":
                return 200, self._calls
            case "delay":
                self._delay = float(parse_qs(scope["query_string"].decode())["ms"][0]) / 1000
                return 200, {}
            case "shopify":
                return 200, {"data": await self._execute(json.loads(body)["query"])}
            case _:
                self._calls[vendor] += 1
                return 202, {}

    async def _execute(self, document: str) -> dict[str, Any]:
        found = OPERATION.search(document)
        assert found, document
        operation = found[1]
        self._calls[operation] += 1
        if operation == "codeDiscountNodeByCode":
            return {operation: None}
        if operation.endswith("Create"):
            await asyncio.sleep(self._delay)
        node = {"id": f"gid://shopify/DiscountCodeNode/{next(self._ids)}", "codeDiscount": {"asyncUsageCount": 0}}
        return {operation: {"codeDiscountNode": node, "userErrors": []}}


async def _body(receive: Receive) -> bytes:
    body, is_complete = b"", False
    while not is_complete:
        message = await receive()
        body += message.get("body", b"")
        is_complete = not message.get("more_body")
    return body


async def _respond(send: Send, status: int, answer: Any) -> None:
    content = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


if __name__ == "__main__":
    uvicorn.run(InstantVendors(), host=LOOPBACK, port=int(sys.argv[1]), log_level="warning", timeout_keep_alive=60)
