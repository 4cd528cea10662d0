"""What an operator who has never seen the code reads about a run, as text."""

from datetime import UTC, datetime

import pytest
from temporalio.exceptions import ApplicationError

from activities.attempt import Attempt
from domain.channels import Channel
from domain.eligibility import Refusal, RefusalCode
from workflows.current_details import (
    GENERATE,
    PURCHASE,
    RESERVE,
    Page,
    current_details,
    quoted,
    reason_of,
    round_details,
    settlement_details,
    static_details,
    webhook_details,
)
from workflows.progress import Stage, State, Step

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


def page(stage: Stage, **steps: Step) -> Page:
    """An attempt in this stage, with its points and its code in this state."""
    told = Page(ATTEMPT, PURCHASE, stage)
    told.steps |= steps
    return told


def past_the_pivot(stage: Stage, **channels: Step) -> str:
    """What is told once the customer has the code."""
    spent = {RESERVE: Step(State.DONE), GENERATE: Step(State.DONE)}
    return current_details(page(stage, **spent, **channels))


def test_a_purchase_under_way_tells_its_steps_and_until_when_the_customer_waits() -> None:
    text = current_details(page(Stage.REDEEMING, **{RESERVE: Step(State.DONE), GENERATE: Step(State.UNDER_WAY)}))

    assert "17:42:30 UTC" in text
    assert "- Reserve the points: **done**\n" in text
    assert "- Make the discount code, spend the points: **under way**\n" in text
    assert "- Tell `klaviyo`: **not yet**\n" in text


def test_points_are_not_said_to_be_back_before_they_are() -> None:
    being_undone = page(Stage.COMPENSATING, **{RESERVE: Step(State.UNDOING)})
    undone = page(Stage.COMPENSATING, **{RESERVE: Step(State.UNDONE), GENERATE: Step(State.UNDOING)})

    assert "points are back" not in current_details(being_undone)
    assert "points are back" in current_details(undone)
    assert "it waits for Shopify" in current_details(undone)
    assert "klaviyo" not in current_details(undone), "nobody will be told of what did not happen"


def test_while_a_vendor_is_down_it_is_named_and_so_is_the_way_to_leave_it() -> None:
    text = past_the_pivot(Stage.DELIVERING, klaviyo=Step(State.UNDER_WAY), metafields=Step(State.DONE))

    assert "**Waits for** `klaviyo`." in text
    assert "`pointsaga skip cr_abc --channel klaviyo" in text
    assert "--channel metafields" not in text


def test_a_refused_delivery_tells_the_vendors_words_and_both_ways_out() -> None:
    text = past_the_pivot(Stage.NEEDS_ATTENTION, klaviyo=Step(State.REFUSED, "HTTP 401: bad key"))

    assert "But `klaviyo` refused" in text
    assert "- Tell `klaviyo`: **refused**, `HTTP 401: bad key`" in text
    assert "`pointsaga retry cr_abc --channel klaviyo`" in text
    assert "`pointsaga skip cr_abc --channel klaviyo --reason" in text


def test_the_end_of_a_purchase_tells_what_was_left_untold_and_why() -> None:
    text = past_the_pivot(Stage.DONE, klaviyo=Step(State.SKIPPED, "the shop has left Klaviyo"))

    assert text.startswith("**Purchased")
    assert "- Tell `klaviyo`: **skipped**, `the shop has left Klaviyo`" in text


def test_the_end_of_a_compensation_tells_why_there_was_no_purchase() -> None:
    told = page(Stage.DONE, **{RESERVE: Step(State.UNDONE), GENERATE: Step(State.UNDONE)})
    told.why = "Shopify: HTTP 401"

    assert current_details(told).startswith("**No purchase: the points are back")
    assert "**Because:** `Shopify: HTTP 401`" in current_details(told)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (Refusal(code=RefusalCode.REWARD_NOT_FOUND), "`reward_not_found`"),
        (
            Refusal(code=RefusalCode.INSUFFICIENT_POINTS, points_available=0, points_cost=500),
            "`insufficient_points: points available 0, points cost 500`",
        ),
    ],
)
def test_a_refusal_tells_what_the_customer_was_told(refusal: Refusal, words: str) -> None:
    told = page(Stage.DONE)
    told.refusal = refusal

    assert current_details(told) == f"**Refused: nothing was changed.** The customer was told why: {words}."


def test_what_stays_true_of_a_run_leads_to_the_command_and_the_page_that_say_more() -> None:
    for text in (static_details(ATTEMPT), settlement_details(ATTEMPT)):
        assert "redemption `cr_abc`, attempt 2, at `a.myshopify.com`" in text
        assert "`pointsaga show cr_abc`" in text
        assert "docs/operations.md" in text


def test_a_webhook_tells_what_it_is_about() -> None:
    assert "**Shopify told of `orders/paid`.**" in webhook_details("orders/paid")


def test_a_round_names_the_settlements_it_started() -> None:
    assert "Nothing to settle" in round_details([], {})
    assert "- `settlement-cr_abc-2`" in round_details([ATTEMPT], {})
    assert "- Codes that had drifted from Shopify: **3**" in round_details([], {"check_codes": "3"})


def test_a_vendors_words_cannot_break_the_page() -> None:
    assert quoted("no\n\n# `rm` <b>\t!") == "`no # 'rm' <b> !`"


def test_the_reason_is_in_the_words_of_whoever_said_no() -> None:
    assert reason_of(ApplicationError("the purchase's deadline has passed")) == "the purchase's deadline has passed"
    assert reason_of(TimeoutError()) == "no answer in time"
