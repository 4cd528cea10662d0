"""What the run of a refund tells, in the words and by the rules of `telling`."""

from activities.attempt import Attempt
from activities.refunds import Refunds
from domain.events import EventKind
from workflows.stages import Stage
from workflows.telling import (
    PENDING,
    Page,
    State,
    Story,
    delivering,
    look_closer,
    needs_attention,
    paragraphs,
    steps_of,
)

REMOVE = Refunds.remove_discount_code.__name__
GIVE_BACK = Refunds.refund_points.__name__


def refund_details(attempt: Attempt) -> str:
    """What holds for a refund."""
    return paragraphs(
        f"A discount code taken back, and its points given back: redemption `{attempt.redemption_id}` "
        f"at `{attempt.shop_domain}`. Who asked for it, and why, is in the activity log.",
        look_closer(attempt),
    )


def _taking_back(page: Page) -> list[str]:
    return [
        "**A refund: the code is taken back, and then the points are given back,** unless the code has been used.",
        steps_of(page),
        f"**What to do:** nothing: it is tried until it is done. {PENDING} "
        "If Shopify refuses, mend the shop's access to it; the run then goes on by itself.",
    ]


def _refund_done(page: Page) -> list[str]:
    refused = "**Not refunded: the code had been used.** The points stay spent."
    is_refunded = page.steps[GIVE_BACK].state is State.DONE
    return [page.story.passed if is_refunded else refused, steps_of(page), "**What to do:** nothing; this is the end."]


REFUND = Story(
    event=EventKind.REWARD_REFUNDED,
    steps=(REMOVE, GIVE_BACK),
    passed="**Refunded: the code is gone, and the points are back.**",
    told={
        Stage.COMPENSATING: _taking_back,
        Stage.DELIVERING: delivering,
        Stage.NEEDS_ATTENTION: needs_attention,
        Stage.DONE: _refund_done,
    },
)
