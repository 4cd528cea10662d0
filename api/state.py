"""What the process holds for all requests."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from temporalio.client import Client

from api.rate_limits import RateLimits
from clients.targets import Targets
from database import Sessions
from db.vault import Vault
from services.purchases import Purchasing
from services.refunds import Refunding
from services.webhook_intake import Intake


@dataclass(frozen=True, kw_only=True)
class State:
    """The collaborators of the endpoints, made once by `api.app`."""

    sessions: Sessions
    temporal: Client
    task_queue: str
    purchasing: Purchasing
    intake: Intake
    rate_limits: RateLimits
    refunding: Refunding
    vault: Vault
    webhook_targets: Targets


def _state(request: Request) -> State:
    state = request.app.state.pointsaga
    assert isinstance(state, State)
    return state


StateOf = Annotated[State, Depends(_state)]
