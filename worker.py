"""Composition root of the worker: clients → activities → Worker."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import structlog
import uvloop
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import Interceptor, UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

import metrics
from activities.deliveries import Deliveries, Sender
from activities.discounts import Discounts
from activities.drift import Drift
from activities.expiry import Expiry
from activities.failures import FailureTranslation
from activities.metafields import Metafields
from activities.points import Points
from activities.precedence import MOST_WAITING, GivesWay, NotesSteps, Precedence
from activities.reconciliation import Reconciliation
from activities.refunds import Refunds
from activities.reissues import Reissues
from activities.senders import EventSender, MetafieldsSender
from activities.webhook_sender import WebhookSender
from activities.webhooks import Webhooks
from clients.shopify import PURCHASE_LIMITS
from clients.subscribers import Subscribers
from clients.targets import Targets
from clients.vendor_http import tls_context
from database import Sessions, connect, observe_pool
from db.vault import Vault
from domain.channels import Channel
from metrics.endpoint import serve
from services.deployments import ensure_current
from settings import Settings, connect_temporal, read_settings
from telemetry import configure_logging, exempt_startup_from_garbage_collection, exit_process
from traces import start_traces, temporal_plugins, trace_statements
from vendor_clients import marketing_clients, shopify_client
from workflows.expire_points import ExpirePoints
from workflows.process_webhook import ProcessWebhook
from workflows.progress import SEARCH_ATTRIBUTES
from workflows.reconcile_redemptions import ReconcileRedemptions
from workflows.redeem_reward import RedeemReward
from workflows.refund_redemption import RefundRedemption
from workflows.reissue_reward import ReissueReward
from workflows.saga import INSIST_TIMEOUT, background_queue
from workflows.settle_redemption import SettleRedemption

# Shorter than servers keep idle connections: a connection that closes while it is reused has an unknown outcome.
CONNECTIONS = httpx.Limits(max_connections=100, keepalive_expiry=2)

# Activities that can wait, deliveries above all, have their own task queue, slots, and connections to vendors and
# database, so that purchases always find one. `clients/destinations.py` bounds what one vendor can take of them.
BACKGROUND_SLOTS = 50 + MOST_WAITING
PURCHASE_CONNECTIONS = 20
BACKGROUND_CONNECTIONS = 10

WORKFLOWS = [
    *(RedeemReward, RefundRedemption, ReissueReward, SettleRedemption),
    *(ProcessWebhook, ReconcileRedemptions, ExpirePoints),
]

log = structlog.stdlib.get_logger("worker")


class SearchAttributesMissingError(Exception):
    """The Temporal namespace lacks search attributes. A workflow that sets one would block for ever."""


@dataclass(frozen=True, kw_only=True)
class Pools:
    """The connections of one of the two workers: to the database and to the vendors."""

    sessions: Sessions
    http: httpx.AsyncClient


@asynccontextmanager
async def open_pools(settings: Settings, *, name: str, connections: int) -> AsyncGenerator[Pools]:
    """The pools of one worker, closed at the end of the block. `connections`: to the database."""
    engine = connect(settings.database_url, connections=connections)
    observe_pool(engine, metrics.CONNECTIONS[metrics.WORKER], name)
    trace_statements(settings, engine)
    try:
        async with httpx.AsyncClient(limits=CONNECTIONS, verify=tls_context()) as http:
            yield Pools(sessions=Sessions(engine), http=http)
    finally:
        await engine.dispose()


@asynccontextmanager
async def run_workers(client: Client, settings: Settings, purchases: Pools, background: Pools) -> AsyncGenerator[None]:
    """Run both workers of the process until the block ends: one for purchases, one for everything that can wait."""
    workers = build_workers(client, settings, purchases, background)
    async with workers[0], workers[1]:
        yield


def build_workers(client: Client, settings: Settings, purchases: Pools, background: Pools) -> tuple[Worker, Worker]:
    """Create the workers with their activities and clients."""
    precedence = Precedence()
    shared: dict[str, Any] = {
        "deployment_config": _deployment(settings),
        # Running activities finish: a cancelled vendor call would have an unknown outcome.
        "graceful_shutdown_timeout": INSIST_TIMEOUT,
    }
    return (
        _purchase_worker(client, settings, purchases, [FailureTranslation(), NotesSteps(precedence)], shared),
        _background_worker(client, settings, background, [FailureTranslation(), GivesWay(precedence)], shared),
    )


def _purchase_worker(
    client: Client, settings: Settings, pools: Pools, interceptors: list[Interceptor], shared: dict[str, Any]
) -> Worker:
    """The worker of workflows, and of the activities that a customer waits for."""
    vault, shopify = Vault(settings.encryption_keys), shopify_client(settings, pools.http, PURCHASE_LIMITS)
    points = Points(pools.sessions, vault)
    discounts = Discounts(pools.sessions, vault, shopify)
    refunds = Refunds(pools.sessions, vault, shopify)
    return Worker(
        client,
        task_queue=settings.temporal_task_queue,
        workflows=WORKFLOWS,
        activities=[
            points.reserve_points,
            points.release_points,
            discounts.generate_discount_code,
            discounts.void_discount_code,
            refunds.remove_discount_code,
            refunds.refund_points,
        ],
        # The sandbox took a fourth of a workflow's CPU. Tests replay every recorded history in it: docs/decisions/0042.
        workflow_runner=UnsandboxedWorkflowRunner(),
        # With the default of five pollers new purchases wait behind running ones.
        max_concurrent_workflow_task_polls=20,
        # How long the workflows of a dead worker wait before another worker takes them over. Customers wait too.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        interceptors=interceptors,
        **shared,
    )


def _background_worker(
    client: Client, settings: Settings, pools: Pools, interceptors: list[Interceptor], shared: dict[str, Any]
) -> Worker:
    """The worker of the activities that can wait."""
    sessions, vault = pools.sessions, Vault(settings.encryption_keys)
    shopify = shopify_client(settings, pools.http)
    metafields = MetafieldsSender(sessions, vault, shopify)
    deliveries = Deliveries(sessions, {**_senders(settings, pools, vault), Channel.METAFIELDS: metafields})
    reconciliation = Reconciliation(
        sessions,
        client,
        task_queue=settings.temporal_task_queue,
        keys_kept_for=timedelta(days=settings.idempotency_key_days),
        refusals_kept_for=timedelta(days=settings.refusal_days),
    )
    drift = Drift(sessions, vault, shopify)
    webhooks = Webhooks(
        sessions,
        vault,
        kept_for=timedelta(days=settings.webhook_days),
        orders_kept_for=timedelta(days=settings.unused_order_days),
    )
    reissues = Reissues(sessions, vault, shopify)
    expiry = Expiry(sessions)
    stale_metafields = Metafields(sessions, metafields)
    return Worker(
        client,
        task_queue=background_queue(settings.temporal_task_queue),
        activities=[
            deliveries.deliver_all,
            deliveries.deliver,
            deliveries.skip_delivery,
            reconciliation.find_orphaned_redemptions,
            reconciliation.find_orphaned_refunds,
            reconciliation.find_orphaned_reissues,
            reissues.retire_discount_code,
            reissues.reissue_discount_code,
            reissues.void_reissued_code,
            reconciliation.recheck_idle_workflows,
            reconciliation.prune_idempotency_keys,
            drift.check_codes,
            webhooks.process_webhook,
            webhooks.find_unprocessed_webhooks,
            webhooks.prune_webhooks,
            expiry.expire_points,
            expiry.expire_redemptions,
            stale_metafields.sync_metafields,
        ],
        max_concurrent_activities=BACKGROUND_SLOTS,
        interceptors=interceptors,
        **shared,
    )


def _senders(settings: Settings, pools: Pools, vault: Vault) -> dict[Channel, Sender]:
    subscribers = Subscribers(Targets(allow_private=settings.webhook_allow_private_targets))
    return {
        **{
            Channel(vendor): EventSender(vault, vendor, client.send_event, repeatable=client.repeatable)
            for vendor, client in marketing_clients(settings, pools.http).items()
        },
        Channel.WEBHOOKS: WebhookSender(pools.sessions, vault, subscribers),
    }


def _deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """The worker's version. None: an unversioned worker, as on a laptop."""
    if not settings.worker_build_id:
        return None
    version = WorkerDeploymentVersion(settings.worker_deployment_name, settings.worker_build_id)
    # Every workflow ends on the version that it started on: docs/decisions/0015.
    return WorkerDeploymentConfig(
        version=version, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.PINNED
    )


