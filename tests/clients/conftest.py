"""Every client speaks to a sandbox of its own, under the vendors' real addresses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from clients.shopify import Shopify
from sandbox.app import create_app
from sandbox.transport import SandboxTransport

ScriptFault = Callable[..., Awaitable[None]]
See = Callable[[str], Awaitable[dict[str, Any]]]


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=SandboxTransport(create_app())) as client:
        yield client


@pytest.fixture
def shopify(http: httpx.AsyncClient) -> Shopify:
    template = "https://sandbox/{shop_domain}/admin/api/{version}/graphql.json"
    return Shopify(http, url_template=template, api_version="2026-10")


@pytest.fixture
def script(http: httpx.AsyncClient) -> ScriptFault:
    """Say what a vendor does next."""

    async def script(vendor: str, **fault: Any) -> None:
        response = await http.post(f"https://sandbox/_sandbox/{vendor}/faults", json=fault)
        assert response.status_code == 201, response.text

    return script


@pytest.fixture
def see(http: httpx.AsyncClient) -> See:
    """What a vendor knows."""

    async def see(vendor: str) -> dict[str, Any]:
        return (await http.get(f"https://sandbox/_sandbox/{vendor}")).json()

    return see
