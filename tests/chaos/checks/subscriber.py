"""What must be true of the webhooks that came to the merchant's own system."""

from uuid import UUID

from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence, News
from tests.chaos.subscriber import Heard


def hears_the_same_each_time(evidence: Evidence) -> Found:
    """Every request is signed; news has one delivery id and one body, and the id no other news, on every try."""
    by_id: dict[UUID, Heard] = {}
    by_news: dict[News, UUID] = {}
    redemptions = {one.code: one.redemption_id for one in evidence.codes}
    for one in evidence.heard:
        about = redemptions.get(one.code, one.code)
        if one.fault:
            yield about, f"the subscriber must not believe {one.id}: {one.fault}"
        first = by_id.setdefault(one.id, one)
        if (one.body, one.kind) != (first.body, first.kind):
            yield about, f"{one.id} was {first.body!r} first, and {one.body!r} then"
        known = by_news.setdefault((one.code, one.kind), one.id)
        if one.id != known:
            yield about, f"{one.kind} came as {known} first, and as {one.id} then"
