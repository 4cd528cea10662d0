"""Everything that is known about one redemption, wish or customer, for whoever has to find out how it came to this."""

from collections.abc import Iterator

from db.tables import Base
from tests.chaos.evidence import Evidence, redemption_of
from tests.chaos.records import Tally
from tests.chaos.wishes import Wish


def trace(evidence: Evidence, tally: Tally, about: str) -> list[str]:
    """Lines about a redemption, about the purchase or the adjustment with this key, or about a customer."""
    claim = evidence.keys.get(about)
    named = claim.redemption_id if claim else about
    wishes = _wishes(evidence, about, named)
    return [
        *([line for wish in wishes for line in _asked(wish)] or [f"about {about}"]),
        *_ledger(evidence, about, named),
        *_vendors(evidence, named),
        *_subscriber(evidence, named),
        *(f"workflow {run}: {status}" for run, status in evidence.runs.items() if named in run),
        *(f"diary    {line}" for line in tally.diary if named in line or any(_is_near(one, line) for one in wishes)),
    ]


def _wishes(evidence: Evidence, about: str, named: str) -> list[Wish]:
    purchase = evidence.purchase_of.get(named)
    return [wish for wish in evidence.wishes if wish is purchase or wish.name in (about, named)]


def _asked(wish: Wish) -> Iterator[str]:
    what = f"{type(wish).__name__.lower():<8}"
    yield f"{what} {wish.name}: {wish.request.path} {wish.request.body.decode()}"
    for one in (*wish.answers, *wish.afterwards):
        yield f"answer   {one.began:%H:%M:%S.%f} to {one.ended:%H:%M:%S.%f} {one.api}: {one.word}  {one.text[:300]}"


def _ledger(evidence: Evidence, about: str, named: str) -> Iterator[str]:
    known: list[Base | None] = [evidence.keys.get(about), evidence.rows.get(named), evidence.refunds.get(named)]
    known += [one for one in evidence.earnings if one.id == named]
    of_redemption = (*evidence.codes, *evidence.draws, *evidence.entries, *evidence.deliveries, *evidence.log)
    known += [one for one in of_redemption if one.redemption_id == named]
    known += [one for one in (*evidence.lots.values(), *evidence.entries) if one.customer_id == about]
    yield from (_shown(one) for one in known if one is not None)


def _vendors(evidence: Evidence, redemption_id: str) -> Iterator[str]:
    for one in evidence.discounts:
        if redemption_of(one) == redemption_id:
            uses = f"used {one['uses']} times, ends {one['ends_at']}"
            yield f"shopify  {one['status']} {one['code']} for {one['customers']}, {one['tags']}, {uses}"
    for vendor, told in evidence.told.items():
        for (code, kind), times in told.items():
            if code in _codes(evidence, redemption_id):
                yield f"{vendor:<8} {kind} of {code}, {times} times"


def _subscriber(evidence: Evidence, redemption_id: str) -> Iterator[str]:
    for one in evidence.heard:
        if one.code in _codes(evidence, redemption_id):
            yield f"heard    {one.at:%H:%M:%S.%f} {one.kind} as {one.id}, {one.mood}"


def _codes(evidence: Evidence, redemption_id: str) -> list[str]:
    return [one.code for one in evidence.codes if one.redemption_id == redemption_id]


def _shown(row: Base) -> str:
    values = {column.key: getattr(row, column.key) for column in row.__table__.columns}
    known = (f"{name}={value}" for name, value in values.items() if value is not None)
    return f"{row.__tablename__}: {', '.join(known)}"


def _is_near(wish: Wish, line: str) -> bool:
    """Whether a line of the diary is of the time when the wish was being made."""
    if not wish.answers or ("killed" not in line and "shopify" not in line):
        return False
    began = min(answer.began for answer in wish.answers)
    ended = max(answer.ended for answer in wish.answers)
    return f"{began:%H:%M:%S}" <= line[:8] <= f"{ended:%H:%M:%S}"
