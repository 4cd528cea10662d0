"""What must be true of what others were told."""

from collections.abc import Iterator

from db.tables import Delivery, Redemption
from domain.channels import Channel
from domain.events import EventKind
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence

REPEATS = (Channel.OMNISEND, Channel.WEBHOOKS)
"""The first has no way to know a repeat; the second is told of one by the delivery's id."""


def everybody_is_told(evidence: Evidence) -> Found:
    """Each channel, of each capture and of each refund; of a capture only if it was not refunded before."""
    kept = {(one.redemption_id, one.event, one.channel): one for one in evidence.deliveries}
    for row in evidence.captured:
        for kind in _happened(row):
            for channel in Channel:
                for wrong in _untold(evidence, row, kind, channel, kept.get((row.id, kind, channel))):
                    yield row.id, f"{kind} on {channel} {wrong}"


def nobody_is_told_of_nothing(evidence: Evidence) -> Found:
    """No news of what did not happen."""
    true = {(evidence.code_of(row), kind) for row in evidence.captured for kind in _happened(row)}
    redemptions = {one.code: one.redemption_id for one in evidence.codes}
    for channel, told in evidence.told.items():
        for code, kind in set(told) - true:
            yield redemptions.get(code, code), f"{channel} was told {kind} of {code}"
    for one in evidence.deliveries:
        if one.event not in _happened(evidence.rows[one.redemption_id]):
            yield one.redemption_id, f"a delivery of {one.event} on {one.channel}"


def _happened(row: Redemption) -> list[EventKind]:
    captured = [EventKind.REWARD_REDEEMED] if row.captured_at else []
    return [*captured, EventKind.REWARD_REFUNDED] if row.is_refunded else captured


def _untold(
    evidence: Evidence, row: Redemption, kind: EventKind, channel: Channel, delivery: Delivery | None
) -> Iterator[str]:
    status = delivery.status if delivery else "missing"
    fine = {"sent"}
    if channel is Channel.POSTSCRIPT:
        fine.add("unknown")
    if row.is_refunded and kind is EventKind.REWARD_REDEEMED:
        fine.add("skipped")
    if status not in fine:
        yield f"is {status}"
    if channel in evidence.told:
        arrived = evidence.told[channel][evidence.code_of(row) or "?", kind]
        if status == "sent" and not arrived:
            yield "is sent, and nothing arrived"
        if arrived > 1 and channel not in REPEATS:
            yield f"arrived {arrived} times"
