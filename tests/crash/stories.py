"""The purchases, and the refund, at whose boundaries a worker dies."""

from dataclasses import dataclass

from tests.e2e.deployment import CREATE
from tests.service import Json

LOOK_UP = "codeDiscountNodeByCode"


@dataclass(frozen=True, kw_only=True)
class Story:
    """What Shopify does to a purchase or a refund, and what the caller hears in the end, whoever dies meanwhile."""

    name: str
    answer: int
    is_refund: bool = False
    """Of a redemption that was captured before, with nobody dying."""
    mishap: Json | None = None
    refusal: Json | None = None
    """Shopify says it again after a death: a story must not turn into another one because a question was repeated."""


STORIES = (
    Story(name="bought", answer=201),
    Story(name="refunded", answer=200, is_refund=True),
    Story(name="refused", answer=503, refusal={"operation": CREATE, "kind": "status", "status": 401}),
    Story(
        name="refused after a lost answer",
        answer=503,
        mishap={"operation": CREATE, "kind": "execute_then_drop"},
        refusal={"operation": LOOK_UP, "kind": "status", "status": 401},
    ),
)
