"""What must be true of how things end, and of how people hear of it."""

import re

from domain.redemptions import CAPTURED, PENDING
from domain.refunds import PENDING as REFUND_PENDING
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence


def all_is_settled(evidence: Evidence) -> Found:
    """Nothing is left half-way."""
    for row in evidence.rows.values():
        if row.status == PENDING:
            yield row.id, "the row is pending"
    for refund in evidence.refunds.values():
        if refund.state == REFUND_PENDING:
            yield refund.redemption_id, "the refund is pending"
    for run, status in evidence.runs.items():
        if status == "RUNNING":
            yield _redemption_of_run(run), f"the workflow {run} is still open"
    for one in evidence.codes:
        if one.state == "planned":
            yield one.redemption_id, f"the code of attempt {one.attempt} is neither live nor voided"
    for what, number in evidence.still_open.items():
        yield "all", f"{number} {what} when patience ran out"


def answers_are_of_the_table(evidence: Evidence) -> Found:
    """The API says nothing else."""
    for wish in evidence.wishes:
        for answer in (*wish.answers, *wish.afterwards):
            if answer.status is not None and answer.word not in wish.allowed:
                yield wish.name, f"{type(wish).__name__}: {answer.api} answered {answer.word}: {answer.text[:200]}"


def decided_once(evidence: Evidence) -> Found:
    """Whoever asks again hears the same, to the byte."""
    for wish in evidence.wishes:
        different = {(answer.status, answer.text) for answer in wish.decided}
        if len(different) > 1:
            yield wish.name, f"{type(wish).__name__}: {len(different)} decided answers: {sorted(different, key=str)}"


def who_asks_again_hears_of_it(evidence: Evidence) -> Found:
    """What was done, but not heard of, is heard of at last."""
    for purchase in evidence.wishes.purchases:
        row = evidence.row_of(purchase)
        if row and row.status in CAPTURED and not purchase.bought:
            yield row.id, f"{row.status}, but who asks again hears {[one.word for one in purchase.afterwards]}"
    for refund in evidence.wishes.refunds:
        if refund.redemption_id in evidence.refunds and not refund.decided:
            yield refund.redemption_id, f"who asks again for the refund hears {[one.word for one in refund.afterwards]}"


def _redemption_of_run(run: str) -> str:
    found = re.search("cr_[a-z0-9]+", run)
    return found[0] if found else run
