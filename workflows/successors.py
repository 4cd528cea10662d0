"""The run that brings to its end what a run that is gone has left: terminated, timed out, or lost with the engine.

The reconciler starts it, or an operator who does not want to wait.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from activities.attempt import Attempt
from domain.events import EventKind
from domain.redemptions import settlement_id
from domain.refunds import refund_id
from workflows.refund_redemption import RefundRedemption
from workflows.settle_redemption import SettleRedemption
from workflows.telling import settlement_details
from workflows.telling_refunds import refund_details


@dataclass(frozen=True, kw_only=True)
class Successor:
    """The run to start, and how it is found and read in the Temporal UI. `story` is the workflow's `run`."""

    id: str
    story: Callable[[Any, Attempt], Awaitable[object]]
    summary: str
    details: str


def successor(attempt: Attempt, event: EventKind) -> Successor:
    """A purchase is settled by a workflow of its own; a refund is only ever forward, and simply begins again."""
    if event is EventKind.REWARD_REFUNDED:
        return Successor(
            id=refund_id(attempt.redemption_id),
            story=RefundRedemption.run,
            summary=f"refund {attempt.redemption_id}",
            details=refund_details(attempt),
        )
    return Successor(
        id=settlement_id(attempt.redemption_id, attempt.number),
        story=SettleRedemption.run,
        summary=f"settle {attempt.redemption_id}, attempt {attempt.number}",
        details=settlement_details(attempt),
    )
