"""Connections to database and Temporal."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import httpx
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from temporalio.client import Client
from temporalio.service import RPCError

from clients.vendor_http import tls_context
from commands.output import MISUSE, TROUBLE, UNREACHABLE, fail
from database import Sessions, connect
from db.transactions import is_unmigrated, is_unreachable
from db.vault import Vault
from services.actions import Actions
from services.gateway import Gateway
from services.status import StatusCheck
from services.stuck import StuckFinder
from settings import Settings, connect_temporal, read_settings

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Service:
    settings: Settings
    store: Sessions
    temporal: Client

    @property
    def gateway(self) -> Gateway:
        return Gateway(self.temporal, task_queue=self.settings.temporal_task_queue)

    @property
    def actions(self) -> Actions:
        return Actions(store=self.store, temporal=self.temporal, gateway=self.gateway)

    @property
    def stuck_finder(self) -> StuckFinder:
        return StuckFinder(
            store=self.store,
            temporal=self.temporal,
            task_queue=self.settings.temporal_task_queue,
            deadline=self.settings.purchase_deadline,
        )

    @property
    def status_check(self) -> StatusCheck:
        return StatusCheck(
            store=self.store,
            temporal=self.temporal,
            vault=Vault(self.settings.encryption_keys),
            task_queue=self.settings.temporal_task_queue,
            deadline=self.settings.purchase_deadline,
        )


def with_engine(work: Callable[[AsyncEngine], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work` with a database engine. Ends the command if the database fails."""
    database_url = read_settings().database_url

    async def run() -> Result:
        engine = connect(database_url, statement_timeout=None)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except (OSError, DBAPIError) as error:
        _fail_without_database(error)


def with_database(work: Callable[[Sessions], Coroutine[Any, Any, Result]]) -> Result:
    return with_engine(lambda engine: work(Sessions(engine)))


def with_session(work: Callable[[AsyncSession], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work` in one transaction."""

    async def run(store: Sessions) -> Result:
        async with store.begin() as session:
            return await work(session)

    return with_database(run)


def with_service(work: Callable[[Service], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work` with database and Temporal. Ends the command if one of them fails."""
    settings = read_settings()

    async def run(store: Sessions) -> Result:
        try:
            temporal = await connect_temporal(settings)
        except RuntimeError as error:
            _fail_without_temporal(settings, error)
        return await work(Service(settings=settings, store=store, temporal=temporal))

    try:
        return with_database(run)
    except RPCError as error:
        _fail_without_temporal(settings, error)


def vendor_connections() -> AbstractAsyncContextManager[httpx.AsyncClient]:
    """The connections of a command that calls vendors."""
    return httpx.AsyncClient(verify=tls_context())


def _fail_without_database(error: OSError | DBAPIError) -> NoReturn:
    cause = getattr(error, "orig", None) or error
    if is_unmigrated(error):
        fail(f"the database is not migrated: run `pointsaga migrate` ({cause})", status=MISUSE)
    if is_unreachable(error):
        message = f"the database cannot be reached: {str(cause) or type(cause).__name__}\nCheck DATABASE_URL."
        fail(message, status=UNREACHABLE)
    fail(f"database error: {error}", status=TROUBLE)


def _fail_without_temporal(settings: Settings, error: Exception) -> NoReturn:
    message = f"Temporal at {settings.temporal_address} is unavailable: {error}\nCheck TEMPORAL_ADDRESS."
    fail(message, status=UNREACHABLE)
