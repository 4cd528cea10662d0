"""Adjustments of a customer's points: each idempotency key adjusts once."""

from collections.abc import Callable
from dataclasses import dataclass

from database import Sessions
from db import adjustments, customers
from db.adjustments import Adjusted
from db.idempotency import DecidedAnswer
from db.tables import Customer, Shop
from domain.eligibility import Refusal, RefusalCode
from domain.ids import new_earning_id
from services.idempotency import Reply, claim_key


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """A requested adjustment. `points` is signed; `render` makes the answer that is stored with the key."""

    shop: Shop
    key: str
    fingerprint: bytes
    customer_identifier: str
    points: int
    moves_lifetime: bool
    note: str | None
    render: Callable[[Customer, Adjusted], DecidedAnswer]


class AdjustmentRefused(Exception):
    """The customer is unknown or excluded. Nothing is stored: the key can be used again."""

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(code)
        self.refusal = Refusal(code=code)


async def adjust(sessions: Sessions, adjustment: Adjustment) -> Reply:
    """Adjust, or repeat the stored answer.

    Raises:
        IdempotencyKeyReused: the key was used for a different request.
        AdjustmentRefused: the customer is unknown or excluded.
    """
    shop = adjustment.shop
    async with sessions.begin() as session:
        claim, is_new = await claim_key(session, shop, adjustment.key, adjustment.fingerprint, new_earning_id())
        if is_new:
            customer = await customers.find_customer(session, shop.id, adjustment.customer_identifier, locked=True)
            if customer is None or customer.excluded:
                code = RefusalCode.CUSTOMER_EXCLUDED if customer else RefusalCode.CUSTOMER_NOT_FOUND
                raise AdjustmentRefused(code)
            requested = adjustments.Adjustment(
                id=claim.redemption_id,
                points=adjustment.points,
                moves_lifetime=adjustment.moves_lifetime,
                note=adjustment.note,
            )
            answer = adjustment.render(customer, await adjustments.adjust(session, customer, requested))
            claim.customer_id, claim.status, claim.body = customer.id, answer.status, answer.body
        assert claim.status is not None, "an adjustment is decided in the transaction that claims its key"
        assert claim.body is not None
    return Reply(answer=DecidedAnswer(status=claim.status, body=claim.body), replayed=not is_new)
