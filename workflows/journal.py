"""Where a run is, kept where operators look: its stage among the search attributes, its page in the current details."""

from temporalio import workflow
from temporalio.common import SearchAttributeUpdate

from activities.attempt import Attempt
from domain.eligibility import Refusal
from workflows.stages import REDEMPTION_STAGE, Stage
from workflows.telling import Page, State, Step, Story, current_details


class Journal:
    """What the current run notes of its attempt. Notes cost nothing; a new stage costs an event in the history."""

    def __init__(self, attempt: Attempt, story: Story, stage: Stage) -> None:
        self.about = attempt.redemption_id
        self._page = Page(attempt, story, stage)

    def those(self, state: State) -> list[str]:
        """The steps that have come this far."""
        return self._page.those(state)

    def note(self, step: str, state: State, reason: str | None = None) -> None:
        """A step has come this far."""
        self._page.steps[step] = Step(state, reason)
        self._tell()

    def enter(self, stage: Stage, *, why: str = "") -> None:
        """Another stage begins; `why`, when it is not the one that was hoped for."""
        self._page.why = why or self._page.why
        if stage is Stage.DELIVERING:
            # Past the pivot, by whichever way it was passed.
            self._page.steps |= dict.fromkeys(self._page.story.steps, Step(State.DONE))
        if stage is not self._page.stage:
            self._page.stage = stage
            updates: list[SearchAttributeUpdate[str]] = [REDEMPTION_STAGE.value_set(stage)]
            workflow.upsert_search_attributes(updates)  # pyright: ignore[reportUnknownMemberType] - the SDK's own
        self._tell()

    def close(self, refusal: Refusal | None = None) -> None:
        """Nothing is left to do."""
        self._page.refusal = refusal
        self.enter(Stage.DONE)

    def _tell(self) -> None:
        workflow.set_current_details(current_details(self._page))
