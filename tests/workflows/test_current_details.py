"""Current details, rendered from progress: what an operator who does not know the code can read and do."""

from datetime import UTC, datetime
from functools import partial

import pytest

from activities.attempt import Attempt, Failure
from activities.refunds import Refunds
from activities.reissues import Reissues
from domain.channels import Channel
from domain.eligibility import Refusal, RefusalCode
from domain.events import EventKind
from domain.failures import FailureCode
from workflows.current_details import (
    GENERATE,
    REFUND_POINTS,
    REISSUE,
    RESERVE,
    current_details,
    quoted,
    reconciliation_details,
    refund_details,
    settlement_details,
    static_details,
    webhook_details,
)
from workflows.progress import Progress, Stage, StepProgress, StepState

RETIRE = Reissues.retire_discount_code.__name__
REMOVE = Refunds.remove_discount_code.__name__
DONE = StepProgress(StepState.DONE)
IN_PROGRESS = StepProgress(StepState.IN_PROGRESS)
COMPENSATING = StepProgress(StepState.COMPENSATING)
COMPENSATED = StepProgress(StepState.COMPENSATED)
REJECTED = StepProgress(StepState.REJECTED, "HTTP 401: bad key")
ATTEMPT = Attempt(
    shop_id=1,
    shop_domain="a.myshopify.com",
    redemption_id="cr_abc",
    number=2,
    customer_id="678",
    reward_id="reward_abc",
    deadline=datetime(2026, 11, 5, 17, 42, 30, tzinfo=UTC),
    channels=[Channel.KLAVIYO, Channel.METAFIELDS],
)


Steps = dict[str, StepProgress]


def details(event: EventKind, stage: Stage, steps: Steps, *, failure: str = "", refusal: Refusal | None = None) -> str:
    progress = Progress(attempt=ATTEMPT, event=event, stage=stage, render=current_details)
    progress.steps |= steps
    progress.failure = Failure(code=FailureCode.REQUEST_REJECTED, reason=failure) if failure else None
    progress.refusal = refusal
    return current_details(progress)


def captured(stage: Stage, **channels: StepProgress) -> str:
    """A captured purchase."""
    return purchase(stage, {RESERVE: DONE, GENERATE: DONE, **channels})


purchase = partial(details, EventKind.REWARD_REDEEMED)
refund = partial(details, EventKind.REWARD_REFUNDED)
reissue = partial(details, EventKind.REWARD_REISSUED)


def test_a_purchase_shows_steps_and_deadline() -> None:
    text = purchase(Stage.REDEEMING, {RESERVE: DONE, GENERATE: IN_PROGRESS})

    assert "17:42:30 UTC" in text
    assert "- Reserve points: **done**\n" in text
    assert "- Generate discount code and capture: **in progress**\n" in text
    assert "- Deliver to `klaviyo`: **not started**\n" in text


def test_points_are_shown_as_released_once_they_are() -> None:
    assert "points released" not in purchase(Stage.COMPENSATING, {RESERVE: COMPENSATING})

    text = purchase(Stage.COMPENSATING, {RESERVE: COMPENSATED, GENERATE: COMPENSATING})
    assert "points released" in text
    assert "none while Shopify is down" in text
    assert "klaviyo" not in text, "a compensated purchase has no event"


def test_a_slow_delivery_can_be_skipped() -> None:
    text = captured(Stage.DELIVERING, klaviyo=IN_PROGRESS, metafields=DONE)

    assert "**Waiting for** `klaviyo`." in text
    assert "`pointsaga skip cr_abc --channel klaviyo" in text
    assert "--channel metafields" not in text


def test_a_rejected_delivery_shows_reason_and_actions() -> None:
    text = captured(Stage.NEEDS_ATTENTION, klaviyo=REJECTED)

    assert "**Delivery failed:** `klaviyo` rejected the event." in text
    assert "- Deliver to `klaviyo`: **rejected**, `HTTP 401: bad key`" in text
    assert "`pointsaga retry cr_abc --channel klaviyo`" in text
    assert "`pointsaga skip cr_abc --channel klaviyo --reason" in text


def test_a_finished_purchase_shows_skipped_deliveries() -> None:
    text = captured(Stage.DONE, klaviyo=StepProgress(StepState.SKIPPED, "the shop has left Klaviyo"))

    assert text.startswith("**Purchased.**")
    assert "- Deliver to `klaviyo`: **skipped**, `the shop has left Klaviyo`" in text
    assert "The workflow is finished." in text


