"""Progress of a workflow: its stage (search attribute `RedemptionStage`) and the states of its steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from temporalio import workflow
from temporalio.common import (
    Priority,
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)

from activities.attempt import Attempt, Failure
from activities.discounts import Discounts
from activities.points import Points
from activities.refunds import Refunds
from activities.reissues import Reissues
from domain.eligibility import Refusal
from domain.events import EventKind
from domain.failures import FailureCode
from domain.shopify_budget import NoTurn

SHOP_DOMAIN = SearchAttributeKey.for_keyword("ShopDomain")
CUSTOMER_ID = SearchAttributeKey.for_keyword("CustomerId")
REWARD_ID = SearchAttributeKey.for_keyword("RewardId")
REDEMPTION_STAGE = SearchAttributeKey.for_keyword("RedemptionStage")

SEARCH_ATTRIBUTES = (SHOP_DOMAIN, CUSTOMER_ID, REWARD_ID, REDEMPTION_STAGE)

_NO_TURN = Failure(code=FailureCode.SHOPIFY_UNAVAILABLE, reason="the shop has reached its rate limit at Shopify")

AWAITED = 2
"""Priority key. The default is 3, and lower is earlier."""

STEPS = {
    EventKind.REWARD_REDEEMED: (Points.reserve_points.__name__, Discounts.generate_discount_code.__name__),
    EventKind.REWARD_REFUNDED: (Refunds.remove_discount_code.__name__, Refunds.refund_points.__name__),
    EventKind.PURCHASE_FAILED: (),
    EventKind.REWARD_REISSUED: (Reissues.retire_discount_code.__name__, Reissues.reissue_discount_code.__name__),
}
"""Activity names of the steps before the pivot, by the event that is delivered after it."""


class Stage(StrEnum):
    """Values of `RedemptionStage`."""

    REDEEMING = "Redeeming"
    COMPENSATING = "Compensating"
    REFUNDING = "Refunding"
    REISSUING = "Reissuing"
    DELIVERING = "Delivering"
    NEEDS_ATTENTION = "NeedsAttention"
    DONE = "Done"


class StepState(StrEnum):
    """State of a step."""

    NOT_STARTED = "not started"
    IN_PROGRESS = "in progress"
    DONE = "done"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"


@dataclass(frozen=True)
class StepProgress:
    """State of a step. `reason`: the words of the vendor or operator, where there are any."""

    state: StepState = StepState.NOT_STARTED
    reason: str | None = None


@dataclass(kw_only=True)
class Progress:
    """Progress of one attempt, its refund or its reissue. Every change updates the current details in the Temporal UI.

    Attributes:
        event: the event that is delivered after the pivot.
        failure: why a purchase is compensated, or had no turn at Shopify.
        turn: when a queued purchase may create its code.
        steps: by activity id, in order: the steps before the pivot, then the channels.
        render: current details as Markdown.
    """

    attempt: Attempt
    event: EventKind
    stage: Stage
    render: "Callable[[Progress], str]"
    failure: Failure | None = None
    refusal: Refusal | None = None
    turn: datetime | None = None
    steps: dict[str, StepProgress] = field(default_factory=dict[str, StepProgress])

    def __post_init__(self) -> None:
        self._first_stage = self._searchable_stage = self.stage
        self.steps |= dict.fromkeys((*STEPS[self.event], *self.attempt.channels), StepProgress())

    def steps_in(self, state: StepState) -> list[str]:
        """Activity ids of the steps in this state."""
        return [name for name, step in self.steps.items() if step.state is state]

    def set_step(self, step: str, state: StepState, reason: str | None = None) -> None:
        """Record a step's state."""
        self.steps[step] = StepProgress(state, reason)
        self._show()

    def begin_deliveries(self) -> None:
        """Record that the pivot is passed and that every delivery is in progress.

        The stage is not upserted: most workflows finish within a second, and only a longer one is searched for.
        """
        self.steps |= dict.fromkeys(STEPS[self.event], StepProgress(StepState.DONE))
        self.steps |= dict.fromkeys(self.attempt.channels, StepProgress(StepState.IN_PROGRESS))
        self.stage = Stage.DELIVERING
        self._show()

    def enter_stage(self, stage: Stage) -> None:
        """Record the stage. A new one is upserted as a search attribute, which costs a history event."""
        self.stage = stage
        if stage is not self._searchable_stage:
            self._searchable_stage = stage
            updates: list[SearchAttributeUpdate[str]] = [REDEMPTION_STAGE.value_set(stage)]
            workflow.upsert_search_attributes(updates)  # pyright: ignore[reportUnknownMemberType] - the SDK's own
        self._show()

    def compensate(self, failure: Failure) -> None:
        """Enter the stage `Compensating`."""
        self.failure = failure
        self.enter_stage(Stage.COMPENSATING)

    def record_unreserved(self, reason: Refusal | NoTurn) -> None:
        """Record why no points were reserved."""
        if isinstance(reason, Refusal):
            self.refusal = reason
        else:
            self.failure = _NO_TURN

    def wait_for(self, turn: datetime) -> None:
        """Record the turn of a queued purchase."""
        self.turn = turn
        self._show()

    def finish(self) -> None:
        """Record the last stage. Temporal's own status has it too, so it is upserted only after another stage was."""
        self.stage = Stage.DONE
        if self._searchable_stage is not self._first_stage:
            self.enter_stage(Stage.DONE)
        self._show()

    def _show(self) -> None:
        workflow.set_current_details(self.render(self))


def priority_of(shop_id: int, *, is_awaited: bool) -> Priority:
    """Priority of a shop's workflow and its activities. `is_awaited`: somebody waits for the answer.

    A server with fairness enabled serves shops in turn, others ignore the shop. Which key is served first is not
    guaranteed.
    """
    return Priority(priority_key=AWAITED if is_awaited else None, fairness_key=str(shop_id))


def shop_attributes(shop_domain: str) -> TypedSearchAttributes:
    """Search attributes of a workflow that concerns a shop as a whole."""
    return TypedSearchAttributes([SearchAttributePair(SHOP_DOMAIN, shop_domain)])


def attempt_attributes(attempt: Attempt, stage: Stage) -> TypedSearchAttributes:
    """Search attributes of a workflow that concerns an attempt."""
    return TypedSearchAttributes(
        [
            SearchAttributePair(SHOP_DOMAIN, attempt.shop_domain),
            SearchAttributePair(CUSTOMER_ID, attempt.customer_id),
            SearchAttributePair(REWARD_ID, attempt.reward_id),
            SearchAttributePair(REDEMPTION_STAGE, stage),
        ]
    )
