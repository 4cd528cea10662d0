"""Translate the failures of activities for Temporal, into types that retry policies can name.

Messages are stored in histories. Clients scrub the vendors' reasons; other errors are reduced to their type.
"""

from datetime import timedelta
from secrets import SystemRandom
from typing import Any

import structlog
from opentelemetry import trace
from structlog.contextvars import bound_contextvars
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from clients.outcomes import NotExecuted, Refused, VendorError
from db.transactions import is_unreachable
from domain.errors import DomainError

PERMANENT = "permanent"
"""Detail of a failure: the vendor rejected this call itself, not the shop's configuration."""

CONFIGURATION = "configuration"
"""Detail of a failure: the vendor rejected the shop's configuration."""

_random = SystemRandom()

log = structlog.stdlib.get_logger("failures")


class FailureTranslation(Interceptor):
    """Translates the failures of all activities."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """Wrap one activity."""
        return _Translation(next)


class _Translation(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info, ids = activity.info(), _ids(input)
        trace.get_current_span().set_attributes({f"pointsaga.{name}": value for name, value in ids.items()})
        with bound_contextvars(activity=info.activity_type, workflow_id=info.workflow_id, **ids):
            return await self._translated(input)

    async def _translated(self, given: ExecuteActivityInput) -> Any:
        try:
            return await super().execute_activity(given)
        except FailureError:
            raise
        except VendorError as error:
            raise_alarm(error)
            retry_after = error.retry_after if isinstance(error, NotExecuted) else None
            raise retryable(type(error).__name__, str(error), *_details(error), retry_after=retry_after) from None
        except DomainError as error:
            # Part of a regular compensation: logged by Temporal without alert.
            benign = ApplicationErrorCategory.BENIGN
            raise ApplicationError(str(error), type=type(error).__name__, category=benign) from None
        except Exception as error:  # noqa: BLE001 - the edge of the worker
            _log(error)
            raise retryable(type(error).__name__, _describe(error)) from None


def _details(error: VendorError) -> list[str]:
    if not isinstance(error, Refused):
        return []
    return [CONFIGURATION if concerns_configuration(error) else PERMANENT]


def retryable(kind: str, reason: str, *details: str, retry_after: timedelta | None = None) -> ApplicationError:
    """A failure whose retry waits for `retry_after`, default: for the interval of the retry policy, with jitter.

    The retry policies of Temporal have no jitter: what failed together would be retried together for ever.
    """
    if retry_after is not None:
        wait = retry_after * _random.uniform(1, 1.1)
    elif (interval := _policy_interval()) is not None:
        wait = interval * _random.uniform(0.75, 1)
    else:
        wait = None
    return ApplicationError(reason, *details, type=kind, next_retry_delay=wait)


def _policy_interval() -> timedelta | None:
    """How long the retry policy waits after this attempt. None: this activity is not retried by the server."""
    info = activity.info() if activity.in_activity() else None
    if info is None or info.is_local or info.retry_policy is None:
        return None
    policy = info.retry_policy
    longest = policy.maximum_interval or policy.initial_interval * 100
    # The exponent is bounded, as the power would overflow.
    grown = policy.initial_interval.total_seconds() * policy.backoff_coefficient ** min(info.attempt - 1, 30)
    return min(timedelta(seconds=grown), longest)


def _ids(given: ExecuteActivityInput) -> dict[str, Any]:
    """The shop and redemption that an activity is about, for its log lines."""
    names = ("shop_id", "redemption_id")
    return {name: value for one in given.args for name in names if (value := getattr(one, name, None)) is not None}


def _log(error: Exception) -> None:
    """One line for what is expected, a traceback for a bug."""
    if is_unreachable(error) or isinstance(error, RPCError):
        log.warning("database or Temporal unavailable", kind=type(error).__name__)
    else:
        log.error("activity failed", exc_info=error)


def concerns_configuration(error: VendorError) -> bool:
    """Whether the vendor rejected the shop's configuration, so that every call of the shop fails."""
    return isinstance(error, Refused) and error.alarm


def raise_alarm(error: VendorError, **ids: int | str) -> None:
    """Log an error if the vendor rejected the shop's configuration, such as its API key.

    `ids`: of shop and redemption, where the activity has no such request.
    """
    if concerns_configuration(error):
        log.error("vendor rejected the shop's configuration", vendor=error.vendor, reason=error.reason, **ids)


def _describe(error: Exception) -> str:
    origin = getattr(error, "orig", None)
    return f"{type(error).__name__}{f' ({type(origin).__name__})' if origin else ''}: see the worker's log"
