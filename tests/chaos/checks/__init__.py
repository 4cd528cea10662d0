"""What must be true when all is over. Each check looks at the evidence from one side; together they leave no gap."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.chaos.checks import ends, news, points, purchases, refunds, subscriber
from tests.chaos.evidence import Evidence


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Something that must not be. `about` is a redemption, the name of a wish, a customer, or nothing of these."""

    rule: str
    about: str
    detail: str


def violations(evidence: Evidence) -> list[Violation]:
    """Everything that is not as it must be."""
    return [
        Violation(rule=rule, about=about, detail=detail)
        for rule, check in RULES.items()
        for about, detail in check(evidence)
    ]


# The gravest first: the first violation is the one that is traced.
RULES: dict[str, Callable[[Evidence], Iterator[tuple[str, str]]]] = {
    "every 201 has exactly one live code, its customer's": purchases.bought_is_bought,
    "no answer but 201 leaves a live code": purchases.nothing_else_left_a_code,
    "no code is live after its refund": refunds.no_code_outlives_its_refund,
    "a code is used, or its points are given back: never both": refunds.used_or_refunded,
    "a refund is as it was answered": refunds.answered_is_so,
    "nothing is refunded that nobody asked for": refunds.nobody_refunds_by_himself,
    "one wish has one decided answer": ends.decided_once,
    "points add up": points.add_up,
    "an adjustment is made once, as it was answered": points.adjusted_once,
    "points expire when they have run out, and are not spent then": points.expire_in_time,
    "points that have run out are gone": points.expire_at_all,
    "the capped reward is not overshot": purchases.cap_holds,
    "the audit is clean": points.books_are_clean,
    "every redemption is somebody's": purchases.nobody_unknown,
    "every order that was told of counts": refunds.orders_count,
    "who asks again for what was done hears of it": ends.who_asks_again_hears_of_it,
    "every captured redemption is told, and every refund": news.everybody_is_told,
    "nothing else is told": news.nobody_is_told_of_nothing,
    "a webhook is genuine, and the same on every try": subscriber.hears_the_same_each_time,
    "everything comes to its end": ends.all_is_settled,
    "every answer is in the table of answers": ends.answers_are_of_the_table,
}
