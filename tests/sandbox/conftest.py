"""Each test has its own sandbox, without a network. The client tests use these fixtures too."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from sandbox.app import create_app
from sandbox.transport import SandboxTransport

SHOP = "/corner-shop.myshopify.com/admin/api/2026-10/graphql.json"
CREATE = """mutation ($d: DiscountCodeBasicInput!) { discountCodeBasicCreate(basicCodeDiscount: $d) {
    codeDiscountNode { id codeDiscount { ... on DiscountCodeBasic { status endsAt } } } userErrors { code field } } }"""
FIND = "query ($c: String!) { codeDiscountNodeByCode(code: $c) { id } }"

AddFault = Callable[..., Awaitable[None]]
Execute = Callable[..., Awaitable[dict[str, Any]]]
VendorState = Callable[[str], Awaitable[dict[str, Any]]]


def a_discount(**changes: Any) -> dict[str, Any]:
    """Input of a discount: 5 off for all customers."""
    return {
        "code": "FIVE",
        "title": "Five",
        "startsAt": "2026-01-01T00:00:00Z",
        "context": {"all": "ALL"},
        "customerGets": {"value": {"discountAmount": {"amount": "5.00"}}, "items": {"all": True}},
    } | changes


async def find(http: httpx.AsyncClient, path: str = SHOP, token: str = "shpat_x") -> httpx.Response:
    """Look up the code FIVE."""
    body = {"query": FIND, "variables": {"c": "FIVE"}}
    return await http.post(path, headers={"X-Shopify-Access-Token": token}, json=body)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=SandboxTransport(create_app()), base_url="https://sandbox") as client:
        yield client


@pytest.fixture
def add_fault(http: httpx.AsyncClient) -> AddFault:
    """Add a fault to a vendor's script."""

    async def add_fault(vendor: str, **fault: Any) -> None:
        response = await http.post(f"/_sandbox/{vendor}/faults", json=fault)
        assert response.status_code == 201, response.text

    return add_fault


@pytest.fixture
def vendor_state(http: httpx.AsyncClient) -> VendorState:
    """Read what `/_sandbox` shows of a vendor."""

    async def vendor_state(vendor: str) -> dict[str, Any]:
        return (await http.get(f"/_sandbox/{vendor}")).json()

    return vendor_state


@pytest.fixture
def execute(http: httpx.AsyncClient) -> Execute:
    """Execute a GraphQL document and return the whole response body."""

    async def execute(query: str, **variables: Any) -> dict[str, Any]:
        body = {"query": query, "variables": variables}
        response = await http.post(SHOP, headers={"X-Shopify-Access-Token": "shpat_x"}, json=body)
        assert response.status_code == 200, response.text
        return response.json()

    return execute


@pytest.fixture
def create(execute: Execute) -> Execute:
    """Create a discount and return the mutation's payload."""

    async def create(**changes: Any) -> dict[str, Any]:
        return (await execute(CREATE, d=a_discount(**changes)))["data"]["discountCodeBasicCreate"]

    return create
