"""Everything that is known about one redemption, for whoever has to find out how it came to this."""

from collections.abc import Iterator

from chaos.evidence import Evidence, redemption_of
from chaos.records import Purchase, Tally
from db.tables import Base


def trace(evidence: Evidence, tally: Tally, about: str) -> list[str]:
    """Lines about a redemption, or about the purchase with this key."""
    claim = evidence.keys.get(about)
    redemption_id = claim.redemption_id if claim else about
    purchase = next((one for one in evidence.purchases if one.key == about), evidence.purchase_of.get(redemption_id))
    return [
        *(_asked(purchase) if purchase else (f"about {about}",)),
        *_ledger(evidence, redemption_id, purchase),
        *_vendors(evidence, redemption_id),
        *(f"workflow {run}: {status}" for run, status in evidence.runs.items() if redemption_id in run),
        *(
            f"diary    {line}"
            for line in tally.diary
            if redemption_id in line or (purchase and _is_near(purchase, line))
        ),
    ]


def _asked(purchase: Purchase) -> Iterator[str]:
    yield f"purchase {purchase.key}: {purchase.reward} for {purchase.customer}"
    for one in (*purchase.answers, *purchase.afterwards):
        yield f"answer   {one.began:%H:%M:%S.%f} to {one.ended:%H:%M:%S.%f} {one.api}: {one.word}  {one.text[:300]}"


def _ledger(evidence: Evidence, redemption_id: str, purchase: Purchase | None) -> Iterator[str]:
    claim, row = purchase and evidence.keys.get(purchase.key), evidence.rows.get(redemption_id)
    yield from (_shown(one) for one in (claim, row) if one is not None)
    for one in (*evidence.codes, *evidence.draws, *evidence.entries, *evidence.deliveries):
        if one.redemption_id == redemption_id:
            yield _shown(one)


def _vendors(evidence: Evidence, redemption_id: str) -> Iterator[str]:
    for one in evidence.discounts:
        if redemption_of(one) == redemption_id:
            yield f"shopify  {one['status']} {one['code']} for {one['customers']}, {one['tags']}, ends {one['ends_at']}"
    codes = [one.code for one in evidence.codes if one.redemption_id == redemption_id]
    for vendor, told in evidence.told.items():
        yield from (f"{vendor:<8} {told[code]} messages with {code}" for code in codes if told[code])


def _shown(row: Base) -> str:
    values = {column.key: getattr(row, column.key) for column in row.__table__.columns}
    known = (f"{name}={value}" for name, value in values.items() if value is not None)
    return f"{row.__tablename__}: {', '.join(known)}"


def _is_near(purchase: Purchase | None, line: str) -> bool:
    """Whether a line of the diary is of the time when the purchase was being made."""
    if purchase is None or not purchase.answers or ("killed" not in line and "shopify" not in line):
        return False
    began = min(answer.began for answer in purchase.answers)
    ended = max(answer.ended for answer in purchase.answers)
    return f"{began:%H:%M:%S}" <= line[:8] <= f"{ended:%H:%M:%S}"
