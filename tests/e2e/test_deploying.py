"""What docs/deploying.md promises: worker code changes while workflows are open, and every workflow ends."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from temporalio.api.enums.v1 import EventType

from tests.builders import a_customer, a_lot, a_shop
from tests.changed_code import copy_workflows, edit
from tests.e2e.deployment import Deployment, Program, api_process
from tests.faults import CREATE_CODE, VendorFault
from tests.shop import Shop
from tests.waiting import wait_until
from workflows.progress import REDEMPTION_STAGE, Stage

TEMPORAL = str(Path(sys.executable).with_name("temporal"))


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Workers of several versions on their own task queue, with an API."""

    deployment: Deployment
    shop: Shop
    api: httpx.AsyncClient
    name: str
    settings: dict[str, str]

    async def start_worker(self, build_id: str, *, code: str = "") -> Program:
        """Start a worker of this version. Empty: unversioned."""
        return await self.deployment.start_worker({**self.settings, "WORKER_BUILD_ID": build_id}, code=code)

    async def set_current(self, *version: str) -> None:
        """Run the operator's command."""
        command = (TEMPORAL, "worker", "deployment", "set-current-version", "--deployment-name", self.name)
        await self.deployment.stack.run("set-current-version", *command, *version, "-y")

    async def purchase(self) -> str:
        """Buy. Returns the redemption id."""
        response = await self.shop.purchase(api=self.api)
        assert response.status_code == 201, response.text
        return response.json()["data"]["id"]

    async def rejected_purchase(self) -> str:
        """Buy, and wait until the workflow waits for an operator because Klaviyo has rejected the event."""
        await self.deployment.inject("klaviyo", VendorFault.FORBIDDEN)
        redemption = await self.purchase()

        async def needs_attention() -> bool:
            workflow = await self.deployment.purchase_workflow(redemption).describe()
            return workflow.typed_search_attributes.get(REDEMPTION_STAGE) == Stage.NEEDS_ATTENTION

        await wait_until(needs_attention)
        return redemption

    async def retry(self, redemption: str) -> None:
        """Retry the rejected delivery, and wait for the end of the workflow."""
        workflow = self.deployment.purchase_workflow(redemption)
        await workflow.execute_update("retry_deliveries", ["klaviyo"])  # pyright: ignore[reportUnknownMemberType]
        assert await self.deployment.wait_for_purchase(redemption) == "COMPLETED"

    async def has_reserved(self) -> bool:
        """Whether a purchase has reserved its points and has no code yet."""
        return "pending" in [row.status for row in await self.shop.redemptions()]

    async def version_of(self, redemption: str) -> str:
        """Build id of the workflow. Empty: unversioned."""
        workflow = await self.deployment.purchase_workflow(redemption).describe()
        return workflow.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id

    async def timers_of(self, redemption: str) -> int:
        """Number of timers that have fired. Only one of the changed code does: an operator ends the others."""
        history = await self.deployment.purchase_workflow(redemption).fetch_history()
        return sum(event.event_type == EventType.EVENT_TYPE_TIMER_FIRED for event in history.events)

    async def worker_is(self, condition: str) -> bool:
        return (await self.api.get("/readyz")).json()["worker"] == condition


@pytest.fixture
async def rollout(deployment: Deployment) -> AsyncGenerator[Rollout]:
    """A worker deployment of this test alone, and a customer who can buy four times."""
    name = f"rollout-{uuid4().hex}"
    settings = {"TEMPORAL_TASK_QUEUE": name, "WORKER_DEPLOYMENT_NAME": name}
    shop = await deployment.open_shop(a_shop(a_customer(a_lot(2000))))
    async with api_process(deployment.stack, settings) as (_, api):
        yield Rollout(deployment=deployment, shop=shop, api=api, name=name, settings=settings)


@pytest.fixture
def changed(tmp_path: Path) -> str:
    """Workflow code that cannot continue a workflow of the current code: it starts with a timer."""
    module = copy_workflows(tmp_path / "workflows") / "redeem_reward.py"
    begin = "        async with self._saga as saga:\n"
    edit(module, begin, "        await workflow.sleep(1)\n" + begin)
    return str(tmp_path)


async def test_open_workflows_end_on_their_version(rollout: Rollout, changed: str) -> None:
    await rollout.start_worker("old")
    await rollout.start_worker("new", code=changed)
    rejected = await rollout.rejected_purchase()
    await rollout.deployment.inject("shopify", VendorFault.SLOW, operation=CREATE_CODE, seconds=5)
    in_progress = asyncio.ensure_future(rollout.purchase())
    await wait_until(rollout.has_reserved)

    await rollout.set_current("--build-id", "new")
    latest = await rollout.purchase()

    assert await rollout.deployment.wait_for_purchase(await in_progress) == "COMPLETED"
    await rollout.retry(rejected)
    purchases = (rejected, await in_progress, latest)
    assert [await rollout.version_of(one) for one in purchases] == ["old", "old", "new"]
    assert [await rollout.timers_of(one) for one in purchases] == [0, 0, 1]
    await rollout.deployment.audit_ledger()


async def test_unversioned_workflows_end_on_the_first_version(rollout: Rollout) -> None:
    await rollout.start_worker("")
    rejected = await rollout.rejected_purchase()

    await rollout.start_worker("first")
    latest = await rollout.purchase()
    await rollout.retry(rejected)

    assert [await rollout.version_of(one) for one in (rejected, latest)] == ["first", "first"]


async def test_a_worker_leaves_unversioned_ones_current(rollout: Rollout) -> None:
    await rollout.start_worker("first")
    rejected = await rollout.rejected_purchase()
    await wait_until(lambda: rollout.worker_is("ok"))

    await rollout.set_current("--unversioned")
    await rollout.start_worker("first")
    await wait_until(lambda: rollout.worker_is("not_current"))
    await rollout.start_worker("")

    latest = await rollout.purchase()
    await rollout.retry(rejected)
    assert [await rollout.version_of(one) for one in (rejected, latest)] == ["first", ""]
    await wait_until(lambda: rollout.worker_is("ok"))
