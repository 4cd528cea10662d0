"""Adjustments of a customer's points: each idempotency key adjusts once."""

from collections.abc import Callable

from database import Sessions
from db import adjustments, customers
from db.adjustments import Adjusted, Adjustment
from db.idempotency import DecidedAnswer, stored_answer
from db.tables import Customer, Shop
from domain.eligibility import Refusal, RefusalCode
from services.idempotency import Reply, claim_key


class AdjustmentRefused(Exception):
    """The customer is unknown or excluded. Nothing is stored: the key can be used again."""

    def __init__(self, code: RefusalCode) -> None:
        super().__init__(code)
        self.refusal = Refusal(code=code)


async def adjust(
    sessions: Sessions,
    shop: Shop,
    customer_identifier: str,
    adjustment: Adjustment,
    *,
    key: str,
    fingerprint: bytes,
    render: Callable[[Customer, Adjusted], DecidedAnswer],
) -> Reply:
    """Adjust, or repeat the answer that `render` made. Raises `IdempotencyKeyReused` or `AdjustmentRefused`."""
    async with sessions.begin() as session:
        claim, is_new = await claim_key(session, shop, key, fingerprint, adjustment.id)
        if is_new:
            # The caller may not know yet that the customer was merged.
            customer = await customers.find_member(session, shop.id, customer_identifier, locked=True)
            if customer is None:
                raise AdjustmentRefused(RefusalCode.CUSTOMER_NOT_FOUND)
            if customer.excluded:
                raise AdjustmentRefused(RefusalCode.CUSTOMER_EXCLUDED)
            answer = render(customer, await adjustments.adjust(session, customer, adjustment))
            claim.customer_id, claim.status, claim.body = customer.id, answer.status, answer.body
    answer = stored_answer(claim.status, claim.body)
    assert answer is not None, "an adjustment is decided in the transaction that claims its key"
    return Reply(answer=answer, replayed=not is_new)
