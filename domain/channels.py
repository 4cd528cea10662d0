"""Where a redemption is announced."""

from enum import StrEnum


class Channel(StrEnum):
    """One place, or one kind of place, that is told of a redemption."""

    KLAVIYO = "klaviyo"
    OMNISEND = "omnisend"
    POSTSCRIPT = "postscript"
    METAFIELDS = "metafields"
    WEBHOOKS = "webhooks"

    @property
    def vendor(self) -> str | None:
        """The vendor whose credentials it needs; None where it needs subscriptions instead."""
        match self:
            case Channel.METAFIELDS:
                return "shopify"
            case Channel.WEBHOOKS:
                return None
            case _:
                return self.value
