"""Catalogue of invariants: one sentence and one check each. Every suite supplies the evidence that it has.

`LEDGER` holds at every moment; the property tests check it after each operation. `CATALOGUE` holds once everything has
ended; the crash matrix, the end-to-end tests and chaos check it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from domain.channels import Channel
from domain.deliveries import DeliveryStatus
from domain.discounts import CodeState
from domain.events import EventKind
from domain.points import EntryKind
from domain.redemptions import RedemptionStatus
from domain.refunds import RefundStatus
from tests.evidence import Evidence, Redemption, State

Problems = Iterator[tuple[str, str]]
"""Pairs of a subject (a redemption, a customer, …) and what is wrong with it."""

KEEPS_DUPLICATES = (Channel.OMNISEND, Channel.WEBHOOKS)
"""Delivered at least once. The receiver recognizes a duplicate by its id."""


# Checks of the ledger, at every moment.


def lots_add_up(state: State) -> Problems:
    moved: Counter[int] = Counter()
    for entry in state.ledger.ledger_entries:
        moved[entry.lot_id] += entry.points
    for lot in state.ledger.point_lots:
        if lot.remaining != moved[lot.id]:
            yield lot.customer_id, f"lot {lot.id} has {lot.remaining} points, its entries add up to {moved[lot.id]}"


def lots_keep_their_bounds(state: State) -> Problems:
    for lot in state.ledger.point_lots:
        if not 0 <= lot.remaining <= lot.points:
            yield lot.customer_id, f"lot {lot.id} has {lot.remaining} of {lot.points} points"


def draws_are_entries(state: State) -> Problems:
    balance: Counter[tuple[str | None, int | None, int]] = Counter()
    for entry in state.ledger.ledger_entries:
        if entry.kind is EntryKind.RESERVE:
            balance[entry.redemption_id, entry.attempt, entry.lot_id] += entry.points
    for draw in state.ledger.redemption_draws:
        balance[draw.redemption_id, draw.attempt, draw.lot_id] += draw.points
    for (redemption_id, attempt, lot), points in balance.items():
        if points:
            yield str(redemption_id), f"draw and reserve entry of attempt {attempt}, lot {lot} differ by {points}"


def costs_are_held(state: State) -> Problems:
    held: Counter[str] = Counter()
    for entry in state.ledger.ledger_entries:
        if entry.redemption_id is not None:
            held[entry.redemption_id] -= entry.points
    for redemption_id in held.keys() - state.ledger.by_id.keys():
        if held[redemption_id]:
            yield redemption_id, f"holds {held[redemption_id]} points and has no row"
    for row in state.ledger.redemptions:
        due = state.cost_of(row) if row.is_paid or row.status is RedemptionStatus.PENDING else 0
        if held[row.id] != due:
            yield row.id, f"{row}: holds {held[row.id]} points instead of {due}"


def codes_work_while_paid(state: State) -> Problems:
    working = [discount for discount in state.discounts if discount["status"] == "live"]
    for code in state.ledger.discount_codes:
        found = [discount for discount in working if discount["code"] == code.code]
        # Shopify merges the customers of its discounts, too. The sandbox keeps the ids that a discount was created for.
        customers = [[*map(state.survivor, discount["customers"])] for discount in found]
        if code.state is CodeState.FOREIGN:
            if any(code.redemption_id in discount["tags"] for discount in found):
                yield code.redemption_id, f"its own code {code.code} is foreign and works for {customers}"
            continue
        row = state.ledger.by_id[code.redemption_id]
        is_paid = row.is_paid and code.attempt == row.attempt and code.is_current
        is_voided = not is_paid if state.voided is None else (row.id, code.attempt) in state.voided
        # The old code of a reissue ends before there is a new one.
        is_voided |= not code.is_current and code.state is CodeState.VOID
        may_be_gone = row.status is RedemptionStatus.USED or not {row.id, code.code}.isdisjoint(state.removable)
        least, most = is_paid and not may_be_gone, not (is_voided or row.is_refunded)
        if (code.state is CodeState.LIVE) != is_paid:
            yield row.id, f"{row}: the code {code.code} of attempt {code.attempt} is {code.state}"
        if not least <= len(customers) <= most or any(one != [row.customer_id] for one in customers):
            yield row.id, f"{row} by {row.customer_id}: the code {code.code} works for {customers}"
    known = {code.code for code in state.ledger.discount_codes}
    for discount in working:
        if discount["code"] not in known:
            yield discount["code"], f"works for {discount['customers']}, with {discount['tags']}, but is unknown"


def caps_hold(state: State) -> Problems:
    rows = state.ledger.redemptions
    taken = Counter(row.reward_id for row in rows if row.is_paid or row.status is RedemptionStatus.PENDING)
    for reward, cap in state.caps.items():
        if taken[reward] > cap:
            yield reward, f"redeemed {taken[reward]} times, at most {cap}"


def limits_hold(state: State) -> Problems:
    taken = Counter(
        (row.customer_id, row.reward_id)
        for row in state.ledger.redemptions
        if row.is_paid or row.status is RedemptionStatus.PENDING
    )
    # Who survives a merge has the redemptions of both.
    persons = Counter(state.survivor(customer) for customer in state.merged)
    for (customer, reward), times in taken.items():
        limit = state.limits.get(reward)
        if limit is not None and times > (most := limit * (1 + persons[customer])):
            yield customer, f"has redeemed {reward} {times} times, at most {most}"


# Checks once everything has ended.


def purchases_are_as_answered(evidence: Evidence) -> Problems:
    for purchase in evidence.purchases:
        row = evidence.row_of(purchase)
        for answer in purchase.successes[:1]:
            redemption_id, code = answer.data["id"], answer.data["attributes"]["discount_code"]
            customer = evidence.survivor(purchase.customer)
            if row is None or not row.status.is_captured:
                yield redemption_id, f"answered 201, but the redemption is {row or 'missing'}"
            elif (redemption_id, customer) != (row.id, row.customer_id) or code not in _given(evidence, row):
                stored = row.id, row.customer_id, _given(evidence, row)
                yield row.id, f"answered {(redemption_id, customer, code)}, stored {stored}"
        if row and row.status.is_captured and (rejection := purchase.rejection):
            yield row.id, f"answered {rejection} and never 201, but {row}"


def _given(evidence: Evidence, row: Redemption) -> list[str | None]:
    """The codes that the customer has had. An answer keeps its code when that is reissued."""
    return evidence.announced_codes(row, EventKind.REWARD_REDEEMED)


def refunds_are_as_answered(evidence: Evidence) -> Problems:
    for refund in evidence.refunds:
        row, stored = evidence.ledger.by_id[refund.redemption_id], evidence.refund_rows.get(refund.redemption_id)
        is_done = stored is not None and stored.status is RefundStatus.DONE
        for answer in evidence.lasting_answers(refund):
            if not (answer.status == 200) == row.is_refunded == is_done:
                yield row.id, f"answered {answer}, but {row}, its refund {stored and stored.status}"
    requested = {refund.redemption_id for refund in evidence.refunds}.union(evidence.returned)
    for redemption_id in evidence.refund_rows.keys() - requested:
        yield redemption_id, "a refund that was not requested"


def points_add_up(evidence: Evidence) -> Problems:
    spent: Counter[str] = Counter()
    for row in evidence.ledger.redemptions:
        spent[row.customer_id] += evidence.cost_of(row) if row.is_paid else 0
    balances: Counter[str] = Counter()
    for lot in evidence.ledger.point_lots:
        balances[lot.customer_id] += lot.remaining
    expired = evidence.moved(EntryKind.EXPIRE)
    for customer, award in evidence.awards.items():
        adjusted = evidence.adjusted.get(customer, 0)
        due = award - spent[customer] + adjusted + expired[customer]
        if balances[customer] != due:
            parts = f"started with {award}, spent {spent[customer]}, adjusted {adjusted}, expired {expired[customer]}"
            yield customer, f"{parts}: has {balances[customer]} instead of {due}"


def events_are_delivered(evidence: Evidence) -> Problems:
    stored = {(one.redemption_id, one.event, one.channel): one.status for one in evidence.ledger.deliveries}
    for row in evidence.ledger.redemptions:
        for event in evidence.ledger.events_of(row):
            for channel in evidence.channels:
                if event is EventKind.PURCHASE_FAILED and channel is not Channel.WEBHOOKS:
                    continue
                for problem in _delivery(evidence, row, event, channel, stored.get((row.id, event, channel))):
                    yield row.id, f"{event} on {channel} {problem}"


def _delivery(
    evidence: Evidence, row: Redemption, event: EventKind, channel: Channel, status: DeliveryStatus | None
) -> Iterator[str]:
    allowed = {DeliveryStatus.SENT}
    if channel is Channel.POSTSCRIPT:
        allowed.add(DeliveryStatus.UNKNOWN)
    events = evidence.ledger.events_of(row)
    is_outdated = event is not events[-1]
    if row.customer_id in evidence.erased or is_outdated:
        allowed.add(DeliveryStatus.SKIPPED)
    if status not in allowed:
        yield f"is {status or 'missing'}"
    if channel in evidence.arrivals:
        codes = evidence.announced_codes(row, event)
        arrived = sum(one.event is event and one.code in codes for one in evidence.arrivals[channel])
        if status is DeliveryStatus.SENT and not arrived:
            yield "is sent and did not arrive"
        if arrived > 1 and channel not in KEEPS_DUPLICATES:
            yield f"arrived {arrived} times"


def nothing_else_is_delivered(evidence: Evidence) -> Problems:
    redemptions = {code.code: code.redemption_id for code in evidence.ledger.discount_codes}
    ledger = evidence.ledger
    happened = {
        (code, event)
        for row in ledger.redemptions
        for event in ledger.events_of(row)
        for code in evidence.announced_codes(row, event)
    }
    for channel, arrived in evidence.arrivals.items():
        ids: dict[tuple[str, EventKind], str] = {}
        for one in arrived:
            subject = redemptions.get(one.code, one.code)
            if (one.code, one.event) not in happened:
                yield subject, f"{one.event} of {one.code} arrived at {channel} and did not happen"
            if ids.setdefault((one.code, one.event), one.id) != one.id:
                yield subject, f"{one.event} arrived at {channel} with several ids"
    for delivery in evidence.ledger.deliveries:
        if delivery.event not in ledger.events_of(ledger.by_id[delivery.redemption_id]):
            yield delivery.redemption_id, f"a delivery of {delivery.event} on {delivery.channel}, which did not happen"


def everything_has_ended(evidence: Evidence) -> Problems:
    for row in evidence.ledger.redemptions:
        if row.status is RedemptionStatus.PENDING:
            yield row.id, "the redemption is pending"
    for refund in evidence.ledger.refunds:
        if refund.status is RefundStatus.PENDING:
            yield refund.redemption_id, "the refund is pending"
    for code in evidence.ledger.discount_codes:
        if code.state is CodeState.PLANNED:
            yield code.redemption_id, f"the code of attempt {code.attempt} is planned"
    for workflow_id, status in evidence.workflows.items():
        if status == "RUNNING":
            redemption = re.search("cr_[a-z0-9]+", workflow_id)
            yield redemption[0] if redemption else workflow_id, f"the workflow {workflow_id} is open"


def audit_is_clean(evidence: Evidence) -> Problems:
    for finding in evidence.findings:
        yield finding.subject.removeprefix("redemption "), f"{finding.invariant}: {finding.detail}"


# The catalogue. The most serious first: chaos prints all that is known about the first violation.

LEDGER: Mapping[str, Callable[[State], Problems]] = {
    "a code works from its purchase to its use or refund, and no other code works": codes_work_while_paid,
    "a lot's remaining points are the sum of its entries": lots_add_up,
    "a lot has at least 0 points and at most its award": lots_keep_their_bounds,
    "the draws of an attempt are its reserve entries": draws_are_entries,
    "a pending or paid redemption holds its cost, any other holds nothing": costs_are_held,
    "a reward is not redeemed more often than its cap": caps_hold,
    "no customer redeems a reward more often than its limit": limits_hold,
}
CATALOGUE: Mapping[str, Callable[[Evidence], Problems]] = {
    "a purchase is as it was answered": purchases_are_as_answered,
    "a refund is as it was answered, and was requested": refunds_are_as_answered,
    "points add up": points_add_up,
    **LEDGER,
    "every purchase and refund is delivered on every channel": events_are_delivered,
    "nothing else is delivered, and duplicates have one id": nothing_else_is_delivered,
    "everything has ended": everything_has_ended,
    "the audit finds nothing": audit_is_clean,
}

AnyState = TypeVar("AnyState", bound=State)


@dataclass(frozen=True, kw_only=True)
class Violation:
    invariant: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.subject} {self.detail}"


def violations(state: AnyState, catalogue: Mapping[str, Callable[[AnyState], Problems]]) -> list[Violation]:
    """Check every invariant of the catalogue."""
    return [
        Violation(invariant=sentence, subject=subject, detail=detail)
        for sentence, check in catalogue.items()
        for subject, detail in check(state)
    ]
