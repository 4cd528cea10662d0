"""/healthz and /readyz"""

import asyncio

from fastapi import APIRouter, Response

from api.schemas.health import Condition, Health, Readiness
from api.state import StateOf
from services.health import queue_states, reaches_database, reaches_temporal

router = APIRouter(tags=["Health"])


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
    database, temporal, (purchases, _) = await asyncio.gather(
        reaches_database(state.sessions),
        reaches_temporal(state.temporal),
        queue_states(state.temporal, state.task_queue),
    )
    if not (database and temporal):
        response.status_code = 503
    return Readiness(
        status=_condition(database and temporal),
        database=_condition(database),
        temporal=_condition(temporal),
        worker=purchases.dispatch,
    )


def _condition(is_ok: bool) -> Condition:
    return "ok" if is_ok else "unavailable"
