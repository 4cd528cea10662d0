"""/healthz and /readyz"""

import asyncio

from fastapi import APIRouter, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from api.schemas.health import Condition, Health, Readiness
from api.state import State, StateOf
from services.deployments import Dispatch, dispatch

router = APIRouter(tags=["Health"])

_TIMEOUT_SECONDS = 2


@router.get("/healthz", summary="Liveness check")
async def healthz() -> Health:
    """Return 200 while the process can answer at all."""
    return Health()


@router.get(
    "/readyz",
    summary="Readiness check",
    responses={503: {"model": Readiness, "description": "The database or Temporal cannot be reached."}},
)
async def readyz(state: StateOf, response: Response) -> Readiness:
    """Return 200 if the database and Temporal can be reached, otherwise 503 with the one that cannot."""
    database, temporal, worker = await asyncio.gather(
        _reaches_database(state), _reaches_temporal(state), _worker(state)
    )
    if not (database and temporal):
        response.status_code = 503
    return Readiness(
        status=_condition(database and temporal),
        database=_condition(database),
        temporal=_condition(temporal),
        worker=worker,
    )


def _condition(is_ok: bool) -> Condition:
    return "ok" if is_ok else "unavailable"


async def _reaches_database(state: State) -> bool:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS), state.sessions() as session:
            await session.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError):
        return False
    return True


async def _reaches_temporal(state: State) -> bool:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await state.temporal.service_client.check_health()
    except (RPCError, RuntimeError, TimeoutError):
        return False


async def _worker(state: State) -> Dispatch:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await dispatch(state.temporal, state.task_queue)
    except (RPCError, RuntimeError, TimeoutError):
        return "unknown"
