"""What must be true of points: none is made, none is lost."""

from collections import Counter
from datetime import timedelta

from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence
from tests.chaos.world import COSTS

BLINK = timedelta(seconds=2)
"""An entry's time is that at which its transaction began; the clock was read a little later."""


def add_up(evidence: Evidence) -> Found:
    """What a customer began with, less what was spent and not given back, as answered."""
    spent, given, gone = _spent(evidence), _given(evidence), _expired(evidence)
    for customer, awards in evidence.world.awards.items():
        began = sum(award.points for award in awards)
        due = began - spent[customer] + given[customer] - gone[customer]
        if evidence.balances[customer] != due:
            yield (
                customer,
                f"began with {began}, spent {spent[customer]}, was given {given[customer]}, lost {gone[customer]}, "
                f"and has {evidence.balances[customer]} instead of {due}",
            )


def adjusted_once(evidence: Evidence) -> Found:
    """An adjustment has one entry of its own, as it was answered, and the ledger has moved by no more than these."""
    kept = {one.id: one.points for one in evidence.earnings if one.action == "adjustment"}
    for adjustment in evidence.wishes.adjustments:
        claim, answer = evidence.keys.get(adjustment.key), next(iter(adjustment.decided), None)
        if claim is None or answer is None or answer.status != 200:
            yield adjustment.key, f"answered {answer and answer.word}, its key is {'kept' if claim else 'unknown'}"
        elif (points := kept.get(claim.redemption_id, 0)) != answer.adjustment:
            yield adjustment.key, f"answered {answer.adjustment}, and {points} is kept"
    moved, given = _sum(evidence, "adjust"), _given(evidence)
    for customer in moved.keys() | given.keys():
        if moved[customer] != given[customer]:
            yield customer, f"adjusted by {given[customer]} as answered, and by {moved[customer]} in the ledger"


def expire_in_time(evidence: Evidence) -> Found:
    """Points go when their award has run out, and not before; from then on nobody spends them."""
    ends = {award.id: award.expires_at for awards in evidence.world.awards.values() for award in awards}
    for entry in evidence.entries:
        lot, at = evidence.lots[entry.lot_id], entry.created_at
        end = ends.get(lot.import_id or "")
        if entry.kind == "expire" and (end is None or at + BLINK < end):
            yield entry.customer_id, f"{-entry.points} points of lot {lot.id} expired at {at}, due {end}"
        if entry.kind == "reserve" and lot.expires_at is not None and at > lot.expires_at:
            yield entry.redemption_id or "?", f"drawn at {at} from lot {lot.id}, gone at {lot.expires_at}"


def expire_at_all(evidence: Evidence) -> Found:
    """What has run out is emptied."""
    over = evidence.world.began + timedelta(seconds=evidence.world.seconds)
    for lot in evidence.lots.values():
        if lot.remaining and lot.expires_at is not None and lot.expires_at <= over:
            yield lot.customer_id, f"lot {lot.id} ran out at {lot.expires_at} and has {lot.remaining} points"


def books_are_clean(evidence: Evidence) -> Found:
    """What `pointsaga audit` finds."""
    for finding in evidence.findings:
        yield finding.subject.removeprefix("redemption "), f"{finding.invariant}: {finding.detail}"


def _spent(evidence: Evidence) -> Counter[str]:
    spent: Counter[str] = Counter()
    for row in evidence.captured:
        spent[row.customer_id] += 0 if row.is_refunded else COSTS[row.reward_id]
    return spent


def _given(evidence: Evidence) -> Counter[str]:
    """What adjustments gave, and took, as they were answered."""
    given: Counter[str] = Counter()
    for adjustment in evidence.wishes.adjustments:
        for answer in adjustment.decided[:1]:
            given[adjustment.customer] += answer.adjustment
    return given


def _expired(evidence: Evidence) -> Counter[str]:
    return Counter({customer: -points for customer, points in _sum(evidence, "expire").items()})


def _sum(evidence: Evidence, kind: str) -> Counter[str]:
    moved: Counter[str] = Counter()
    for entry in evidence.entries:
        moved[entry.customer_id] += entry.points if entry.kind == kind else 0
    return moved
