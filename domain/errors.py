"""What the ledger refuses, and why.

DomainError
 ├── InsufficientPoints      the lots do not cover the cost; nothing was drawn
 ├── RedemptionClosed        the redemption row has decided otherwise; follow it
 ├── EarlierAttemptPending   the row has not decided about an earlier attempt yet; wait
 └── CodeUndecided           whether a code was paid for is not decided yet; wait
"""


class DomainError(Exception):
    """A rule of the ledger said no; nothing was changed."""


class InsufficientPoints(DomainError):
    """The unexpired lots hold fewer points than asked for.

    Attributes:
        requested: points that were to be drawn.
        available: points that could have been.
    """

    def __init__(self, *, requested: int, available: int) -> None:
        super().__init__(f"{requested} points requested, {available} available")
        self.requested = requested
        self.available = available


class RedemptionClosed(DomainError):
    """This attempt can no longer be captured: it has failed, was superseded, or its deadline has passed."""


class EarlierAttemptPending(DomainError):
    """An earlier attempt of the same redemption still holds points; wait until the row has decided."""


class CodeUndecided(DomainError):
    """A code was used whose redemption is neither captured nor given up for good; wait until the row has decided."""
