"""What the three marketing vendors are told of a redemption, in the words Mage's merchants built their flows on."""

import re
from datetime import UTC, datetime

from domain.events import EventKind, RewardEvent

# Merchants build their flows on these words.
EVENT_NAMES = {EventKind.REWARD_REDEEMED: "Reward Redeemed", EventKind.REWARD_REFUNDED: "Reward Refunded"}
POINTS_NAMES = {EventKind.REWARD_REDEEMED: "Points Spent", EventKind.REWARD_REFUNDED: "Points Refunded"}
READ_SECONDS = 10.0

_E164 = re.compile(r"\+[1-9]\d{6,14}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def event_properties(event: RewardEvent) -> dict[str, str | int | float]:
    """Flat, each of one type for ever, absent rather than null: vendors fix a property's type by its first value."""
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
    """In UTC and to the millisecond, so that each retry writes it the same."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def valid_email(event: RewardEvent) -> str | None:
    """The customer's e-mail address, if a vendor would take it (Klaviyo: valid and under 100 characters)."""
    email = (event.email or "").strip()
    return email if _EMAIL.fullmatch(email) and len(email) < 100 else None


def valid_phone(event: RewardEvent) -> str | None:
    """The customer's phone number if it is E.164; an invalid one can cost the whole event (Klaviyo: 400)."""
    phone = (event.phone or "").strip()
    return phone if _E164.fullmatch(phone) else None
