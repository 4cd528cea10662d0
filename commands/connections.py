"""Connections to database and Temporal."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError

from commands.output import TROUBLE, fail
from database import Sessions, connect, sessions
from services.gateway import Gateway
from settings import Settings, connect_temporal, read_settings

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Service:
    """Settings, database and Temporal of the deployment."""

    settings: Settings
    store: Sessions
    temporal: Client

    @property
    def gateway(self) -> Gateway:
        """The gateway to the deployment's workflows."""
        return Gateway(self.temporal, task_queue=self.settings.temporal_task_queue)


def with_engine(work: Callable[[AsyncEngine], Coroutine[Any, Any, Result]], settings: Settings | None = None) -> Result:
    """Run `work` with a database engine. Ends the command if the database fails."""
    settings = settings or read_settings()

    async def run() -> Result:
        engine = connect(settings.database_url, statement_timeout=None)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except (OSError, DBAPIError) as error:
        message = f"database error: {error}\nCheck DATABASE_URL, and that `pointsaga migrate` has been run."
        fail(message, status=TROUBLE)


def with_database(work: Callable[[Sessions], Coroutine[Any, Any, Result]], settings: Settings | None = None) -> Result:
    """Run `work` with database sessions."""
    return with_engine(lambda engine: work(sessions(engine)), settings)


def with_service(work: Callable[[Service], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work` with database and Temporal. Ends the command if one of them fails."""
    settings = read_settings()

    async def run(store: Sessions) -> Result:
        try:
            temporal = await connect_temporal(settings)
        except RuntimeError as error:
            fail_without_temporal(settings, error)
        return await work(Service(settings=settings, store=store, temporal=temporal))

    try:
        return with_database(run, settings)
    except RPCError as error:
        fail_without_temporal(settings, error)


def fail_without_temporal(settings: Settings, error: Exception) -> NoReturn:
    """End the command because Temporal is unavailable."""
    message = f"Temporal at {settings.temporal_address} is unavailable: {error}\nCheck TEMPORAL_ADDRESS."
    fail(message, status=TROUBLE)
