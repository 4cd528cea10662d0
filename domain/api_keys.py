"""API keys: what they may do, and how long they must be."""

from enum import StrEnum

MIN_KEY_LENGTH = 32
"""Characters of an imported key. Enough for 128 bits of entropy in hexadecimal, which a fast hash needs."""


class KeyScope(StrEnum):
    """What the holder of an API key may do."""

    FULL = "full"
    READ_ONLY = "read_only"
    """Cannot redeem or change anything."""
    ADMIN = "admin"
    """Can also change rewards, customers and the shop's settings."""

    @property
    def can_write(self) -> bool:
        """Whether the key can redeem. A key of scope `admin` can do all that one of scope `full` can."""
        return self is not KeyScope.READ_ONLY
