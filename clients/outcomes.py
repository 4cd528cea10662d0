"""The three ways a vendor call can fail. Clients raise no other exception.

VendorError
 ├── NotExecuted    the call had no effect: wait, then retry
 ├── Refused        the vendor rejected the call: a retry fails too
 └── Unknown        the call may have taken effect: check before acting
"""

from datetime import timedelta


class VendorError(Exception):
    """A failed call. `reason` is the vendor's message without keys, e-mail addresses, phone numbers and codes."""

    def __init__(self, vendor: str, reason: str) -> None:
        super().__init__(f"{vendor}: {reason}")
        self.vendor = vendor
        self.reason = reason


class NotExecuted(VendorError):
    """The call had no effect. `retry_after` is the vendor's hint, None if it gave none."""

    def __init__(self, vendor: str, reason: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(vendor, reason)
        self.retry_after = retry_after


class Refused(VendorError):
    """The vendor rejected the call. `alarm`: the merchant's configuration is wrong (bad key, missing scope)."""

    def __init__(self, vendor: str, reason: str, *, alarm: bool = False) -> None:
        super().__init__(vendor, reason)
        self.alarm = alarm


class Unknown(VendorError):
    """The response does not show whether the call took effect."""
