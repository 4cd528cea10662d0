"""What must be true when all is over. Each check looks at the evidence from one side; together they leave no gap."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chaos.evidence import MARKETING, Evidence
from chaos.records import Answer, Purchase
from chaos.world import CAPPED, COSTS
from db.tables import Delivery, Redemption
from domain.channels import Channel
from domain.redemptions import ACTIVE, FAILED

EXPECTED = frozenset(
    {
        "201",
        "404 customer_not_found",
        "404 reward_not_found",
        "422 insufficient_points",
        "422 reward_sold_out",
        "503 shopify_unavailable",
        "503 engine_unavailable",
    }
)

# Nobody subscribes to webhooks here.
CHANNELS = [channel for channel in Channel if channel is not Channel.WEBHOOKS]


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Something that must not be. `about` is a redemption, a purchase's key, or neither."""

    rule: str
    about: str
    detail: str


Found = Iterator[tuple[str, str]]
"""What it is about, and what is wrong with it."""


def violations(evidence: Evidence) -> list[Violation]:
    """Everything that is not as it must be."""
    return [
        Violation(rule=rule, about=about, detail=detail)
        for rule, check in RULES.items()
        for about, detail in check(evidence)
    ]


def _all_is_settled(evidence: Evidence) -> Found:
    for row in evidence.rows.values():
        if row.status not in {ACTIVE, FAILED}:
            yield row.id, f"the row is {row.status}"
    for run, status in evidence.runs.items():
        if status == "RUNNING":
            yield run.split("-")[1], f"the workflow {run} is still open"
    for one in evidence.codes:
        if one.state == "planned":
            yield one.redemption_id, f"the code of attempt {one.attempt} is neither live nor voided"
    for what, number in evidence.still_open.items():
        yield "all", f"{number} {what} when patience ran out"


def _answers_are_of_the_table(evidence: Evidence) -> Found:
    for purchase in evidence.purchases:
        for answer in (*purchase.answers, *purchase.afterwards):
            if answer.status is not None and answer.word not in EXPECTED:
                yield purchase.key, f"{answer.api} answered {answer.word}: {answer.text[:200]}"


def _bought_is_bought(evidence: Evidence) -> Found:
    for purchase in evidence.purchases:
        if not purchase.bought:
            continue
        row, answer = evidence.row_of(purchase), purchase.bought[0]
        if row is None or row.status != ACTIVE or row.id != answer.redemption_id:
            yield answer.redemption_id, f"201, but the row is {row.status if row else 'missing'}"
        live = evidence.live.get(answer.redemption_id, [])
        if [(one["code"], one["customers"]) for one in live] != [(answer.discount_code, [purchase.customer])]:
            yield answer.redemption_id, f"201 with {answer.discount_code} for {purchase.customer}, live: {_short(live)}"


def _nothing_else_left_a_code(evidence: Evidence) -> Found:
    for redemption_id, live in evidence.live.items():
        row, purchase = evidence.rows.get(redemption_id), evidence.purchase_of.get(redemption_id)
        if row is None or purchase is None or row.status != ACTIVE:
            yield redemption_id, f"live: {_short(live)}, while the row is {row.status if row else 'missing'}"
        elif told := _said_no(purchase):
            yield redemption_id, f"the customer was told {told.word} and never 201, and live is {_short(live)}"


def _said_no(purchase: Purchase) -> Answer | None:
    """The last answer, when it must not leave a code. Somebody who then asked, and heard nothing, may have one."""
    if any(answer.status == 201 for answer in purchase.answers):
        return None
    heard = [answer for answer in purchase.answers if answer.status is not None and not answer.is_blind]
    lost = [answer.began for answer in purchase.answers if answer.status is None or answer.is_blind]
    last = max(heard, key=lambda answer: answer.ended, default=None)
    return None if last is None or any(began > last.ended for began in lost) else last


def _decided_once(evidence: Evidence) -> Found:
    for purchase in evidence.purchases:
        decided = {(one.status, one.text) for one in (*purchase.answers, *purchase.afterwards) if one.is_decided}
        if len(decided) > 1:
            yield purchase.key, f"{len(decided)} different decided answers: {sorted(decided, key=str)}"


