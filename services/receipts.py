"""A redemption's receipt together with what the engine says of its runs."""

from collections.abc import Sequence

from pydantic import BaseModel
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus

from clients.temporal import describe
from domain.redemptions import purchase_runs
from domain.refunds import refund_id
from workflows.progress import REDEMPTION_STAGE


class Waiting(BaseModel):
    """A step that is being tried: which time this is, and why the time before failed."""

    step: str
    attempt: int
    last_error: str | None


class Run(BaseModel):
    """A workflow about the redemption, as it is now. `link` is its page in the Temporal UI, where there is one."""

    id: str
    link: str | None
    status: str
    stage: str | None
    waiting: Sequence[Waiting]


async def runs_of(temporal: Client, redemption_id: str, attempts: int, *, ui: str | None) -> list[Run]:
    """Every run of every attempt, and of the refund, that the engine still knows.

    Raises:
        temporalio.service.RPCError: the engine cannot be asked.
    """
    numbers = range(1, attempts + 1)
    of_attempts = [run for number in numbers for run in purchase_runs(redemption_id, number)]
    ids = [*of_attempts, refund_id(redemption_id)]
    found = [(run, await describe(temporal, run)) for run in ids]
    return [_run(description, _link(ui, temporal.namespace, run)) for run, description in found if description]


def _link(ui: str | None, namespace: str, run: str) -> str | None:
    return ui and f"{ui.rstrip('/')}/namespaces/{namespace}/workflows/{run}"


def _run(description: WorkflowExecutionDescription, link: str | None) -> Run:
    assert description.status is not None
    # The engine keeps those of a run that was terminated, too.
    is_open = description.status is WorkflowExecutionStatus.RUNNING
    pending = description.raw_description.pending_activities if is_open else ()
    return Run(
        id=description.id,
        link=link,
        status=description.status.name.lower().replace("_", " "),
        stage=description.typed_search_attributes.get(REDEMPTION_STAGE),
        waiting=[
            Waiting(step=step.activity_id, attempt=step.attempt, last_error=step.last_failure.message or None)
            for step in pending
        ],
    )
