"""Composition root of the API."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from temporalio.client import Client

from api import errors
from api.access_log import AccessLog
from api.openapi import TAGS, describe, operation_id
from api.rate_limits import AllowanceHeaders, RateLimits
from api.requests import RequestLimits
from api.routes import (
    adjustments,
    customers,
    health,
    histories,
    purchases,
    quotes,
    refunds,
    rewards,
    subscriptions,
    tiers,
    webhooks,
)
from api.state import State
from clients.targets import Targets
from database import Sessions, connect, sessions
from db.vault import Vault
from services.gateway import Engine
from services.purchases import Purchasing
from services.refunds import Refunding
from services.webhook_intake import Intake
from settings import Settings, connect_temporal, read_settings
from telemetry import configure_logging

_DESCRIPTION = """Spend loyalty points on Shopify discount codes. Compatible with Mage Loyalty's public API.

A request's body is a JSON object, with its members in the object itself or, as JSON:API has it, in `data.attributes`.

Every error has `meta.retry`: `same_key` (send the same request again), `new_key` (this answer is final for its
`Idempotency-Key`), or `never` (the request itself must change). A path that is unknown is 404, another method than the
documented ones 405 with `Allow`, in the same shape.

What belongs to another shop does not exist. Times are UTC, like `2026-06-01T12:00:00.000Z`."""


def create_app(settings: Settings | None = None, temporal: Client | None = None) -> FastAPI:
    """The ASGI application. Without settings they come from the environment, and the Temporal client from them."""
    settings = settings or read_settings()
    configure_logging(settings.log_level, settings.log_format)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        engine = connect(settings.database_url)
        # Lazy, so that the API starts, and says that it is not ready, before the engine is there.
        client = temporal or await connect_temporal(settings, lazy=True)
        app.state.pointsaga = state = _state(settings, client, sessions(engine))
        yield
        await state.rate_limits.close()
        await engine.dispose()

    # With the documentation page's scripts on board: nothing is fetched from elsewhere.
    app = FastAPIOffline(
        title="Pointsaga",
        version="1",
        description=_DESCRIPTION,
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    app.add_middleware(RequestLimits)
    app.add_middleware(AllowanceHeaders)
    app.add_middleware(AccessLog)
    for module in (
        rewards,
        purchases,
        quotes,
        customers,
        adjustments,
        histories,
        refunds,
        tiers,
        subscriptions,
        webhooks,
        health,
    ):
        app.include_router(module.router)
    describe(app)
    return app


def _state(settings: Settings, temporal: Client, store: Sessions) -> State:
    queue = settings.temporal_task_queue
    engine, vault = Engine(temporal, task_queue=queue), Vault(settings.encryption_keys)
    secrets = settings.shopify_webhook_secrets
    return State(
        sessions=store,
        temporal=temporal,
        task_queue=queue,
        purchasing=Purchasing(store, engine, deadline=settings.purchase_deadline),
        # A refund is made however long it takes; its caller waits as long as one who buys.
        refunding=Refunding(store, engine, patience=settings.purchase_deadline),
        intake=Intake(store, vault, temporal, secrets=secrets, task_queue=queue),
        rate_limits=RateLimits(settings.rate_limit, settings.rate_limit_storage_url),
        vault=vault,
        webhook_targets=Targets(allow_private=settings.webhook_allow_private_targets),
    )
