"""Workflows whose data is sealed: what operators read and do, and what the history contains. See docs/sealing.md."""

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from clients.sealed_payloads import data_converter
from services.receipts import workflows_of
from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.waiting import wait_until
from tests.workflows.replay import readable
from tests.workflows.situations import buy_rejected, send_update, wait_for_details

REJECTED = "authentication_failed"
"""What Klaviyo says of a wrong key."""


@pytest.fixture
async def temporal(temporal: WorkflowEnvironment) -> WorkflowEnvironment:
    """The server, with a client that seals."""
    address, key = temporal.client.service_client.config.target_host, SecretStr(Fernet.generate_key().decode())
    client = await Client.connect(address, data_converter=data_converter([key], temporal.client.namespace))
    return WorkflowEnvironment.from_client(client)


async def test_an_operator_settles_a_sealed_workflow(service: Service, shop: Shop) -> None:
    """Afterwards the fixture replays the history, and looks for secrets in what it opens."""
    redemption = await buy_rejected(shop)
    workflow = service.purchase_workflow(redemption)

    await wait_for_details(workflow, "**Delivery failed:**")
    await send_update(workflow, "retry_deliveries", ["klaviyo"])

    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    history = await workflow.fetch_history()
    assert REJECTED in await readable(history, service.temporal.data_converter)
    assert not any(word in history.to_json() for word in (REJECTED, "waits for an operator", "off your next order"))


async def test_a_sealed_failure_is_shown_to_operators(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.DOWN, times=None)
    redemption = (await shop.purchase()).json()["data"]["id"]

    async def reasons() -> list[str]:
        [purchase] = await workflows_of(service.temporal, redemption, 1, ui=None)
        return [one.last_error for one in purchase.waiting if one.step == "klaviyo" and one.last_error]

    await wait_until(reasons)
    assert "ConnectError" in (await reasons())[0]
    await service.clear_faults("klaviyo")
    assert await service.wait_for_purchase(redemption) == "COMPLETED"


async def test_a_step_that_has_not_failed_has_no_error(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.SLOW, seconds=2)
    redemption = (await shop.purchase()).json()["data"]["id"]
    errors: set[str | None] = set()

    async def is_delivering() -> bool:
        [purchase] = await workflows_of(service.temporal, redemption, 1, ui=None)
        errors.update(one.last_error for one in purchase.waiting)
        return bool(purchase.waiting)

    await wait_until(is_delivering)
    assert errors == {None}
    assert await service.wait_for_purchase(redemption) == "COMPLETED"
