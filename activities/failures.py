"""Translate the failures of activities for Temporal, into types that retry policies can name.

Messages are stored in histories. Clients scrub the vendors' reasons; other errors are reduced to their type.
"""

from typing import Any

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from clients.outcomes import NotExecuted, Refused, VendorError
from domain.errors import DomainError

log = structlog.stdlib.get_logger("failures")


class FailureTranslation(Interceptor):
    """Translates the failures of all activities."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap one activity."""
        return _Translation(next)


class _Translation(ActivityInboundInterceptor):
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
            # Part of a regular compensation: logged by Temporal without alert.
            benign = ApplicationErrorCategory.BENIGN
            raise ApplicationError(str(error), type=type(error).__name__, category=benign) from None
        except Exception as error:  # noqa: BLE001 - the edge of the worker
            activity.logger.exception("activity failed")
            raise ApplicationError(_describe(error), type=type(error).__name__) from None


def raise_alarm(error: VendorError) -> None:
    """Log an error if the vendor rejected the shop's configuration, such as its API key."""
    if isinstance(error, Refused) and error.alarm:
        log.error("vendor rejected the shop's configuration", vendor=error.vendor, reason=error.reason)


def _describe(error: Exception) -> str:
    origin = getattr(error, "orig", None)
    return f"{type(error).__name__}{f' ({type(origin).__name__})' if origin else ''}: see the worker's log"
