"""The three ways a call to a vendor can go wrong. Nothing else crosses a client's border.

VendorError
 ├── NotExecuted    it surely did not happen: wait, ask again
 ├── Refused        the vendor understood and said no: asking again will not help
 └── Unknown        it may have happened: look before acting
"""

from datetime import timedelta


class VendorError(Exception):
    """A call that did not succeed; `reason` is in the vendor's own words, without keys, e-mails, phones or codes."""

    def __init__(self, vendor: str, reason: str) -> None:
        super().__init__(f"{vendor}: {reason}")
        self.vendor = vendor
        self.reason = reason


class NotExecuted(VendorError):
    """Surely not executed; `retry_after` is the vendor's own hint, None where it gave none."""

    def __init__(self, vendor: str, reason: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(vendor, reason)
        self.retry_after = retry_after


class Refused(VendorError):
    """Understood and refused; `alarm` when it is the merchant's configuration (bad key, missing scope)."""

    def __init__(self, vendor: str, reason: str, *, alarm: bool = False) -> None:
        super().__init__(vendor, reason)
        self.alarm = alarm


class Unknown(VendorError):
    """Executed or not, nobody can tell from this answer."""
