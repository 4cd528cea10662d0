"""Versions of the worker: how one comes to be given work, and whether any is. The story is in docs/deploying.md."""

import asyncio
from datetime import timedelta
from typing import Literal

from temporalio.api.enums.v1 import TaskQueueType, WorkerVersioningMode
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

Dispatch = Literal["ok", "no_worker", "not_current", "unknown"]
"""Whether new runs are given to a worker. `not_current`: workers poll, but none of the version that they go to."""

# A version is known to Temporal soon after its first poll.
_REGISTERED_WITHIN = timedelta(seconds=30)
_PAUSE_SECONDS = 0.2
_NOT_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)


async def ensure_current(client: Client, version: WorkerDeploymentVersion) -> str:
    """Make a polling version current if its deployment never had a current one: nothing would be dispatched.

    Returns:
        The build id that is current; empty when an operator gave the work back to unversioned workers.

    Raises:
        TimeoutError: Temporal does not come to know the version.
    """
    async with asyncio.timeout(_REGISTERED_WITHIN.total_seconds()):
        while True:
            try:
                return await _current_or_first(client, version)
            except RPCError as error:
                # Not registered yet; or another worker of the deployment was faster.
                if error.status not in _NOT_YET:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)


async def dispatch(client: Client, task_queue: str) -> Dispatch:
    """Whether a worker polls that new runs are given to. One that died is taken for alive for some five minutes.

    Raises:
        RPCError: Temporal cannot be asked.
    """
    queue = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace,
            task_queue=TaskQueue(name=task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
    )
    if not queue.pollers:
        return "no_worker"
    current = queue.versioning_info.current_deployment_version.build_id
    return "ok" if current in map(_build_id, queue.pollers) else "not_current"


async def _current_or_first(client: Client, version: WorkerDeploymentVersion) -> str:
    service, name = client.workflow_service, version.deployment_name
    deployment = await service.describe_worker_deployment(
        DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=name)
    )
    routing = deployment.worker_deployment_info.routing_config
    if routing.HasField("current_version_changed_time"):
        return routing.current_deployment_version.build_id
    await service.set_worker_deployment_current_version(
        SetWorkerDeploymentCurrentVersionRequest(
            namespace=client.namespace,
            deployment_name=name,
            build_id=version.build_id,
            conflict_token=deployment.conflict_token,
        )
    )
    return version.build_id


def _build_id(poller: PollerInfo) -> str:
    """Empty for an unversioned worker."""
    options = poller.deployment_options
    versioned = options.worker_versioning_mode == WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
    return options.build_id if versioned else ""
