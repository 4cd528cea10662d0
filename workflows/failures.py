"""Why a purchase is compensated, as the ledger keeps it."""

import asyncio

from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as ActivityTimeoutError

from activities.attempt import Failure
from activities.discounts import Discounts
from activities.failures import CONFIGURATION
from domain.failures import FailureCode

_CODES = {
    "NotExecuted": FailureCode.SHOPIFY_UNAVAILABLE,
    "Unknown": FailureCode.SHOPIFY_UNAVAILABLE,
    "Refused": FailureCode.REQUEST_REJECTED,
    "DeadlinePassed": FailureCode.TOO_LATE,
    "RedemptionClosed": FailureCode.TOO_LATE,
}


def failure_of(error: BaseException) -> Failure:
    """Code and reason of the exception that starts a compensation."""
    cause = _cause(error)
    if isinstance(cause, ApplicationError):
        return Failure(code=_code(cause), reason=cause.message)
    if isinstance(error, asyncio.CancelledError):
        return Failure(code=FailureCode.CANCELLED, reason="the workflow was cancelled")
    for_shopify = isinstance(error, ActivityError) and is_of_generation(error)
    code = FailureCode.SHOPIFY_UNAVAILABLE if for_shopify else FailureCode.ENGINE_UNAVAILABLE
    return Failure(code=code, reason="no answer in time")


def is_of_generation(error: ActivityError) -> bool:
    """Whether the step failed that generates the discount code. A time-out of it is a time-out of Shopify."""
    return error.activity_type == Discounts.generate_discount_code.__name__


def _cause(error: BaseException) -> BaseException | None:
    """What made the step fail. If its time is up, that is the failure of its last attempt, where there was one."""
    cause = error.cause if isinstance(error, ActivityError) else error
    return cause.cause or cause if isinstance(cause, ActivityTimeoutError) else cause


def _code(cause: ApplicationError) -> FailureCode:
    if CONFIGURATION in cause.details:
        return FailureCode.CONFIGURATION_REJECTED
    return _CODES.get(cause.type or "", FailureCode.ENGINE_UNAVAILABLE)
