"""Taking a redemption back: who can have it, and how it comes out.

pending ──────> done      the code is gone, and the points are back in their lots
   └──────────> refused   the code had been used
"""

from enum import StrEnum

PENDING = "pending"
DONE = "done"
REFUSED = "refused"
STATES = (PENDING, DONE, REFUSED)


class RefundRefusal(StrEnum):
    """Why a refund is refused; also the `code` of the API's error."""

    NOT_FOUND = "reward_history_entry_not_found"
    NOT_REDEEMED = "reward_not_redeemed"
    ALREADY_USED = "reward_already_used"


def refund_id(redemption_id: str) -> str:
    """The Temporal workflow that refunds a redemption."""
    return f"refund-{redemption_id}"
