"""What an operator sees while processes are frozen or away."""

import json
import signal

from tests.builders import Json, a_customer, a_lot, a_shop
from tests.commands.conftest import CommandLine
from tests.e2e.deployment import COST, Deployment
from tests.waiting import wait_until


def pointsaga(deployment: Deployment) -> CommandLine:
    return CommandLine({**deployment.stack.env, "PURCHASE_DEADLINE_SECONDS": "4"})


async def report(deployment: Deployment) -> Json:
    run = await pointsaga(deployment).start("status", "--json")
    out, _ = await run.communicate()
    return json.loads(out)


async def blocking(deployment: Deployment) -> list[Json]:
    """What `status` says prevents purchases."""
    return [one for one in (await report(deployment))["findings"] if one["blocks_purchases"]]


async def heard(deployment: Deployment) -> list[str]:
    """Times of the workers' last heartbeats."""
    return [one["seen_at"] for queue in (await report(deployment))["task_queues"] for one in queue["workers"]]


async def test_a_frozen_worker_is_found_within_half_a_minute(deployment: Deployment) -> None:
    shop = await deployment.open_shop(a_shop(a_customer(a_lot(COST))))
    worker = await deployment.start_worker()
    first = await heard(deployment)

    async def has_sent_another() -> bool:
        return set(first).isdisjoint(await heard(deployment))

    # The second heartbeat tells how often they come.
    await wait_until(has_sent_another)
    assert await blocking(deployment) == []

    worker.send(signal.SIGSTOP)

    async def is_found() -> bool:
        return any("frozen, dead or cut off" in one["what"] for one in await blocking(deployment))

    await wait_until(is_found, seconds=30)
    ready = (await deployment.api.get("/readyz")).json()
    assert ready["worker"] == "no_worker"
    [finding] = await blocking(deployment)
    assert finding["command"].startswith("kill process ")
    worker.send(signal.SIGCONT)

    async def is_settled() -> bool:
        return await blocking(deployment) == []

    await wait_until(is_settled)
    assert (await shop.purchase()).status_code == 201
