"""What an operator reads about a refund."""

from workflows.refund_details import GIVE_BACK, REMOVE

from tests.workflows.test_telling import ATTEMPT
from workflows.current_details import REFUND, Page, current_details, refund_details
from workflows.progress import Stage, State, Step


def told(stage: Stage, **steps: Step) -> str:
    """The page of a refund in this stage."""
    page = Page(ATTEMPT, REFUND, stage)
    page.steps |= steps
    return current_details(page)


def test_a_refund_under_way_tells_what_it_waits_for() -> None:
    text = told(Stage.COMPENSATING, **{REMOVE: Step(State.UNDER_WAY)})

    assert "- Remove the discount code at Shopify: **under way**\n" in text
    assert "- Give the points back: **not yet**\n" in text
    assert "mend the shop's access" in text


def test_a_refund_that_is_through_says_so_while_others_are_told() -> None:
    done = {REMOVE: Step(State.DONE), GIVE_BACK: Step(State.DONE)}

    assert told(Stage.DELIVERING, **done, klaviyo=Step(State.UNDER_WAY)).startswith("**Refunded: the code is gone")
    assert "`klaviyo` refused" in told(Stage.NEEDS_ATTENTION, **done, klaviyo=Step(State.REFUSED, "HTTP 401"))
    assert "this is the end" in told(Stage.DONE, **done)


def test_a_refund_of_a_used_code_tells_no_steps_that_will_not_come() -> None:
    text = told(Stage.DONE, **{REMOVE: Step(State.REFUSED)})

    assert text.startswith("**Not refunded: the code had been used.**")
    assert "Give the points back" not in text
    assert "klaviyo" not in text


def test_its_details_name_the_redemption() -> None:
    assert "redemption `cr_abc` at `a.myshopify.com`" in refund_details(ATTEMPT)
