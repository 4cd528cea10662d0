"""Invariants that only chaos checks: of repeated requests, orders, adjustments, expiry, webhooks and imports."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

from domain.activity_log import ActivityKind
from domain.points import EntryKind
from domain.redemptions import RedemptionStatus
from tests.chaos.erasure_checks import nothing_is_left, skipped_as_erased, vendors_get_nothing_of_erased_customers
from tests.chaos.evidence import ChaosEvidence
from tests.chaos.merge_checks import (
    comparable,
    later_codes_are_the_survivors,
    merged_customers_have_nothing,
    merges_happen_once,
)
from tests.chaos.quiet import LIMIT, RECOVERY
from tests.chaos.requests import ALLOWED, subject_of
from tests.chaos.reward_checks import (
    cancelled_orders_refund_points,
    cancelled_orders_reissue_once,
    flexible_codes_are_worth_their_points,
    queued_purchases_are_decided,
)
from tests.evidence import Answer, Refund
from tests.invariants import CATALOGUE, Problems

TOLERANCE = timedelta(seconds=2)
"""An entry's time is the begin of its transaction, which reads the clock a little later."""
DECISIONS = frozenset({"201", "422 insufficient_points"})


def requests_have_one_outcome(evidence: ChaosEvidence) -> Problems:
    for request in evidence.requests:
        answers = evidence.lasting_answers(request) if isinstance(request, Refund) else request.final
        final = [answer for answer in answers if not evidence.is_of_erasure(request, answer)]
        different = {(answer.status, answer.text) for answer in final}
        if len(different) > 1:
            kind = type(request).__name__
            yield subject_of(request), f"{kind}: {len(different)} final answers: {sorted(different, key=str)}"


def repeats_are_answered(evidence: ChaosEvidence) -> Problems:
    for purchase in evidence.purchases:
        row = evidence.row_of(purchase)
        if row and row.status.is_captured and not purchase.successes:
            yield row.id, f"{row}, but repeated requests are answered {[*map(str, purchase.late_answers)]}"
    for refund in evidence.refunds:
        if refund.redemption_id in evidence.refund_rows and not refund.final:
            yield refund.redemption_id, f"repeated refunds are answered {[*map(str, refund.late_answers)]}"


def answers_are_documented(evidence: ChaosEvidence) -> Problems:
    for request in evidence.requests:
        for answer in (*request.answers, *request.late_answers):
            is_allowed = str(answer) in ALLOWED[type(request)] or evidence.is_of_erasure(request, answer)
            if answer.status is not None and not is_allowed:
                kind = type(request).__name__
                yield subject_of(request), f"{kind}: {answer.api} answered {answer}: {answer.text[:200]}"


def redemptions_were_requested(evidence: ChaosEvidence) -> Problems:
    known = evidence.ledger.by_id.keys() | {code.redemption_id for code in evidence.ledger.discount_codes}
    # The keys of an erased customer are deleted, so purchases without an answer are only counted.
    asked = Counter((evidence.survivor(purchase.customer), purchase.reward) for purchase in evidence.purchases)
    for redemption_id in known - evidence.purchase_of.keys():
        row = evidence.ledger.by_id.get(redemption_id)
        if row is None or row.customer_id not in evidence.erased:
            yield redemption_id, "no customer requested this redemption"
    made = Counter((row.customer_id, row.reward_id) for row in evidence.ledger.redemptions)
    for (customer, reward), times in made.items():
        if times > asked[customer, reward]:
            yield customer, f"has {times} redemptions of {reward}, and requested {asked[customer, reward]}"


def codes_are_used_or_refunded(evidence: ChaosEvidence) -> Problems:
    for row in evidence.ledger.redemptions:
        order, is_used = evidence.order_of.get(row.id), row.status is RedemptionStatus.USED
        is_cancelled = row.id in evidence.reissued_at or row.id in evidence.returned
        if row.is_refunded and order is not None and order.counted and not is_cancelled:
            yield row.id, f"used in an order at {order.placed_at:%H:%M:%S.%f}, and refunded"
        if row.is_refunded and is_used:
            yield row.id, "refunded, and used"
        if is_used and order is None:
            yield row.id, "used without an order"
    for refund in evidence.refunds:
        if any(answer.status == 422 for answer in refund.final) and refund.redemption_id not in evidence.order_of:
            yield refund.redemption_id, "not refunded because the code was used, but there is no order"


def orders_have_an_effect(evidence: ChaosEvidence) -> Problems:
    """The code becomes used, until its order is cancelled. If it was refunded first, the activity log says so."""
    used_late = [one for one in evidence.ledger.activity_log if one.kind == ActivityKind.CODE_USED_AFTER_REFUND]
    logged = {one.redemption_id for one in used_late}
    for order in evidence.requests.orders:
        row = evidence.ledger.by_id[order.redemption_id]
        if not order.final:
            yield row.id, "the order's webhook was never accepted"
        elif row.id in evidence.reissued_at or (row.is_refunded and row.id in evidence.returned):
            continue
        elif row.status is not RedemptionStatus.USED and not (row.is_refunded and row.id in logged):
            yield row.id, f"ordered with, and {row}"


