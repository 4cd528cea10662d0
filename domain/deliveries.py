"""The delivery's state machine: one event of one redemption on one channel.

pending ──────> sent
   ├──────────> failed    the vendor rejected it; an operator retries it (back to pending) or skips it
   ├──────────> unknown   it may have been sent, and the channel must not receive it twice
   └──────────> skipped   it is left unsent for good
"""

from domain.states import State


class DeliveryStatus(State):
    """Status of a delivery."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"

    @property
    def successors(self) -> frozenset["DeliveryStatus"]:
        """The statuses that may follow this one."""
        return _SUCCESSORS[self]


_SUCCESSORS = {
    DeliveryStatus.PENDING: frozenset(
        {DeliveryStatus.SENT, DeliveryStatus.FAILED, DeliveryStatus.UNKNOWN, DeliveryStatus.SKIPPED}
    ),
    # A send can be in progress while the delivery is skipped or presumed unknown, or while another attempt fails.
    DeliveryStatus.SKIPPED: frozenset({DeliveryStatus.SENT, DeliveryStatus.UNKNOWN}),
    DeliveryStatus.FAILED: frozenset({DeliveryStatus.PENDING, DeliveryStatus.SKIPPED, DeliveryStatus.SENT}),
    DeliveryStatus.UNKNOWN: frozenset({DeliveryStatus.SENT}),
    DeliveryStatus.SENT: frozenset[DeliveryStatus](),
}

UNSENT = (DeliveryStatus.PENDING, DeliveryStatus.FAILED)
"""Statuses of a delivery that has yet to be sent or skipped."""
