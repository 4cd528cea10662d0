"""The ids in paths.

Their patterns are told and not enforced: an id that cannot be is one that does not exist, 404.
"""

from typing import Annotated

from fastapi import Path

RewardId = Annotated[
    str,
    Path(
        description="The reward's id.",
        examples=["reward_abc"],
        json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": r"^[^/\x00-\x1f\x7f]+$"},
    ),
]

CustomerIdentifier = Annotated[
    str,
    Path(
        description="The customer's Shopify id, or their e-mail address in any case.",
        examples=["6789012345"],
        json_schema_extra={"maxLength": 100, "pattern": r"^([0-9]{1,20}|[^@/\s\x00-\x1f]+@[^@/\s\x00-\x1f]+)$"},
    ),
]

EntryId = Annotated[
    str,
    Path(
        description="The redemption's id: that of its entry in the reward history.",
        examples=["cr_4k1t9zq0m2x7c8v5b3n6"],
        json_schema_extra={"pattern": "^cr_[a-z0-9]{20}$"},
    ),
]

SubscriptionId = Annotated[
    str,
    Path(
        description="The subscription's id.",
        examples=["whsub_4k1t9zq0m2x7c8v5b3n6"],
        json_schema_extra={"pattern": "^whsub_[a-z0-9]{20}$"},
    ),
]
