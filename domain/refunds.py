"""The refund's state machine.

pending ──────> done      the code is removed and the points are back in their lots
   └──────────> refused   the code was used; pending again if its order is cancelled
"""

from enum import StrEnum

from domain.states import State


class RefundStatus(State):
    """Status of a refund."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"

    @property
    def successors(self) -> frozenset["RefundStatus"]:
        """The statuses that may follow this one."""
        match self:
            case RefundStatus.PENDING:
                return frozenset({RefundStatus.DONE, RefundStatus.REFUSED})
            case RefundStatus.REFUSED:
                return frozenset({RefundStatus.PENDING})
            case RefundStatus.DONE:
                return frozenset()


class RefundRefusal(StrEnum):
    """Why a refund is refused. Also the `code` of the API's error."""

    NOT_FOUND = "reward_history_entry_not_found"
    NOT_REDEEMED = "reward_not_redeemed"
    ALREADY_USED = "reward_already_used"
