"""What a caller is told of an attempt. Decided answers are results; only what somebody must look at is a failure."""

from enum import StrEnum

from pydantic import BaseModel
from temporalio.exceptions import ActivityError, ApplicationError

from activities.discounts import Discounts
from domain.eligibility import Refusal

VENDORS_DOING = ("NotExecuted", "Refused", "Unknown")
"""How a step fails when it is its vendor's doing."""


class Outcome(StrEnum):
    """How an attempt came out, for its caller."""

    PURCHASED = "purchased"
    REFUSED = "refused"
    SHOPIFY_UNAVAILABLE = "shopify_unavailable"
    ENGINE_UNAVAILABLE = "engine_unavailable"


class Answer(BaseModel):
    """The outcome, with the reason of a refusal. When it is neither purchase nor refusal, the points are back."""

    outcome: Outcome
    refusal: Refusal | None = None


def unavailable(failure: BaseException | None) -> Answer:
    """The answer to a purchase that was compensated: whose fault it was."""
    if isinstance(failure, ActivityError) and failure.activity_type == Discounts.generate_discount_code.__name__:
        cause = failure.cause
        # Time that ran out at this step was Shopify's, too.
        if not isinstance(cause, ApplicationError) or cause.type in (*VENDORS_DOING, "RedemptionClosed"):
            return Answer(outcome=Outcome.SHOPIFY_UNAVAILABLE)
    return Answer(outcome=Outcome.ENGINE_UNAVAILABLE)
