"""What the three marketing clients share: event names, event properties, and the customer's contact data.

Names are those of Mage's integrations, because merchants have flows on them. Source: help.mageloyalty.com, articles
14062454 (Klaviyo), 14062542 (Omnisend) and 14062529 (Postscript).
"""

import re
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from pydantic import SecretStr

from clients.destinations import Limits
from clients.outcomes import NoRecipient, Refused
from domain.events import EventKind, RewardEvent

EVENT_NAMES = {
    EventKind.REWARD_REDEEMED: "Reward Redeemed",
    EventKind.REWARD_REFUNDED: "Reward Refunded",
    EventKind.REWARD_REISSUED: "Reward Reissued",
}
POINTS_NAMES = {
    EventKind.REWARD_REDEEMED: "Points Spent",
    EventKind.REWARD_REFUNDED: "Points Refunded",
    EventKind.REWARD_REISSUED: "Points Spent",
}
CALL_SECONDS = 10.0
LIMITS = Limits(in_flight=15, open_seconds=30)


class MarketingClient(Protocol):
    """Client of one marketing vendor."""

    @property
    def repeatable(self) -> bool:
        """Whether an event with an unknown outcome is sent again."""
        ...

    async def send_event(self, api_key: SecretStr, event: RewardEvent) -> None:
        """Send one event. Raises `NotExecuted`, `Refused`, `NoRecipient` or `Unknown`."""
        ...

    async def check_key(self, api_key: SecretStr) -> None:
        """Find out whether the vendor accepts the key; see `accepts_key`."""
        ...


_E164 = re.compile(r"\+[1-9]\d{6,14}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def event_properties(event: RewardEvent) -> dict[str, str | int | float]:
    """Flat properties, each always of one type and never null: vendors fix a property's type by its first value."""
    properties: dict[str, str | int | float | None] = {
        "Reward Name": event.reward_name,
        POINTS_NAMES[event.kind]: event.points,
        "Discount Type": event.discount_type,
        "redemption_id": event.redemption_id,
        "reward_id": event.reward_id,
        "points_balance": event.points_balance,
        "discount_code": event.discount_code,
        "discount_value": None if event.discount_value is None else float(event.discount_value),
        "currency": event.currency,
        "expires_at": None if event.expires_at is None else rfc3339(event.expires_at),
    }
    return {name: value for name, value in properties.items() if value is not None}


def rfc3339(moment: datetime) -> str:
    """The time in UTC, to the millisecond; the same text on every retry."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def valid_email(event: RewardEvent) -> str | None:
    """The customer's e-mail address if it is valid and under 100 characters. Source: Klaviyo, events API overview."""
    email = (event.email or "").strip()
    return email if _EMAIL.fullmatch(email) and len(email) < 100 else None


def valid_phone(event: RewardEvent) -> str | None:
    """The customer's phone number if it is E.164; Klaviyo rejects the whole event for an invalid one (400)."""
    phone = (event.phone or "").strip()
    return phone if _E164.fullmatch(phone) else None


def contact(vendor: str, event: RewardEvent, *, phone_length: int = 16) -> dict[str, str]:
    """The customer's `email` and `phone`, at least one of them. Raises `NoRecipient` if there is neither."""
    email, phone = valid_email(event), valid_phone(event)
    fields = {"email": email} if email else {}
    if phone and len(phone) <= phone_length:
        fields["phone"] = phone
    if not fields:
        raise NoRecipient(vendor, "the customer has neither an e-mail address nor a phone number")
    return fields


# What a vendor rejects as invalid once it has accepted the key. No vendor has a harmless request that needs only the
# permission to send events.
INVALID_EVENT: Mapping[str, Any] = {}


async def accepts_key(sending: Awaitable[None]) -> None:
    """Send an invalid event to find out whether the vendor accepts the key.

    Raises:
        Refused: the vendor rejects the key, or lets it not send events.
        NotExecuted, Unknown: the vendor did not say.
    """
    try:
        await sending
    except Refused as error:
        if error.alarm:
            raise
