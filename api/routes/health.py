"""Whether the process lives, and whether it can serve."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from temporalio.service import RPCError

from api.state import State, StateOf
from services.deployments import Dispatch, dispatch

router = APIRouter(tags=["Health"])

_PATIENCE_SECONDS = 2

Condition = Literal["ok", "unavailable"]


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """What the process needs, and whether it is there."""

    status: Condition
    database: Condition
    temporal: Condition
    worker: Dispatch
    """Purchases wait for a worker while this is not `ok`. The API is ready all the same: it reads and repeats."""


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Always ok while the process answers at all."""
    return Health()


async def _readiness(state: StateOf) -> Readiness:
    database, temporal, worker = await asyncio.gather(_database(state), _temporal(state), _worker(state))
    both: Condition = "ok" if database == temporal == "ok" else "unavailable"
    return Readiness(status=both, database=database, temporal=temporal, worker=worker)


@router.get(
    "/readyz",
    summary="Can it serve?",
    responses={503: {"model": Readiness, "description": "The database or Temporal cannot be reached."}},
)
async def readyz(readiness: Annotated[Readiness, Depends(_readiness)], response: Response) -> Readiness:
    """200 when the database and Temporal can be reached, else 503 with what is missing."""
    if readiness.status != "ok":
        response.status_code = 503
    return readiness


async def _database(state: State) -> Condition:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), state.sessions() as session:
            await session.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError):
        return "unavailable"
    return "ok"


async def _temporal(state: State) -> Condition:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            healthy = await state.temporal.service_client.check_health()
    except (RPCError, RuntimeError, TimeoutError):
        return "unavailable"
    return "ok" if healthy else "unavailable"


async def _worker(state: State) -> Dispatch:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await dispatch(state.temporal, state.task_queue)
    except (RPCError, RuntimeError, TimeoutError):
        return "unknown"
