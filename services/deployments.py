"""Worker versions: which one is current. See docs/deploying.md."""

import asyncio
from datetime import timedelta

from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.common import WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode

# Temporal registers a version soon after its first poll.
_REGISTERED_WITHIN = timedelta(seconds=30)
_PAUSE_SECONDS = 0.2
_NOT_YET = (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION)


async def ensure_current(client: Client, version: WorkerDeploymentVersion) -> str:
    """Make a polling version current if its deployment has never had a current one: nothing would be dispatched.

    Returns the current build id; it is empty if an operator made unversioned workers current. Raises `TimeoutError` if
    Temporal has not registered the version within 30 s.
    """
    async with asyncio.timeout(_REGISTERED_WITHIN.total_seconds()):
        while (current := await _current(client, version)) is None:  # noqa: ASYNC110 - what is awaited is elsewhere
            await asyncio.sleep(_PAUSE_SECONDS)
    return current


async def _current(client: Client, version: WorkerDeploymentVersion) -> str | None:
    """The current build id. None: retry, as the version is not registered yet or another worker changed it."""
    describe = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=version.deployment_name)
    try:
        deployment = await client.workflow_service.describe_worker_deployment(describe)
        info = deployment.worker_deployment_info
        if version.build_id not in (one.deployment_version.build_id for one in info.version_summaries):
            return None
        if info.routing_config.HasField("current_version_changed_time"):
            return info.routing_config.current_deployment_version.build_id
        await client.workflow_service.set_worker_deployment_current_version(
            SetWorkerDeploymentCurrentVersionRequest(
                namespace=client.namespace,
                deployment_name=version.deployment_name,
                build_id=version.build_id,
                conflict_token=deployment.conflict_token,
            )
        )
    except RPCError as error:
        if error.status in _NOT_YET:
            return None
        raise
    return version.build_id
