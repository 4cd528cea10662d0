"""Invariants of customers who were erased during the run."""

from datetime import datetime, timedelta

from db.deliveries import ERASED
from domain.deliveries import DeliveryStatus
from domain.events import EventKind
from tests.chaos.evidence import ChaosEvidence
from tests.chaos.vendors import MAX_DELAY
from tests.evidence import MARKETING, Arrival, Delivery
from tests.invariants import Problems

LOCKED = timedelta(seconds=10)
"""How long an erasure, whose time is the begin of its transaction, may wait for what was there before it."""
IN_FLIGHT = LOCKED + timedelta(seconds=2 * MAX_DELAY)
"""How long a request that was sent before may still arrive."""


def nothing_is_left(evidence: ChaosEvidence) -> Problems:
    for erasure in evidence.requests.erasures:
        if not erasure.final:
            yield erasure.customer, "the webhook was never accepted"
        elif erasure.customer not in evidence.gone.erased_at:
            yield erasure.customer, "is not erased"
    for customer, what in evidence.gone.remains:
        yield customer, f"is erased, and there is {what}"


def vendors_get_nothing_of_erased_customers(evidence: ChaosEvidence) -> Problems:
    for delivery, erased_at in _deliveries(evidence):
        subject = f"{delivery.event} on {delivery.channel}"
        if delivery.attempted_at is not None and delivery.attempted_at > erased_at + LOCKED:
            yield delivery.redemption_id, f"{subject} was sent at {delivery.attempted_at}, erased at {erased_at}"
        if _happened_at(evidence, delivery) > erased_at + LOCKED:
            arrived = evidence.arrived(delivery.redemption_id).get(delivery.channel, ())
            if any(one.event is delivery.event for one in arrived):
                yield delivery.redemption_id, f"{subject} arrived, though it happened after the erasure at {erased_at}"
    yield from _late_events(evidence)
    yield from _late_webhooks(evidence)
    for customer, written_at in evidence.gone.metafields_at.items():
        if written_at > evidence.gone.erased_at[customer] + IN_FLIGHT:
            yield customer, f"a metafield was written at {written_at}, after the erasure"


def _late_events(evidence: ChaosEvidence) -> Problems:
    """Events that a vendor received behind one that happened long after the erasure."""
    for channel in MARKETING:
        received_at = evidence.shop.began
        for one in evidence.arrivals[channel]:
            row = evidence.ledger.by_id.get(one.redemption_id)
            received_at = max(received_at, _happened_at(evidence, one) if row else received_at)
            erased_at = evidence.gone.erased_at.get(row.customer_id) if row else None
            if row and erased_at and received_at > erased_at + IN_FLIGHT:
                yield row.id, f"{one.event} reached {channel} after {received_at}, erased at {erased_at}"


def _late_webhooks(evidence: ChaosEvidence) -> Problems:
    redemptions = {code.code: evidence.ledger.by_id[code.redemption_id] for code in evidence.ledger.discount_codes}
    for webhook in evidence.webhooks:
        row = redemptions.get(webhook.code)
        erased_at = evidence.gone.erased_at.get(row.customer_id) if row else None
        if row and erased_at and webhook.at > erased_at + IN_FLIGHT:
            yield row.id, f"{webhook.event} reached the subscriber at {webhook.at}, erased at {erased_at}"


def skipped_as_erased(evidence: ChaosEvidence) -> Problems:
    for delivery, erased_at in _deliveries(evidence):
        is_late = _happened_at(evidence, delivery) > erased_at + LOCKED
        is_skipped = delivery.status is DeliveryStatus.SKIPPED
        if is_late and not is_skipped:
            yield delivery.redemption_id, f"{delivery.event} on {delivery.channel} is {delivery.status}, not skipped"
        events = evidence.ledger.events_of(evidence.ledger.by_id[delivery.redemption_id])
        may_be_outdated = delivery.event in events[:-1]
        if is_skipped and delivery.last_error != ERASED and not may_be_outdated:
            yield delivery.redemption_id, f"{delivery.event} on {delivery.channel}: {delivery.last_error}"


def _deliveries(evidence: ChaosEvidence) -> "list[tuple[Delivery, datetime]]":
    """Deliveries of erased customers, with the time of the erasure."""
    customers = {row.id: row.customer_id for row in evidence.ledger.redemptions}
    erased_at = evidence.gone.erased_at
    of_erased = [one for one in evidence.ledger.deliveries if customers[one.redemption_id] in erased_at]
    return [(one, erased_at[customers[one.redemption_id]]) for one in of_erased]


def _happened_at(evidence: ChaosEvidence, event: Delivery | Arrival) -> datetime:
    captured_at, refunded_at = evidence.gone.happened_at[event.redemption_id]
    # A reissue happens later than the capture; its redemption can be refunded long after it.
    return (refunded_at if event.event is EventKind.REWARD_REFUNDED else captured_at) or evidence.shop.began
