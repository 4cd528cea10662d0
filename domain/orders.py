"""Orders that used a code."""

from enum import StrEnum


class CancelledOrderPolicy(StrEnum):
    """What happens to a redemption whose code was used by an order that is cancelled or fully refunded."""

    NONE = "none"
    REISSUE = "reissue"
    """A new code on the same terms."""
    REFUND_POINTS = "refund_points"
