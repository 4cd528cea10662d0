"""What an operator sees while processes are frozen or away."""

import json
import signal

from tests.builders import Json, a_customer, a_lot, a_shop
from tests.commands.conftest import CommandLine
from tests.e2e.deployment import COST, Deployment
from tests.waiting import A_PROGRAM, wait_until


def pointsaga(deployment: Deployment) -> CommandLine:
    return CommandLine({**deployment.stack.env, "PURCHASE_DEADLINE_SECONDS": "4"})


async def report(deployment: Deployment) -> Json:
    run = await pointsaga(deployment).start("status", "--json")
    out, _ = await run.communicate()
    return json.loads(out)


async def blocking(deployment: Deployment) -> list[Json]:
    """What `status` says prevents all purchases. Earlier tests leave shops in which purchases have failed."""
    found = (await report(deployment))["findings"]
    return [one for one in found if one["blocks_purchases"] and one["shop"] is None]


async def heartbeats(deployment: Deployment, pid: int) -> list[str]:
    """Times of the last heartbeats of a process, which has a worker for each task queue."""
    workers = [one for queue in (await report(deployment))["task_queues"] for one in queue["workers"]]
    # Before its first heartbeat a worker is seen by its polls, without slots.
    ours = (one for one in workers if one["identity"].startswith(f"{pid}@") and one["used_slots"] is not None)
    return [one["seen_at"] for one in ours]


async def test_a_frozen_worker_is_found_within_half_a_minute(deployment: Deployment) -> None:
    await deployment.workers_are_gone()
    shop = await deployment.open_shop(a_shop(a_customer(a_lot(COST))))
    worker = await deployment.start_worker()
    await wait_until(lambda: heartbeats(deployment, worker.pid), every=A_PROGRAM)
    first = max(await heartbeats(deployment, worker.pid))

    async def have_sent_another() -> bool:
        return min(await heartbeats(deployment, worker.pid)) > first

    # The second heartbeat shows how often they come.
    await wait_until(have_sent_another, every=A_PROGRAM)
    assert await blocking(deployment) == []

    worker.send(signal.SIGSTOP)

    async def is_found() -> bool:
        return any("frozen, dead or cut off" in one["what"] for one in await blocking(deployment))

    await wait_until(is_found, seconds=40, every=A_PROGRAM)
    ready = (await deployment.api.get("/readyz")).json()
    assert ready["worker"] == "no_worker"
    [finding] = await blocking(deployment)
    assert finding["command"].startswith("kill process ")
    worker.send(signal.SIGCONT)

    async def is_settled() -> bool:
        return await blocking(deployment) == []

    await wait_until(is_settled, every=A_PROGRAM)
    assert (await shop.purchase()).status_code == 201
