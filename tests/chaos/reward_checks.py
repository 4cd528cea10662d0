"""Invariants of queued purchases, of rewards with variable pricing, and of cancelled orders."""

from decimal import Decimal

from domain.activity_log import ActivityKind
from domain.events import EventKind
from domain.orders import CancelledOrderPolicy
from domain.redemptions import RedemptionStatus
from domain.reissues import ReissueStatus
from tests.chaos.evidence import ChaosEvidence
from tests.chaos.requests import Cancellation
from tests.chaos.shop import CANCELLED, FLEXIBLE, PRODUCT, STEP, VALUE_PER_STEP
from tests.evidence import Json, Redemption
from tests.invariants import Problems


def queued_purchases_are_decided(evidence: ChaosEvidence) -> Problems:
    """A client with the answer that the points are held learns their outcome, once, and always the same."""
    for purchase in evidence.purchases:
        if not purchase.was_queued or purchase.customer in evidence.erased:
            continue
        row, answers = evidence.row_of(purchase), purchase.final
        if row is None or not row.is_queued:
            yield purchase.key, f"was queued, but its redemption is {row or 'missing'}"
        elif not answers:
            yield row.id, f"{row}, but repeated requests are answered {[*map(str, purchase.late_answers)]}"
        elif row.status.is_captured != (answers[0].status == 201) or (answers[0].status not in (201, 503)):
            yield row.id, f"{row}, but answered {answers[0]}"
        if row is not None and {answer.data["id"] for answer in purchase.answers if answer.status == 202} != {row.id}:
            yield row.id, "was queued with another id"


def flexible_codes_are_worth_their_points(evidence: ChaosEvidence) -> Problems:
    chosen = {id_: purchase.points for id_, purchase in evidence.purchase_of.items() if purchase.points is not None}
    discounts = {discount["code"]: discount for discount in evidence.discounts}
    for row in evidence.ledger.redemptions:
        if row.reward_id != FLEXIBLE:
            continue
        if row.points_spent != (points := chosen.get(row.id, row.points_spent)):
            yield row.id, f"costs {row.points_spent} points, chosen were {points}"
        given = evidence.announced_codes(row, EventKind.REWARD_REDEEMED) if row.status.is_captured else []
        for code in filter(None, given):
            yield from _terms(row, discounts[code])


def _terms(row: Redemption, discount: Json) -> Problems:
    gets = discount["asked"]["customerGets"]
    amount = Decimal(str(gets["value"]["discountAmount"]["amount"]))
    if amount != row.points_spent // STEP * VALUE_PER_STEP:
        yield row.id, f"{discount['code']} is worth {amount} for {row.points_spent} points"
    if PRODUCT not in str(gets["items"]):
        yield row.id, f"{discount['code']} is for {gets['items']}"


def cancelled_orders_reissue_once(evidence: ChaosEvidence) -> Problems:
    done: dict[str, int] = {}
    for reissue in evidence.ledger.reissues:
        if reissue.status is ReissueStatus.DONE:
            done[reissue.redemption_id] = done.get(reissue.redemption_id, 0) + 1
        if reissue.redemption_id not in evidence.cancellation_of:
            yield reissue.redemption_id, f"a reissue without a cancelled order: {reissue}"
    for cancellation in evidence.requests.cancellations:
        row = evidence.ledger.by_id[cancellation.redemption_id]
        if not cancellation.final:
            yield row.id, "the webhook of the cancellation was never accepted"
        elif done.get(row.id, 0) not in (expected := _expected(evidence, cancellation, row)):
            yield row.id, f"{row}: reissued {done.get(row.id, 0)} times instead of {expected}"
    for row in evidence.ledger.redemptions:
        if (replaced := evidence.ledger.replaced_codes(row)) and len(replaced) != done.get(row.id, 0):
            yield row.id, f"the codes {replaced} were replaced by {done.get(row.id, 0)} reissues"
        if row.id in done and row.status is RedemptionStatus.USED:
            yield row.id, "is used, although the order was cancelled and the code reissued"


def cancelled_orders_refund_points(evidence: ChaosEvidence) -> Problems:
    for redemption_id in evidence.returned:
        row = evidence.ledger.by_id[redemption_id]
        if not row.is_refunded and row.customer_id not in evidence.erased:
            yield row.id, f"{row}: the order was cancelled, and the points are not refunded"


def _expected(evidence: ChaosEvidence, cancellation: Cancellation, row: Redemption) -> tuple[int, ...]:
    """How often the code of a cancelled order may have been reissued."""
    if CANCELLED.get(row.reward_id) is not CancelledOrderPolicy.REISSUE:
        return (0,)
    if row.customer_id in evidence.erased:
        return (0, 1)
    used_late = {
        one.redemption_id for one in evidence.ledger.activity_log if one.kind == ActivityKind.CODE_USED_AFTER_REFUND
    }
    return (0,) if row.id in used_late else (1,)
