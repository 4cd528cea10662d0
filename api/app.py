"""Composition root of the API."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from temporalio.client import Client

import metrics
from api import errors
from api.middleware import AccessLog, HeadAsGet, RequestLimits, ResponseHeaders
from api.openapi import TAGS, describe, operation_id
from api.paths import EscapedSlashes, restore_slashes
from api.rate_limits import RateLimits
from api.routes import (
    activity,
    adjustments,
    customers,
    docs_page,
    earning_history,
    health,
    purchases,
    quotes,
    receipts,
    refunds,
    reward_history,
    rewards,
    shop,
    shopify_webhooks,
    vip_tiers,
    webhook_subscriptions,
)
from api.state import State
from clients.targets import Targets
from database import Sessions, connect, observe_pool
from db.vault import Vault
from metrics.endpoint import serve
from services.admission import Admission
from services.capture_listener import CaptureListener
from services.gateway import Gateway
from services.purchases import Purchases
from services.refunds import Refunds
from services.samples import CHECK_TIMEOUT, Sampler
from services.subscriptions import Subscriptions
from services.webhook_intake import WebhookIntake
from settings import Settings, connect_temporal, read_settings
from telemetry import configure_logging, exempt_startup_from_garbage_collection
from traces import start_traces, temporal_plugins, trace_statements

_DESCRIPTION = """Spend loyalty points on Shopify discount codes. Compatible with Mage Loyalty's public API.

A request body is a JSON object. Its fields are in the object itself or, as in JSON:API, in `data.attributes`. An
unknown field is refused; an unknown query parameter is ignored. `HEAD` works wherever `GET` does.

Every response has `X-Request-Id`: the request's, if it has at most 128 letters, digits and `._:-`, or a new one.

Every error has `meta.retry`: `same_key` (repeat the same request), `new_key` (the response is final for its
`Idempotency-Key`), or `never` (the request must be changed). An unknown path is 404, and an undocumented method 405
with `Allow`, with the same error body.

Resources of other shops are not found. Times are UTC, like `2026-06-01T12:00:00.000Z`. Percent-encode a `/` in an id
or address. Responses under `/v1` have `Cache-Control: no-store`."""

_ROUTES = (
    rewards,
    purchases,
    quotes,
    customers,
    activity,
    adjustments,
    earning_history,
    reward_history,
    receipts,
    refunds,
    shop,
    vip_tiers,
    webhook_subscriptions,
    shopify_webhooks,
    health,
    docs_page,
)


# Of their own, as Shopify sends webhooks in bursts: a purchase always gets one of the others.
WEBHOOK_CONNECTIONS = 5
SAMPLE_CONNECTIONS = 2


def create_app(settings: Settings | None = None, temporal: Client | None = None) -> FastAPI:
    """The ASGI application. Default settings: from the environment; default Temporal client: from the settings."""
    settings = settings or read_settings()
    configure_logging(settings.log_level, settings.log_format, traced=settings.otel_exporter_otlp_endpoint is not None)
    stop_traces = start_traces(settings, "pointsaga-api")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with open_state(settings, temporal) as app.state.pointsaga:
            if temporal is None:
                # The process serves only this.
                exempt_startup_from_garbage_collection()
            yield
        stop_traces()

    # Serves the scripts of the documentation page.
    app = FastAPIOffline(
        title="Pointsaga",
        version="1",
        description=_DESCRIPTION,
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        dependencies=[Depends(restore_slashes)],
        static_url=docs_page.STATIC_URL,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Its own telemetry has paths and queries, which hold e-mail addresses. `AccessLog` makes the span.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    errors.install(app)
    app.add_middleware(EscapedSlashes)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestLimits)
    app.add_middleware(ResponseHeaders)
    app.add_middleware(AccessLog)
    for module in _ROUTES:
        app.include_router(module.router)
    app.add_api_route("/", _root, include_in_schema=False)
    describe(app)
    return app


@asynccontextmanager
async def open_state(settings: Settings, temporal: Client | None) -> AsyncGenerator[State]:
    """The collaborators of the endpoints, closed at the end of the block."""
    engine = connect(settings.database_url)
    webhooks_engine = connect(settings.database_url, connections=WEBHOOK_CONNECTIONS)
    captures_engine = connect(settings.database_url, connections=1)
    observe_pool(engine, metrics.CONNECTIONS[metrics.API], "api")
    observe_pool(webhooks_engine, metrics.CONNECTIONS[metrics.API], "webhooks")
    trace_statements(settings, engine, webhooks_engine)
    with serve(metrics.API, settings.metrics_address) as sdk_metrics:
        # Lazy, so that the API starts and reports that it is not ready while Temporal cannot be reached.
        plugins = temporal_plugins(settings)
        client = temporal or await connect_temporal(settings, lazy=True, sdk_metrics=sdk_metrics, plugins=plugins)
        captures = CaptureListener(captures_engine)
        state = _state(settings, client, Sessions(engine), Sessions(webhooks_engine), captures)
        async with captures.running(), _sampling(settings, client):
            yield state
    await state.rate_limits.close()
    for each in (engine, webhooks_engine, captures_engine):
        await each.dispose()


@asynccontextmanager
async def _sampling(settings: Settings, client: Client) -> AsyncGenerator[None]:
    """Take samples for the metrics, if there are any, on connections of their own."""
    if settings.metrics_address is None:
        yield
        return
    engine = connect(settings.database_url, connections=SAMPLE_CONNECTIONS, statement_timeout=CHECK_TIMEOUT)
    try:
        async with Sampler(store=Sessions(engine), temporal=client, task_queue=settings.temporal_task_queue).running():
            yield
    finally:
        await engine.dispose()


async def _root() -> dict[str, str]:
    return {"name": "Pointsaga", "documentation": "/docs", "openapi": "/openapi.json"}


def _state(
    settings: Settings, temporal: Client, sessions: Sessions, webhook_sessions: Sessions, captures: CaptureListener
) -> State:
    queue = settings.temporal_task_queue
    gateway, vault = Gateway(temporal, task_queue=queue), Vault(settings.encryption_keys)
    admission = Admission(settings.purchases_in_progress)
    targets = Targets(allow_private=settings.webhook_allow_private_targets)
    return State(
        sessions=sessions,
        temporal=temporal,
        task_queue=queue,
        rate_limits=RateLimits(settings.rate_limit, settings.rate_limit_storage_url),
        purchases=Purchases(
            sessions,
            gateway,
            admission,
            captures,
            deadline=settings.purchase_deadline,
            queued_deadline=settings.async_purchase_deadline,
        ),
        refunds=Refunds(sessions, gateway, timeout=settings.purchase_deadline),
        subscriptions=Subscriptions(sessions=sessions, vault=vault, targets=targets),
        webhook_intake=WebhookIntake(webhook_sessions, vault, gateway, secrets=settings.shopify_webhook_secrets),
    )