def adjustments_are_as_answered(evidence: ChaosEvidence) -> Problems:
    stored = {one.id: one.points for one in evidence.ledger.earnings if one.action == "adjustment"}
    for adjustment in evidence.requests.adjustments:
        earning, answer = evidence.redemption_ids.get(adjustment.key), next(iter(adjustment.final), None)
        if earning is None or answer is None or answer.status != 200:
            yield adjustment.key, f"answered {answer}, its key is {'stored' if earning else 'unknown'}"
        elif (points := stored.get(earning, 0)) != (answered := answer.data["attributes"]["adjustment"]):
            yield adjustment.key, f"answered {answered}, stored {points}"
    moved = evidence.moved(EntryKind.ADJUST)
    for customer in moved.keys() | evidence.adjusted.keys():
        answered = evidence.adjusted.get(customer, 0)
        if moved[customer] != answered:
            yield customer, f"adjusted by {answered} as answered, by {moved[customer]} in the ledger"


def points_expire_in_time(evidence: ChaosEvidence) -> Problems:
    """Not before, and expired points are not spent."""
    ends = {award.id: award.expires_at for awards in evidence.shop.awards.values() for award in awards}
    lots = {lot.id: lot for lot in evidence.ledger.point_lots}
    for entry in evidence.ledger.ledger_entries:
        lot, at = lots[entry.lot_id], entry.created_at
        # The lot of a merged customer can have their id in front.
        end = ends.get((lot.import_id or "").rpartition("/")[2])
        if entry.kind is EntryKind.EXPIRE and (end is None or at + TOLERANCE < end):
            yield entry.customer_id, f"{-entry.points} points of lot {lot.id} expired at {at}, due {end}"
        if entry.kind is EntryKind.RESERVE and lot.expires_at is not None and at > lot.expires_at:
            yield entry.redemption_id or "?", f"drawn at {at} from lot {lot.id}, which expired at {lot.expires_at}"


def expired_lots_are_empty(evidence: ChaosEvidence) -> Problems:
    end = evidence.shop.began + timedelta(seconds=evidence.shop.seconds)
    for lot in evidence.ledger.point_lots:
        if lot.remaining and lot.expires_at is not None and lot.expires_at <= end:
            yield lot.customer_id, f"lot {lot.id} expired at {lot.expires_at} and has {lot.remaining} points"


def webhooks_are_genuine(evidence: ChaosEvidence) -> Problems:
    """Signed, with one id and one body per event in every attempt, also in those that the subscriber did not accept."""
    first: dict[object, object] = {}
    redemptions = {code.code: code.redemption_id for code in evidence.ledger.discount_codes}
    for one in evidence.webhooks:
        subject, body = redemptions.get(one.code, one.code), comparable(evidence, one)
        if one.problem:
            yield subject, f"the subscriber must not trust {one.id}: {one.problem}"
        if (known := first.setdefault(one.id, (body, one.event))) != (body, one.event):
            yield subject, f"{one.id} was {known} first, then {(body, one.event)}"
        if (known := first.setdefault((one.code, one.event), one.id)) != one.id:
            yield subject, f"{one.event} had the id {known} first, then {one.id}"


def calm_answers(evidence: ChaosEvidence) -> Iterator[tuple[str, Answer]]:
    """Answers to purchases during which every process ran, with the key of their purchase."""
    for purchase in evidence.purchases:
        for answer in purchase.answers:
            if not any(answer.began - RECOVERY < death < answer.ended for death in evidence.deaths):
                yield purchase.key, answer


def answered_in_time(evidence: ChaosEvidence) -> Problems:
    for key, answer in calm_answers(evidence):
        if str(answer) not in DECISIONS or answer.ended - answer.began > LIMIT:
            yield key, f"{answer} after {answer.ended - answer.began}, from {answer.began:%H:%M:%S.%f} at {answer.api}"


def nothing_is_unfinished(evidence: ChaosEvidence) -> Problems:
    for what, number in evidence.unfinished.items():
        yield "all", f"{number} {what} at the end of the recovery"


def imports_succeed(evidence: ChaosEvidence) -> Problems:
    for failure in evidence.failed_imports:
        yield "all", failure


INVARIANTS: Mapping[str, Callable[[ChaosEvidence], Problems]] = {
    **CATALOGUE,
    "a code is used or refunded, never both": codes_are_used_or_refunded,
    "a request has one final answer": requests_have_one_outcome,
    "an adjustment is made once, as it was answered": adjustments_are_as_answered,
    "a merge gives everything to the survivor, once": merges_happen_once,
    "a merged customer has nothing left": merged_customers_have_nothing,
    "a code that comes after a merge is the survivor's": later_codes_are_the_survivors,
    "a queued purchase is decided, and answered so": queued_purchases_are_decided,
    "a flexible code is worth the points that were chosen": flexible_codes_are_worth_their_points,
    "a cancelled order's code is reissued exactly once": cancelled_orders_reissue_once,
    "a cancelled order's points are refunded": cancelled_orders_refund_points,
    "points expire in time and are not spent afterwards": points_expire_in_time,
    "expired lots are empty": expired_lots_are_empty,
    "every redemption was requested": redemptions_were_requested,
    "every order has an effect": orders_have_an_effect,
    "repeated requests get the outcome": repeats_are_answered,
    "webhooks are genuine, and the same in every attempt": webhooks_are_genuine,
    "the recovery leaves nothing unfinished": nothing_is_unfinished,
    "every answer is documented": answers_are_documented,
    "an import fails only without the database": imports_succeed,
    "a webhook erases its customer, and nothing personal is left": nothing_is_left,
    "no vendor gets an event of an erased customer": vendors_get_nothing_of_erased_customers,
    "deliveries of an erased customer are skipped for that reason": skipped_as_erased,
}
QUIET_INVARIANTS = {**INVARIANTS, "while all processes run, a purchase is answered in time": answered_in_time}
