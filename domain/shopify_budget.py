"""The Shopify budget of a shop: the query costs that its rate limit still permits.

Shopify's rate limit is a bucket per app and shop. It admits a query if it holds the query's cost, subtracts that, and
is refilled at a constant rate. Source: shopify.dev, rate limits. All workers share a shop's bucket, so they count in
the database what they are about to use.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

# Source: Admin API 2026-10, 10 per mutation.
CREATION_COST = 10
METAFIELD_COST = 10

# Purchases come before metafields, and these before sweeps: which share of the maximum must be available for a call.
METAFIELD_RESERVE = 0.5
SWEEP_RESERVE = 0.75

CALL_TIME = timedelta(seconds=1)
"""Time between a purchase's turn and its deadline that suffices to create a code."""

UNSEEN = timedelta(seconds=1)
"""Time between taking a cost and the call. A bucket that is full until the call is refilled from then on only."""

# Shopify's figures are stored if they show less, or more, by this share of the maximum: storing costs a statement. More
# is shown while calls that are counted here have not been made yet.
CLEARLY_LESS = 0.1
CLEARLY_MORE = 0.4


@dataclass(frozen=True, kw_only=True)
class NoTurn:
    """The purchase cannot have its turn before its deadline. `wait`: until its turn."""

    wait: timedelta


@dataclass(frozen=True, kw_only=True)
class Turn:
    """When a queued purchase may create its code."""

    at: datetime


@dataclass(frozen=True, kw_only=True)
class ShopifyBudget:
    """A shop's budget at one moment.

    Attributes:
        maximum: the query cost that the bucket holds.
        restore_rate: query cost per second.
        full_in: time until the bucket is full if nothing more is taken. With turns that were given in advance it is
            longer than an empty bucket needs.
    """

    maximum: float
    restore_rate: float
    full_in: timedelta

    @property
    def available(self) -> float:
        """The query cost that can be used now. Below 0: turns were given in advance."""
        return self.maximum - self.restore_rate * self.full_in.total_seconds()

    def wait_for(self, cost: float) -> timedelta:
        """Time until so much is available. A cost above the maximum waits for a full bucket."""
        missing = min(cost, self.maximum) - self.available
        return timedelta(seconds=max(0.0, missing / self.restore_rate))

    def take(self, cost: float) -> "ShopifyBudget":
        """The budget after a call of this cost, made now or after `wait_for(cost)`, and at most `UNSEEN` later."""
        return replace(self, full_in=max(self.full_in, UNSEEN) + timedelta(seconds=cost / self.restore_rate))

    def after(self, time: timedelta) -> "ShopifyBudget":
        """The budget some time later."""
        return replace(self, full_in=max(timedelta(), self.full_in - time))

    def is_refuted_by(self, reported: "ShopifyBudget") -> bool:
        """Whether Shopify's figures show another limit, or that clearly less or more is available.

        While turns are given in advance, more is no contradiction: it is what they wait for.
        """
        if (self.maximum, self.restore_rate) != (reported.maximum, reported.restore_rate):
            return True
        more = (reported.available - self.available) / self.maximum
        return more < -CLEARLY_LESS or (more > CLEARLY_MORE and self.available >= 0)
