"""The workers that Temporal knows, and whether they still answer."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, DescribeTaskQueueResponse, ListWorkersRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode


class Dispatch(StrEnum):
    """Whether new tasks of a queue reach a worker. The values are those of `status --json` and `/readyz`."""

    OK = "ok"
    NO_WORKER = "no_worker"
    NOT_CURRENT = "not_current"
    """Workers answer, but none of them has the current version."""
    UNKNOWN = "unknown"
    """Temporal does not answer."""


# An idle poll ends after 60 s and is followed by the next.
_POLLED_WITHIN = timedelta(seconds=70)
_MISSED_HEARTBEATS = 3
HEARTBEAT_EVERY = timedelta(seconds=5)
"""Interval of our own workers: `telemetry.HEARTBEAT_EVERY`."""
# Longer than Docker (one minute) and Kubernetes (five) wait before they start a worker again that ends each time.
_DEATHS_COUNT_FOR = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class SeenWorker:
    """A worker of a task queue. The names are keys of `status --json`.

    Attributes:
        identity: process id and host.
        build_id: empty for an unversioned worker.
        seen_at: its last heartbeat by its own clock, or its last poll.
        silent: it is frozen, dead or cut off, or has sent one heartbeat only, after another that died then.
        used_slots, free_slots: of its tasks. None: it sends no heartbeats.
    """

    identity: str
    build_id: str
    seen_at: datetime
    silent: bool
    used_slots: int | None = None
    free_slots: int | None = None


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """A task queue and its workers. The names are keys of `status --json`."""

    name: str
    dispatch: Dispatch
    workers: Sequence[SeenWorker]

    @property
    def silent_worker(self) -> SeenWorker | None:
        """The worker that was seen last, if none answers."""
        if self.dispatch is not Dispatch.NO_WORKER:
            return None
        return max(self.workers, key=lambda one: one.seen_at, default=None)


async def queue_state(client: Client, task_queue: str, *, workflows: bool) -> QueueState:
    """The workers of a queue of workflow tasks, or of activities only. Raises `RPCError`."""
    kind = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW if workflows else TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
    queue = TaskQueue(name=task_queue)
    describe = DescribeTaskQueueRequest(namespace=client.namespace, task_queue=queue, task_queue_type=kind)
    described, heartbeats = await asyncio.gather(
        client.workflow_service.describe_task_queue(describe), _heartbeats(client, task_queue)
    )
    workers = [*_by_heartbeat(heartbeats, workflows=workflows), *_by_poll(described.pollers, heartbeats)]
    return QueueState(name=task_queue, dispatch=_dispatch(described, workers), workers=workers)


async def backlog(client: Client, task_queue: str) -> int:
    """Roughly, how many tasks of the queue wait for a worker. Raises `RPCError`."""
    queue = TaskQueue(name=task_queue)
    kinds = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
    described = [
        await client.workflow_service.describe_task_queue(
            DescribeTaskQueueRequest(
                namespace=client.namespace, task_queue=queue, task_queue_type=kind, report_stats=True
            )
        )
        for kind in kinds
    ]
    return sum(one.stats.approximate_backlog_count for one in described)


async def _heartbeats(client: Client, task_queue: str) -> list[WorkerHeartbeat]:
    """Heartbeats of the queue's workers. Empty if the server has none: then polls decide."""
    request = ListWorkersRequest(namespace=client.namespace, query=f"TaskQueue = '{task_queue}'", page_size=1000)
    try:
        listed = await client.workflow_service.list_workers(request)
    except RPCError as error:
        if error.status is RPCStatusCode.UNIMPLEMENTED:
            return []
        raise
    return [one.worker_heartbeat for one in listed.workers_info]


def _by_heartbeat(heartbeats: Iterable[WorkerHeartbeat], *, workflows: bool) -> list[SeenWorker]:
    """The workers that send heartbeats and were not shut down."""
    running = [one for one in heartbeats if one.status == WorkerStatus.WORKER_STATUS_RUNNING]
    # It may crash in a loop: then its successors have sent their first heartbeat, too, and must send another.
    one_died_young = any(_is_first(beat) and _is_silent(beat) and _is_recent(beat) for beat in running)
    return [
        _seen(beat, workflows=workflows, silent=_is_silent(beat) or (one_died_young and _is_first(beat)))
        for beat in running
    ]


def _is_first(beat: WorkerHeartbeat) -> bool:
    """Whether the worker has sent no other heartbeat. It sends the first when it starts, before it polls."""
    return not beat.elapsed_since_last_heartbeat.ToTimedelta()


def _is_silent(beat: WorkerHeartbeat) -> bool:
    # The first heartbeat does not say when the next one is due.
    interval = HEARTBEAT_EVERY if _is_first(beat) else beat.elapsed_since_last_heartbeat.ToTimedelta()
    return _time(beat.heartbeat_time) < datetime.now(UTC) - _MISSED_HEARTBEATS * interval


def _is_recent(beat: WorkerHeartbeat) -> bool:
    return _time(beat.heartbeat_time) > datetime.now(UTC) - _DEATHS_COUNT_FOR


def _seen(beat: WorkerHeartbeat, *, workflows: bool, silent: bool) -> SeenWorker:
    slots = beat.workflow_task_slots_info if workflows else beat.activity_task_slots_info
    return SeenWorker(
        identity=beat.worker_identity,
        # Workers without a version report a hash of their code.
        build_id=beat.deployment_version.build_id if beat.deployment_version.deployment_name else "",
        seen_at=_time(beat.heartbeat_time),
        silent=silent,
        used_slots=slots.current_used_slots,
        free_slots=slots.current_available_slots,
    )


def _by_poll(pollers: Iterable[PollerInfo], heartbeats: Iterable[WorkerHeartbeat]) -> list[SeenWorker]:
    """The workers that send no heartbeats. One that is gone counts for up to 70 s."""
    known = {one.worker_identity for one in heartbeats}
    oldest = datetime.now(UTC) - _POLLED_WITHIN
    seen = [
        SeenWorker(identity=one.identity, build_id=_build_id(one), seen_at=_time(one.last_access_time), silent=False)
        for one in pollers
        if one.identity not in known
    ]
    return [one for one in seen if one.seen_at > oldest]


def _dispatch(queue: DescribeTaskQueueResponse, workers: Iterable[SeenWorker]) -> Dispatch:
    answering = {one.build_id for one in workers if not one.silent}
    if not answering:
        return Dispatch.NO_WORKER
    is_current = queue.versioning_info.current_deployment_version.build_id in answering
    return Dispatch.OK if is_current else Dispatch.NOT_CURRENT


def _build_id(poller: PollerInfo) -> str:
    options = poller.deployment_options
    versioned = options.worker_versioning_mode == WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    return options.build_id if versioned else ""


def _time(time: Timestamp) -> datetime:
    return time.ToDatetime(UTC)
