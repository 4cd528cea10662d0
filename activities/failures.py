"""The one door through which an activity's failure reaches Temporal: as a type that policies can name.

Messages end in a history that is kept for long and read by many, so nothing passes here unseen: vendors' reasons
are already scrubbed by their clients, and of everything else only the kind is told.
"""

from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from clients.outcomes import NotExecuted, Refused, VendorError
from domain.errors import DomainError

log = structlog.stdlib.get_logger("failures")


class FailureDoor(Interceptor):
    """Translates every failure of every activity."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap one activity."""
        return _Door(next)


class _Door(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        try:
            return await super().execute_activity(input)
        except FailureError:
            raise
        except VendorError as error:
            raise_alarm(error)
            retry_after = error.retry_after if isinstance(error, NotExecuted) else None
            raise ApplicationError(str(error), type=type(error).__name__, next_retry_delay=retry_after) from None
        except DomainError as error:
            # Part of an orderly compensation: worth a line in the history, not an alert.
            benign = ApplicationErrorCategory.BENIGN
            raise ApplicationError(str(error), type=type(error).__name__, category=benign) from None
        except Exception as error:  # noqa: BLE001 - the worker's edge: everything leaves through here, translated
            activity.logger.exception("activity failed")
            raise ApplicationError(_describe(error), type=type(error).__name__) from None


def raise_alarm(error: VendorError) -> None:
    """Call for somebody when it is the merchant's configuration that a vendor refuses."""
    if isinstance(error, Refused) and error.alarm:
        log.error("a vendor refuses the shop's configuration", vendor=error.vendor, reason=error.reason)


def _describe(error: Exception) -> str:
    origin = getattr(error, "orig", None)
    return f"{type(error).__name__}{f' ({type(origin).__name__})' if origin else ''}: see the worker's log"
