"""Outcomes of purchases and refunds, as the update `answer` returns them. Only what an operator must look at fails."""

from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel
from temporalio.exceptions import ActivityError, ApplicationError

from activities.failures import PERMANENT
from domain.eligibility import Refusal
from domain.shopify_budget import NoTurn
from workflows.failures import is_of_generation

VENDOR_FAILURES = ("NotExecuted", "Refused", "Unknown")
"""Types of activity failures that a vendor caused."""


class PurchaseOutcome(StrEnum):
    """Outcome of an attempt."""

    PURCHASED = "purchased"
    QUEUED = "queued"
    """The points are reserved, and the code is created at its turn."""
    REFUSED = "refused"
    SHOPIFY_UNAVAILABLE = "shopify_unavailable"
    ENGINE_UNAVAILABLE = "engine_unavailable"


class PurchaseAnswer(BaseModel):
    """The outcome, with the reason of a refusal. Unless purchased, the points are released or were never reserved.

    Attributes:
        is_permanent: Shopify rejected the discount itself, so that a retry fails too.
        retry_after: when an unavailable purchase can succeed, from now. None: unknown.
    """

    outcome: PurchaseOutcome
    refusal: Refusal | None = None
    is_permanent: bool = False
    retry_after: timedelta | None = None


class RefundOutcome(StrEnum):
    """Outcome of a refund."""

    REFUNDED = "refunded"
    REFUSED = "refused"


def not_reserved(reason: Refusal | NoTurn) -> PurchaseAnswer:
    """The answer to a purchase that was refused, or has no turn in the shop's Shopify budget."""
    if isinstance(reason, Refusal):
        return PurchaseAnswer(outcome=PurchaseOutcome.REFUSED, refusal=reason)
    return PurchaseAnswer(outcome=PurchaseOutcome.SHOPIFY_UNAVAILABLE, retry_after=reason.wait)


def unavailable(failure: BaseException | None) -> PurchaseAnswer:
    """The answer to a compensated purchase: whether Shopify or the service itself was unavailable."""
    if isinstance(failure, ActivityError) and is_of_generation(failure):
        cause = failure.cause
        # A time-out of this step is a time-out of Shopify.
        if not isinstance(cause, ApplicationError):
            return PurchaseAnswer(outcome=PurchaseOutcome.SHOPIFY_UNAVAILABLE)
        if cause.type in (*VENDOR_FAILURES, "RedemptionClosed"):
            is_permanent = PERMANENT in cause.details
            return PurchaseAnswer(outcome=PurchaseOutcome.SHOPIFY_UNAVAILABLE, is_permanent=is_permanent)
    return PurchaseAnswer(outcome=PurchaseOutcome.ENGINE_UNAVAILABLE)
