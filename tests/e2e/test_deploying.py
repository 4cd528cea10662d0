"""What docs/deploying.md promises: the workers' code changes while runs are open, and every run comes to its end."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from temporalio.api.enums.v1 import EventType

from tests.changed_code import copy_workflows, edit
from tests.e2e.deployment import CREATE, Deployment, Program, an_api
from tests.service import Shop, a_customer, a_lot, a_shop, until
from workflows.progress import REDEMPTION_STAGE, Stage

TEMPORAL = str(Path(sys.executable).with_name("temporal"))
RESTED = EventType.EVENT_TYPE_TIMER_STARTED


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Workers of several versions on a task queue of their own, with an API."""

    deployment: Deployment
    shop: Shop
    api: httpx.AsyncClient
    name: str
    settings: dict[str, str]

    async def start_worker(self, build_id: str, *, code: str = "") -> Program:
        """A worker of this version; an empty one is unversioned."""
        return await self.deployment.start_worker({**self.settings, "WORKER_BUILD_ID": build_id}, code=code)

    async def set_current(self, *to: str) -> None:
        """What an operator types."""
        command = (TEMPORAL, "worker", "deployment", "set-current-version", "--deployment-name", self.name, *to, "-y")
        await self.deployment.stack.run("set-current-version", *command)

    async def purchase(self) -> str:
        """A purchase that succeeds; the redemption."""
        answer = await self.shop.purchase(api=self.api)
        assert answer.status_code == 201, answer.text
        return answer.json()["data"]["id"]

    async def purchase_that_parks(self) -> str:
        """A purchase whose run waits for an operator."""
        await self.deployment.fault("klaviyo", "status", status=403, times=1)
        redemption = await self.purchase()
        await until(lambda: self.is_parked(redemption))
        return redemption

    async def has_reserved(self) -> bool:
        """Whether a purchase has taken its points, and has no code yet."""
        return "pending" in [row.status for row in await self.shop.redemptions()]

    async def is_parked(self, redemption: str) -> bool:
        """Whether the run waits for an operator."""
        run = await self.deployment.run_of(redemption).describe()
        return run.typed_search_attributes.get(REDEMPTION_STAGE) == Stage.NEEDS_ATTENTION

    async def unpark(self, redemption: str) -> None:
        """The operator has mended it, and the run comes to its end."""
        run = self.deployment.run_of(redemption)
        await run.execute_update("retry_deliveries", ["klaviyo"])  # pyright: ignore[reportUnknownMemberType]
        assert await self.deployment.end_of(redemption) == "COMPLETED"

    async def version_of(self, redemption: str) -> str:
        """The version that the run belongs to; empty without one."""
        run = await self.deployment.run_of(redemption).describe()
        return run.raw_description.workflow_execution_info.versioning_info.deployment_version.build_id

    async def rests_of(self, redemption: str) -> int:
        """How often the run has rested: only changed code does."""
        history = await self.deployment.run_of(redemption).fetch_history()
        return sum(event.event_type == RESTED for event in history.events)

    async def worker_is(self, condition: str) -> bool:
        """Whether the API says so."""
        return (await self.api.get("/readyz")).json()["worker"] == condition


@pytest.fixture
async def rollout(deployment: Deployment) -> AsyncGenerator[Rollout]:
    """A deployment of this test alone, with a customer who can buy four times."""
    name = f"rollout-{uuid4().hex}"
    settings = {"TEMPORAL_TASK_QUEUE": name, "WORKER_DEPLOYMENT_NAME": name}
    shop = await deployment.open_shop(a_shop(a_customer(a_lot(2000))))
    async with an_api(deployment.stack, settings) as (_, api):
        yield Rollout(deployment=deployment, shop=shop, api=api, name=name, settings=settings)


@pytest.fixture
def changed(tmp_path: Path) -> str:
    """Workflow code that no run of today's code could go on with: it rests, first of all."""
    story = copy_workflows(tmp_path / "workflows") / "redeem_reward.py"
    begin = "        async with self._saga as saga:\n"
    edit(story, begin, "        await workflow.sleep(1)\n" + begin)
    return str(tmp_path)


async def test_new_runs_go_to_the_new_version_and_open_ones_end_on_theirs(rollout: Rollout, changed: str) -> None:
    await rollout.start_worker("old")
    await rollout.start_worker("new", code=changed)
    parked = await rollout.purchase_that_parks()
    await rollout.deployment.fault("shopify", "latency", operation=CREATE, seconds=5, times=1)
    under_way = asyncio.ensure_future(rollout.purchase())
    await until(rollout.has_reserved)

    await rollout.set_current("--build-id", "new")
    fresh = await rollout.purchase()

    assert await rollout.deployment.end_of(await under_way) == "COMPLETED"
    await rollout.unpark(parked)
    runs = (parked, await under_way, fresh)
    assert [await rollout.version_of(run) for run in runs] == ["old", "old", "new"]
    assert [await rollout.rests_of(run) for run in runs] == [0, 0, 1]
    await rollout.deployment.books_are_right()


async def test_runs_from_before_versions_end_on_the_first_version(rollout: Rollout) -> None:
    await rollout.start_worker("")
    parked = await rollout.purchase_that_parks()

    await rollout.start_worker("first")
    fresh = await rollout.purchase()
    await rollout.unpark(parked)

    assert [await rollout.version_of(run) for run in (parked, fresh)] == ["first", "first"]


async def test_a_worker_does_not_take_back_what_an_operator_gave_to_unversioned_ones(rollout: Rollout) -> None:
    await rollout.start_worker("first")
    parked = await rollout.purchase_that_parks()
    assert await rollout.worker_is("ok")

    await rollout.set_current("--unversioned")
    await rollout.start_worker("first")
    await until(lambda: rollout.worker_is("not_current"))
    await rollout.start_worker("")

    fresh = await rollout.purchase()
    await rollout.unpark(parked)
    assert [await rollout.version_of(run) for run in (parked, fresh)] == ["first", ""]
    assert await rollout.worker_is("ok")
