"""Clients of the sandbox that each test has for itself."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from clients.shopify import Shopify
from tests.clients.build import send_event, shopify_client
from tests.sandbox.conftest import AddFault, VendorState, add_fault, http, vendor_state

__all__ = ["AddFault", "StoreEvent", "VendorState", "add_fault", "http", "vendor_state"]

StoreEvent = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def shopify(http: httpx.AsyncClient) -> Shopify:
    return shopify_client(http)


@pytest.fixture
def store_event(http: httpx.AsyncClient, vendor_state: VendorState) -> StoreEvent:
    """Send an event to a marketing vendor and return it as stored there."""

    async def store_event(vendor: str, **changes: Any) -> dict[str, Any]:
        await send_event(vendor, http, **changes)
        return (await vendor_state(vendor))["events"][-1]

    return store_event
