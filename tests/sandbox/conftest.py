"""A sandbox of its own for each test, and somebody to ask it things."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from sandbox.app import create_app
from sandbox.transport import SandboxTransport

SHOP = "/corner-shop.myshopify.com/admin/api/2026-10/graphql.json"
TOKEN = {"X-Shopify-Access-Token": "shpat_x"}
CREATE = """mutation ($d: DiscountCodeBasicInput!) { discountCodeBasicCreate(basicCodeDiscount: $d) {
    codeDiscountNode { id codeDiscount { ... on DiscountCodeBasic { status endsAt } } } userErrors { code field } } }"""

Ask = Callable[..., Awaitable[dict[str, Any]]]


def a_discount(**changes: Any) -> dict[str, Any]:
    """Five dollars off for everybody."""
    return {
        "code": "FIVE",
        "title": "Five",
        "startsAt": "2026-01-01T00:00:00Z",
        "context": {"all": "ALL"},
        "customerGets": {"value": {"discountAmount": {"amount": "5.00"}}, "items": {"all": True}},
    } | changes


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=SandboxTransport(create_app()), base_url="http://sandbox") as client:
        yield client


@pytest.fixture
def ask(http: httpx.AsyncClient) -> Ask:
    """Run a GraphQL document and return the whole answer."""

    async def ask(query: str, **variables: Any) -> dict[str, Any]:
        response = await http.post(SHOP, headers=TOKEN, json={"query": query, "variables": variables})
        assert response.status_code == 200, response.text
        return response.json()

    return ask


@pytest.fixture
def create(ask: Ask) -> Ask:
    """Make a discount and return the mutation's payload."""

    async def create(**changes: Any) -> dict[str, Any]:
        return (await ask(CREATE, d=a_discount(**changes)))["data"]["discountCodeBasicCreate"]

    return create
