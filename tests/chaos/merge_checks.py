"""Invariants of customers who were merged during the run."""

from datetime import datetime, timedelta

from tests.chaos.evidence import ChaosEvidence
from tests.chaos.subscriber import Webhook
from tests.evidence import Redemption
from tests.invariants import Problems

LOCKED = timedelta(seconds=10)
"""How long a merge, whose time is the begin of its transaction, may wait for what was there before it."""


def merges_happen_once(evidence: ChaosEvidence) -> Problems:
    """That no point is lost or doubled is seen by the sums: the survivor is expected to have the points of both."""
    logged = evidence.logged_merges
    for merge in evidence.requests.merges:
        if not merge.final:
            yield merge.customer, "the webhook was never accepted"
        elif logged.times[merge.customer] != 1:
            yield merge.customer, f"was merged {logged.times[merge.customer]} times"
        elif evidence.survivor(logged.into[merge.customer]) != evidence.survivor(merge.kept):
            yield merge.customer, f"was merged into {logged.into[merge.customer]} instead of {merge.kept}"
    for customer in logged.into.keys() - evidence.merged.keys():
        yield customer, "was merged, which was not requested"


def merged_customers_have_nothing(evidence: ChaosEvidence) -> Problems:
    ledger = evidence.ledger
    for row in (*ledger.point_lots, *ledger.ledger_entries, *ledger.redemptions):
        if row.customer_id in evidence.logged_merges.into:
            yield row.customer_id, f"was merged and has {row!r}"


def later_codes_are_the_survivors(evidence: ChaosEvidence) -> Problems:
    """Shopify merges the customers of codes that exist. A code that comes after the merge must be the survivor's."""
    rows = {code.code: evidence.ledger.by_id[code.redemption_id] for code in evidence.ledger.discount_codes}
    for discount in evidence.discounts:
        row = rows.get(discount["code"])
        for customer in discount["customers"] if row and discount["status"] == "live" else ():
            merged_at = evidence.logged_merges.at.get(customer)
            given_at = _given_at(evidence, row, discount["code"]) if row else None
            if merged_at and given_at and row and given_at > merged_at + LOCKED:
                yield row.id, f"{discount['code']} is of {customer}, given at {given_at}, merged at {merged_at}"


def _given_at(evidence: ChaosEvidence, row: Redemption, code: str) -> datetime | None:
    is_reissued = code == evidence.code_of(row) and row.id in evidence.reissued_at
    return evidence.reissued_at[row.id] if is_reissued else row.captured_at


def comparable(evidence: ChaosEvidence, webhook: Webhook) -> object:
    """The body of a webhook. A merge may change whom it names: the event is sent for who has the redemption."""
    survivor = evidence.survivor(webhook.customer)
    if survivor not in evidence.merged.values():
        return webhook.request.body
    content = webhook.request.content
    return repr({**content, "data": {**content["data"], "shopify_customer_id": survivor}})
