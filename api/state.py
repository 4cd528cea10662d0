"""The collaborators of the endpoints."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from temporalio.client import Client

from api.rate_limits import RateLimits
from database import Sessions
from services.purchases import Purchases
from services.refunds import Refunds
from services.subscriptions import Subscriptions
from services.webhook_intake import WebhookIntake


@dataclass(frozen=True, kw_only=True)
class State:
    """Made once per process by `api.app`."""

    sessions: Sessions
    temporal: Client
    task_queue: str
    rate_limits: RateLimits
    purchases: Purchases
    refunds: Refunds
    subscriptions: Subscriptions
    webhook_intake: WebhookIntake


async def _state(request: Request) -> State:
    state = request.app.state.pointsaga
    assert isinstance(state, State)
    return state


StateOf = Annotated[State, Depends(_state)]


async def _request_id(request: Request) -> str:
    return request.state.request_id


RequestId = Annotated[str, Depends(_request_id)]
"""The request's `X-Request-Id`, taken or made by `api.middleware`."""
