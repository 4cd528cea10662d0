"""How a vendor call can end without success. Clients raise no other exception.

VendorError
 ├── NotExecuted    the call had no effect: wait, then retry
 ├── Refused        the vendor rejected the call: a retry fails too
 ├── Unknown        the call may have taken effect: check before acting
 └── NoRecipient    there was no call: the customer has no address for this vendor, and no retry changes that
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import metrics


class VendorError(Exception):
    """A failed call. `reason` is the vendor's message without keys, e-mail addresses, phone numbers and codes."""

    def __init__(self, vendor: str, reason: str) -> None:
        super().__init__(f"{vendor}: {reason}")
        self.vendor = vendor
        self.reason = reason


class NotExecuted(VendorError):
    """The call had no effect.

    `retry_after` is how long to wait at least, None if the vendor gave no hint. `is_held`: the call was not made, as
    its destination has too many in flight or its circuit breaker is open.
    """

    def __init__(
        self, vendor: str, reason: str, *, retry_after: timedelta | None = None, is_held: bool = False
    ) -> None:
        super().__init__(vendor, reason)
        self.retry_after = retry_after
        self.is_held = is_held


class Refused(VendorError):
    """The vendor rejected the call.

    `alarm`: the merchant's configuration is wrong (bad key, missing scope), and every call fails until it is corrected.
    Without it the vendor rejects this call, and a retry of it fails too.
    """

    def __init__(self, vendor: str, reason: str, *, alarm: bool = False) -> None:
        super().__init__(vendor, reason)
        self.alarm = alarm


class Unknown(VendorError):
    """The response does not show whether the call took effect."""


class NoRecipient(VendorError):
    """The vendor was not called, as it has no way to address the customer."""


@dataclass
class ObservedCall:
    """A call in progress. `outcome`: one of `metrics.CALL_OUTCOMES`."""

    outcome: str = "ok"


@contextmanager
def observed_call(vendor: str, operation: str) -> Generator[ObservedCall]:
    """Count the call that the block makes by its outcome, and observe its duration unless it is held."""
    began, call = time.perf_counter(), ObservedCall()
    try:
        yield call
    except VendorError as error:
        call.outcome = _label(error)
        raise
    finally:
        metrics.VENDOR_CALLS.labels(vendor, operation, call.outcome).inc()
        if call.outcome != "held":
            metrics.VENDOR_CALL_SECONDS.labels(vendor, operation).observe(time.perf_counter() - began)


def _label(error: VendorError) -> str:
    match error:
        case NotExecuted():
            return "held" if error.is_held else "not_executed"
        case Refused():
            return "refused_configuration" if error.alarm else "refused"
        case _:
            return "unknown"
