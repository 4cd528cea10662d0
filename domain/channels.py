"""The channels on which a redemption's events are delivered."""

from enum import StrEnum


class Channel(StrEnum):
    """One channel. Metafields are state rather than events; `webhooks` stands for all subscribers of the shop."""

    KLAVIYO = "klaviyo"
    OMNISEND = "omnisend"
    POSTSCRIPT = "postscript"
    METAFIELDS = "metafields"
    WEBHOOKS = "webhooks"

    @property
    def vendor(self) -> str | None:
        """The vendor whose credentials the channel needs. None: it needs subscriptions instead."""
        match self:
            case Channel.METAFIELDS:
                return "shopify"
            case Channel.WEBHOOKS:
                return None
            case _:
                return self.value
