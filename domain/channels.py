"""Where a redemption is announced."""

from enum import StrEnum


class Channel(StrEnum):
    """One place that is told of a redemption."""

    KLAVIYO = "klaviyo"
    OMNISEND = "omnisend"
    POSTSCRIPT = "postscript"
    METAFIELDS = "metafields"

    @property
    def vendor(self) -> str:
        """The vendor whose credentials it needs."""
        return "shopify" if self is Channel.METAFIELDS else self.value
