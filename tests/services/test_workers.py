"""Which workers count as answering, by the heartbeats that Temporal has of them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import RecordWorkerHeartbeatRequest
from temporalio.testing import WorkflowEnvironment

import telemetry
from services.workers import HEARTBEAT_EVERY, queue_state

Beat = tuple[timedelta, timedelta]
"""How long ago the last heartbeat was, and how long after the one before it."""
FIRST = timedelta()


def ago(seconds: float, *, after: timedelta = HEARTBEAT_EVERY) -> Beat:
    return timedelta(seconds=seconds), after


@pytest.mark.parametrize(
    ("beats", "dispatch"),
    [
        pytest.param([ago(10)], "ok", id="it answers"),
        pytest.param([ago(20)], "no_worker", id="it has missed three"),
        pytest.param([ago(10, after=FIRST)], "ok", id="it has started"),
        pytest.param([ago(20, after=FIRST)], "no_worker", id="it has died before its second"),
        pytest.param([ago(20, after=FIRST), ago(1, after=FIRST)], "no_worker", id="the next may die, too"),
        pytest.param([ago(20, after=FIRST), ago(1)], "ok", id="the next has lived on"),
        pytest.param([ago(1200, after=FIRST), ago(1, after=FIRST)], "ok", id="that was long ago"),
        pytest.param([ago(20), ago(1, after=FIRST)], "ok", id="the one before it has lived on"),
    ],
)
async def test_a_worker_that_crashes_in_a_loop_does_not_answer(
    temporal: WorkflowEnvironment, beats: list[Beat], dispatch: str
) -> None:
    queue = f"test-{uuid4().hex}"
    await record(temporal, queue, beats)

    state = await queue_state(temporal.client, queue, workflows=True)

    assert state.dispatch == dispatch
    assert len(state.workers) == len(beats)


def test_workers_send_heartbeats_as_often_as_is_expected() -> None:
    assert telemetry.HEARTBEAT_EVERY == HEARTBEAT_EVERY


async def record(temporal: WorkflowEnvironment, queue: str, beats: list[Beat]) -> None:
    """Report workers to Temporal, as the SDK does."""
    now = datetime.now(UTC)
    sent = [
        WorkerHeartbeat(
            worker_instance_key=uuid4().hex,
            worker_identity=f"{number}@host",
            task_queue=queue,
            status=WorkerStatus.WORKER_STATUS_RUNNING,
            heartbeat_time=_timestamp(now - age),
            elapsed_since_last_heartbeat=_duration(interval),
        )
        for number, (age, interval) in enumerate(beats)
    ]
    request = RecordWorkerHeartbeatRequest(namespace=temporal.client.namespace, identity="test", worker_heartbeat=sent)
    await temporal.client.workflow_service.record_worker_heartbeat(request)


def _timestamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _duration(length: timedelta) -> Duration:
    duration = Duration()
    duration.FromTimedelta(length)
    return duration