def _who_asks_again_hears_of_it(evidence: Evidence) -> Found:
    for purchase in evidence.purchases:
        row = evidence.row_of(purchase)
        if row and row.status == ACTIVE and not purchase.bought:
            yield row.id, f"active, but who asks again hears {[one.word for one in purchase.afterwards]}"


def _points_add_up(evidence: Evidence) -> Found:
    active = [row for row in evidence.rows.values() if row.status == ACTIVE]
    for customer, points in evidence.world.points.items():
        spent = sum(COSTS[row.reward_id] for row in active if row.customer_id == customer)
        if evidence.balances[customer] != points - spent:
            yield customer, f"began with {points}, spent {spent}, and has {evidence.balances[customer]}"


def _everybody_is_told(evidence: Evidence) -> Found:
    of: dict[str, dict[str, Delivery]] = {}
    for delivery in evidence.deliveries:
        of.setdefault(delivery.redemption_id, {})[delivery.channel] = delivery
    for row in evidence.rows.values():
        if row.status == ACTIVE:
            for wrong in _untold(evidence, row, of.get(row.id, {})):
                yield row.id, wrong


def _untold(evidence: Evidence, row: Redemption, deliveries: dict[str, Delivery]) -> Iterator[str]:
    code = evidence.code_of(row) or "?"
    for channel in CHANNELS:
        status = deliveries[channel].status if channel in deliveries else "missing"
        if status != "sent" and (channel, status) != (Channel.POSTSCRIPT, "unknown"):
            yield f"{channel} is {status}"
        if channel in MARKETING:
            arrived = evidence.told[channel][code]
            if arrived < (status == "sent"):
                yield f"{channel} is {status}, and nothing arrived"
            if arrived > 1 and channel is not Channel.OMNISEND:  # which has no way to know a repeat
                yield f"{channel} got {arrived} messages"


def _nobody_is_told_of_nothing(evidence: Evidence) -> Found:
    captured = {evidence.code_of(row) for row in evidence.rows.values() if row.status == ACTIVE}
    redemptions = {one.code: one.redemption_id for one in evidence.codes}
    for vendor, codes in evidence.told.items():
        for code in set(codes) - captured:
            yield redemptions.get(code, code), f"{vendor} was told of {code}, which nobody bought"
    for delivery in evidence.deliveries:
        if evidence.rows[delivery.redemption_id].status != ACTIVE:
            yield delivery.redemption_id, f"a delivery on {delivery.channel} of what was not captured"


def _cap_holds(evidence: Evidence) -> Found:
    capped = [row.id for row in evidence.rows.values() if row.reward_id == CAPPED and row.status == ACTIVE]
    if len(capped) > evidence.world.cap:
        yield capped[-1], f"{len(capped)} of {evidence.world.cap} were given"


def _books_are_clean(evidence: Evidence) -> Found:
    for finding in evidence.findings:
        yield finding.subject.removeprefix("redemption "), f"{finding.invariant}: {finding.detail}"


def _nobody_unknown(evidence: Evidence) -> Found:
    known = evidence.rows.keys() | {one.redemption_id for one in evidence.codes}
    for redemption_id in known - evidence.purchase_of.keys():
        yield redemption_id, "no customer asked for this redemption"


def _short(live: list[dict[str, object]]) -> str:
    return ", ".join(f"{one['code']} of {one['customers']}" for one in live) or "none"


# The gravest first: the first violation is the one that is traced.
RULES: dict[str, Callable[[Evidence], Found]] = {
    "every 201 has exactly one live code, its customer's": _bought_is_bought,
    "no answer but 201 leaves a live code": _nothing_else_left_a_code,
    "one key has one decided answer": _decided_once,
    "points add up": _points_add_up,
    "the capped reward is not overshot": _cap_holds,
    "the audit is clean": _books_are_clean,
    "every redemption is somebody's": _nobody_unknown,
    "who asks again for what was captured gets it": _who_asks_again_hears_of_it,
    "every captured redemption is told": _everybody_is_told,
    "nothing else is told": _nobody_is_told_of_nothing,
    "every purchase comes to its end": _all_is_settled,
    "every answer is in the table of answers": _answers_are_of_the_table,
}
