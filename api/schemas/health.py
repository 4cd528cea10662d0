"""Health checks."""

from typing import Literal

from pydantic import BaseModel

from services.workers import Dispatch

Condition = Literal["ok", "unavailable"]


class Health(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the dependencies can be reached."""

    status: Condition
    database: Condition
    temporal: Condition
    worker: Dispatch
    """Unless `ok`, purchases wait for a worker. The API is ready nevertheless: reads and repeated requests work."""
