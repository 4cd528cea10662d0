"""Errors of the ledger. Each is raised before anything is changed.

DomainError
 ├── InsufficientPoints      the lots do not cover the cost
 ├── RedemptionClosed        this attempt can no longer be captured
 ├── EarlierAttemptPending   an earlier attempt still holds points; retry
 └── CodeUndecided           a used code is neither captured nor released yet; retry
"""


class DomainError(Exception):
    """Base class."""


class InsufficientPoints(DomainError):
    """The unexpired lots hold fewer points than requested.

    Attributes:
        requested: points to draw.
        available: points that could be drawn.
    """

    def __init__(self, *, requested: int, available: int) -> None:
        super().__init__(f"{requested} points requested, {available} available")
        self.requested = requested
        self.available = available


class RedemptionClosed(DomainError):
    """This attempt can no longer be captured: it failed, was superseded, or its deadline has passed."""


class EarlierAttemptPending(DomainError):
    """An earlier attempt of the same redemption still holds points."""


class CodeUndecided(DomainError):
    """An order used a code of a redemption that is still pending."""