def test_a_compensated_purchase_shows_the_reason() -> None:
    text = purchase(Stage.DONE, {RESERVE: COMPENSATED, GENERATE: COMPENSATED}, failure="Shopify: HTTP 401")

    assert text.startswith("**Not purchased.** The points are released and the code cannot be used.")
    assert "**Reason:** `Shopify: HTTP 401`" in text


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (Refusal(code=RefusalCode.REWARD_NOT_FOUND), "`reward_not_found`"),
        (
            Refusal(code=RefusalCode.INSUFFICIENT_POINTS, points_available=0, points_cost=500),
            "`insufficient_points: points available 0, points cost 500`",
        ),
    ],
)
def test_a_refusal_shows_the_customers_reason(refusal: Refusal, reason: str) -> None:
    text = purchase(Stage.DONE, {}, refusal=refusal)

    assert text == f"**Refused, nothing was changed.** The customer got the reason: {reason}."


def test_a_refund_shows_its_steps() -> None:
    text = refund(Stage.REFUNDING, {REMOVE: IN_PROGRESS})

    assert "**Refund in progress.**" in text
    assert "- Remove discount code at Shopify: **in progress**\n" in text
    assert "- Refund points: **not started**\n" in text
    assert "restore the shop's access to Shopify" in text


def test_a_refund_is_shown_as_refunded_during_its_deliveries() -> None:
    done = {REMOVE: DONE, REFUND_POINTS: DONE}

    assert refund(Stage.DELIVERING, {**done, "klaviyo": IN_PROGRESS}).startswith("**Refunded.** The code is removed")
    assert "`klaviyo` rejected the event" in refund(Stage.NEEDS_ATTENTION, {**done, "klaviyo": REJECTED})
    assert "The workflow is finished." in refund(Stage.DONE, done)


def test_a_refused_refund_shows_no_further_steps() -> None:
    text = refund(Stage.DONE, {REMOVE: StepProgress(StepState.REJECTED)})

    assert text.startswith("**Not refunded:** the code was used.")
    assert "Refund points" not in text
    assert "klaviyo" not in text


def test_static_details_name_command_and_document() -> None:
    for text in (static_details(ATTEMPT), settlement_details(ATTEMPT), refund_details(ATTEMPT)):
        assert "redemption `cr_abc`" in text
        assert "shop `a.myshopify.com`" in text
        assert "`pointsaga show cr_abc`" in text
        assert "docs/operations.md" in text
    assert "attempt 2" in static_details(ATTEMPT)
    assert "attempt 2" in settlement_details(ATTEMPT)


def test_a_webhook_shows_its_topic() -> None:
    assert "**Shopify webhook `orders/paid`.**" in webhook_details("orders/paid")


def test_a_reconciliation_lists_recovery_workflows() -> None:
    assert "Nothing to settle" in reconciliation_details([], {})
    assert "- `settlement-cr_abc-2`" in reconciliation_details([ATTEMPT], {})
    assert "- Codes that differed from Shopify: **3**" in reconciliation_details([], {"check_codes": "3"})


def test_quoted_text_is_not_markdown() -> None:
    assert quoted("no\n\n# `rm` <b>\t!") == "`no # 'rm' <b> !`"


def test_a_terminated_workflow_names_its_recovery() -> None:
    """Static details, as a terminated workflow has no other."""
    assert "`settlement-cr_abc-2` finishes its work" in static_details(ATTEMPT)
    assert "`refund-cr_abc` finishes its work" in refund_details(ATTEMPT)


def test_a_reissue_shows_its_steps_and_outcome() -> None:
    text = reissue(Stage.REISSUING, {RETIRE: DONE, REISSUE: IN_PROGRESS})
    assert "- Deactivate the old code at Shopify: **done**\n" in text
    assert "- Create the new code and exchange the two: **in progress**" in text

    assert reissue(Stage.DONE, {RETIRE: DONE, REISSUE: DONE}).startswith("**Reissued.**")
    assert "**Not reissued:**" in reissue(Stage.DONE, {RETIRE: DONE, REISSUE: StepProgress(StepState.REJECTED)})