async def check_search_attributes(client: Client) -> None:
    """Check that the search attributes exist.

    Raises:
        SearchAttributesMissingError: names the command that registers them.
    """
    request = ListSearchAttributesRequest(namespace=client.namespace)
    known = (await client.operator_service.list_search_attributes(request)).custom_attributes
    missing = [key.name for key in SEARCH_ATTRIBUTES if key.name not in known]
    if missing:
        flags = " ".join(f"--name {name} --type Keyword" for name in missing)
        raise SearchAttributesMissingError(f"run: temporal operator search-attribute create {flags}")


async def run(settings: Settings) -> None:
    """Run the worker until SIGTERM or SIGINT, then finish running activities."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        stack.callback(start_traces(settings, "pointsaga-worker"))
        sdk_metrics = stack.enter_context(serve(metrics.WORKER, settings.metrics_address))
        client = await connect_temporal(settings, sdk_metrics=sdk_metrics, plugins=temporal_plugins(settings))
        await check_search_attributes(client)
        purchases = await stack.enter_async_context(
            open_pools(settings, name="purchases", connections=PURCHASE_CONNECTIONS)
        )
        background = await stack.enter_async_context(
            open_pools(settings, name="background", connections=BACKGROUND_CONNECTIONS)
        )
        await stack.enter_async_context(run_workers(client, settings, purchases, background))
        if deployment := _deployment(settings):
            await _join(client, deployment.version)
        exempt_startup_from_garbage_collection()
        _signal_ready()
        log.info("worker started", task_queue=settings.temporal_task_queue, temporal=settings.temporal_address)
        await stop.wait()
        log.info("worker stopping, activities finish", max_seconds=INSIST_TIMEOUT.total_seconds())
    log.info("worker stopped")


async def _join(client: Client, version: WorkerDeploymentVersion) -> None:
    current = await ensure_current(client, version)
    if current == version.build_id:
        log.info("version is current, new workflows start here", build_id=current)
    else:
        name, build_id = version.deployment_name, version.build_id
        command = f"temporal worker deployment set-current-version --deployment-name {name} --build-id {build_id}"
        log.warning(
            "version is not current, no new workflows start here", current=current or "unversioned", run=command
        )


def _signal_ready() -> None:
    # Readiness for supervisors, as the worker has no HTTP port: the file appears once the worker polls.
    if ready_file := os.environ.get("WORKER_READY_FILE"):
        Path(ready_file).touch()


def main() -> None:
    """Entry point of `python -m worker`."""
    settings = read_settings()
    configure_logging(settings.log_level, settings.log_format, traced=settings.otel_exporter_otlp_endpoint is not None)
    status = 0
    try:
        uvloop.run(run(settings))
    except Exception:
        log.exception("worker failed")
        status = 1
    exit_process(status)


if __name__ == "__main__":
    main()
