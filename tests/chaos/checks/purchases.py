"""What must be true of purchases and of the codes that come of them."""

from db.tables import Redemption
from domain.redemptions import CAPTURED, USED
from tests.chaos.checks.found import Found
from tests.chaos.evidence import Evidence
from tests.chaos.records import Answer
from tests.chaos.wishes import Purchase
from tests.chaos.world import CAPPED, Json


def bought_is_bought(evidence: Evidence) -> Found:
    """A 201 is kept, whatever happens; the code works until it is used or given back."""
    for purchase in evidence.wishes.purchases:
        if not purchase.bought:
            continue
        row, answer = evidence.row_of(purchase), purchase.bought[0]
        if row is None or row.status not in CAPTURED or row.id != answer.redemption_id:
            yield answer.redemption_id, f"201, but the row is {_status(row)}"
            continue
        live = evidence.live.get(row.id, [])
        works = [(one["code"], one["customers"]) for one in live]
        if not _may_be_gone(evidence, row) and works != [(answer.discount_code, [purchase.customer])]:
            yield row.id, f"201 with {answer.discount_code} for {purchase.customer}, live: {_short(live)}"


def nothing_else_left_a_code(evidence: Evidence) -> Found:
    """Whoever was told no has nothing, and there is no code that nobody paid for."""
    for redemption_id, live in evidence.live.items():
        row, purchase = evidence.rows.get(redemption_id), evidence.purchase_of.get(redemption_id)
        if row is None or purchase is None or row.status not in CAPTURED:
            yield redemption_id, f"live: {_short(live)}, while the row is {_status(row)}"
        elif told := _said_no(purchase):
            yield redemption_id, f"the customer was told {told.word} and never 201, and live is {_short(live)}"


def cap_holds(evidence: Evidence) -> Found:
    """What was given back can be had again; the rest is no more than there was."""
    capped = [row.id for row in evidence.captured if row.reward_id == CAPPED and not row.is_refunded]
    if len(capped) > evidence.world.cap:
        yield capped[-1], f"{len(capped)} of {evidence.world.cap} were given"


def nobody_unknown(evidence: Evidence) -> Found:
    """No redemption, and no code, that no customer asked for."""
    known = evidence.rows.keys() | {one.redemption_id for one in evidence.codes}
    for redemption_id in known - evidence.purchase_of.keys():
        yield redemption_id, "no customer asked for this redemption"


def _may_be_gone(evidence: Evidence, row: Redemption) -> bool:
    """Whether the code need not work any more. Of used ones, a refund that is then refused may have removed some."""
    return row.is_refunded or row.status == USED or row.id in evidence.order_of


def _said_no(purchase: Purchase) -> Answer | None:
    """The last answer, when it must not leave a code. Somebody who then asked, and heard nothing, may have one."""
    if any(answer.status == 201 for answer in purchase.answers):
        return None
    heard = [answer for answer in purchase.answers if answer.status is not None and not answer.is_blind]
    lost = [answer.began for answer in purchase.answers if answer.status is None or answer.is_blind]
    last = max(heard, key=lambda answer: answer.ended, default=None)
    return None if last is None or any(began > last.ended for began in lost) else last


def _status(row: Redemption | None) -> str:
    return row.status if row else "missing"


def _short(live: list[Json]) -> str:
    return ", ".join(f"{one['code']} of {one['customers']}" for one in live) or "none"
