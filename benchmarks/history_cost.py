"""Size of a workflow's history, and what Temporal Cloud bills for it."""

from dataclasses import dataclass
from typing import Self

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory

# Source: docs.temporal.io, "Temporal Cloud Actions". Search attributes of the start are free; so is an update that
# repeats an earlier one's id, which leaves no event.
BILLED_EVENTS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
    EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
    EventType.EVENT_TYPE_TIMER_STARTED,
}


@dataclass(frozen=True, kw_only=True)
class HistoryCost:
    """Cost of one workflow. `actions`: as billed by Temporal Cloud. Queries and rejected updates are in no history."""

    events: int
    size: int
    """Bytes."""
    workflow_tasks: int
    actions: int

    @classmethod
    def of(cls, history: WorkflowHistory) -> Self:
        """The cost of a closed workflow."""
        types = [event.event_type for event in history.events]
        return cls(
            events=len(history.events),
            size=sum(event.ByteSize() for event in history.events),
            workflow_tasks=types.count(EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED),
            actions=_actions(history),
        )


def _actions(history: WorkflowHistory) -> int:
    billed = sum(event.event_type in BILLED_EVENTS for event in history.events)
    # The started event of an activity is written once, with the number of attempts.
    attempts = sum(event.activity_task_started_event_attributes.attempt for event in history.events)
    # Local activities of one workflow task are one action.
    local = {
        event.marker_recorded_event_attributes.workflow_task_completed_event_id
        for event in history.events
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED
    }
    return billed + attempts + len(local)
