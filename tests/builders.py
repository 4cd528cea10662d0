"""Documents of import files."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from cryptography.fernet import Fernet
from pydantic import SecretStr

from db.vault import Vault

Json = dict[str, Any]
ALL_VENDORS = ("shopify", "klaviyo", "omnisend", "postscript")


def a_reward(reward_id: str = "reward_abc", **changes: Any) -> Json:
    """£5 off for 500 points."""
    return {
        "id": reward_id,
        "name": "£5 off your next order",
        "discount_type": "fixed_amount",
        "discount_amount": "5.00",
        "points_cost": 500,
        "expiry_days": 30,
        **changes,
    }


def a_free_product(variant_id: str = "99", **changes: Any) -> Json:
    """A unit of this product variant for 500 points."""
    return a_reward(discount_type="free_product", discount_amount=None, product_variant_id=variant_id, **changes)


def a_variable_reward(reward_id: str = "reward_abc", **changes: Any) -> Json:
    """£1 off for each 100 points."""
    reward = a_reward(reward_id, pricing="variable", points_step=100, value_per_step="1.00", discount_amount=None)
    del reward["points_cost"]
    return {**reward, **changes}


def a_lot(points: int, *, days_old: int = 10, lot_id: str | None = None, expires_in: timedelta | None = None) -> Json:
    now = datetime.now(UTC)
    return {
        "id": lot_id or uuid4().hex,
        "points": points,
        "earned_at": (now - timedelta(days=days_old)).isoformat(),
        "expires_at": (now + expires_in).isoformat() if expires_in else None,
    }


def a_customer(*lots: Json, customer_id: str | None = None, **changes: Any) -> Json:
    customer_id = customer_id or str(uuid4().int % 10**12)
    return {
        "shopify_customer_id": customer_id,
        "email": f"jane.{customer_id}@shopper.io",
        "phone": "+447700900123",
        "first_name": "Jane",
        "lots": list(lots),
        **changes,
    }


def account_of(domain: str, vendor: str) -> str:
    """What a fault names to meet only the requests of this shop of `a_shop`."""
    name = domain.removeprefix("shop-").removesuffix(".myshopify.com")
    return {"shopify": domain, "klaviyo": f"pk_{name}", "omnisend": f"om_{name}", "postscript": f"sk_{name}"}[vendor]


def a_shop(
    *customers: Json, rewards: Sequence[Json] | None = None, vendors: Sequence[str] = ALL_VENDORS, **changes: Any
) -> Json:
    """A shop with a key of each scope, and with credentials of these vendors."""
    name = uuid4().hex[:12]
    tokens = {"shopify": {"access_token": f"shpat_{name}"}, "klaviyo": {"api_key": f"pk_{name}"}}
    tokens |= {"omnisend": {"api_key": f"om_{name}"}, "postscript": {"api_key": f"sk_{name}"}}
    return {
        "domain": f"shop-{name}.myshopify.com",
        "name": "A shop",
        "currency": "GBP",
        "api_keys": [
            {"key": f"full-access-key-of-shop-{name}", "scope": "full"},
            {"key": f"read-only-key-of-shop-{name}", "scope": "read_only"},
            {"key": f"administrating-key-of-shop-{name}", "scope": "admin"},
        ],
        "rewards": [a_reward()] if rewards is None else list(rewards),
        "customers": list(customers),
        **{vendor: tokens[vendor] for vendor in vendors},
        **changes,
    }


def encrypt_with_lost_key(**credentials: str) -> str:
    """Credentials that none of the settings' keys decrypts."""
    return Vault([SecretStr(Fernet.generate_key().decode())]).seal(credentials)
