"""What must be true of codes that were given back, and of those that were used."""

from db.tables import Redemption
from domain.redemptions import USED
from domain.refunds import DONE
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence
from tests.chaos.wishes import Order

AFTER_REFUND = "discount_code_used_after_refund"


def no_code_outlives_its_refund(evidence: Evidence) -> Found:
    """Nobody has the points and a code that works."""
    for row in evidence.captured:
        live = evidence.live.get(row.id, [])
        if row.is_refunded and live:
            yield row.id, f"refunded, and {', '.join(one['code'] for one in live)} still works"


def used_or_refunded(evidence: Evidence) -> Found:
    """What Shopify has counted is not refunded. A use that it counts later may be; then the merchant is told."""
    for row in evidence.captured:
        order = evidence.order_of.get(row.id)
        if row.is_refunded and order is not None and order.counted:
            yield row.id, f"used in an order at {order.placed_at:%H:%M:%S.%f}, and refunded"
        if row.is_refunded and row.status == USED:
            yield row.id, "refunded, and used"
        if row.status == USED and order is None:
            yield row.id, "used, but nobody has ordered with it"


def orders_count(evidence: Evidence) -> Found:
    """An order that we said we heard of marks its code as used, or tells the merchant why it could not."""
    for order in evidence.wishes.orders:
        row = evidence.rows[order.redemption_id]
        if not order.decided:
            yield row.id, "Shopify could not tell of its order"
        elif row.status != USED and not (row.is_refunded and _merchant_knows(evidence, order)):
            yield row.id, f"ordered with, and the row is {_state(row)}"


def answered_is_so(evidence: Evidence) -> Found:
    """Both the refund and its refusal are for ever."""
    for refund in evidence.wishes.refunds:
        row, kept = evidence.rows[refund.redemption_id], evidence.refunds.get(refund.redemption_id)
        for answer in refund.decided:
            if (answer.status == 200) != row.is_refunded or (
                kept is not None and kept.state == DONE
            ) != row.is_refunded:
                yield row.id, f"answered {answer.word}, and is {_state(row)}, its refund {kept and kept.state}"
            if answer.status == 422 and row.id not in evidence.order_of:
                yield row.id, "not refunded as its code was used, but nobody has ordered with it"


def nobody_refunds_by_himself(evidence: Evidence) -> Found:
    """Every refund has somebody who asked for it."""
    asked = {refund.redemption_id for refund in evidence.wishes.refunds}
    for redemption_id in evidence.refunds.keys() - asked:
        yield redemption_id, "a refund that nobody asked for"


def _merchant_knows(evidence: Evidence, order: Order) -> bool:
    return any(one.redemption_id == order.redemption_id and one.kind == AFTER_REFUND for one in evidence.log)


def _state(row: Redemption) -> str:
    return f"{row.status}, refunded" if row.is_refunded else row.status
