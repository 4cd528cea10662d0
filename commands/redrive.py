from collections.abc import Sequence
from typing import Annotated

import typer
from temporalio.service import RPCError, RPCStatusCode

from clients.temporal import search_workflow_ids
from commands.actions import finish, require_known
from commands.connections import Service, with_service
from commands.options import Actor, AsJson, DryRun, Reason, Yes
from commands.output import MISUSE, TROUBLE, confirm, fail, print_json, progress_bar
from commands.stuck import print_stuck
from domain.ids import parse_workflow_id
from services.actions import Operator
from services.redrive import Outcome, Result, redrive
from services.stuck import REDRIVABLE, Stuck

Ids = Annotated[list[str], typer.Argument(metavar="[ID…]", help="Only these redemptions. Default: all that are stuck.")]


def redrive_many(
    ids: Ids = [],  # noqa: B006 - typer reads the default, nothing changes it
    *,
    query: Annotated[
        str, typer.Option(help="Only redemptions with workflows, open or closed, that match this Temporal query.")
    ] = "",
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Maximum number of redemptions per second.")] = 10.0,
    actor: Actor,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Resume stalled purchases and refunds.

    Retries rejected deliveries, and starts a recovery workflow where the workflow is gone. Without ids and --query: for
    everything that `stuck` lists and that does not continue by itself. Safe to interrupt and to repeat.

    Example: `pointsaga redrive --query "ShopDomain = 'demo.myshopify.com' AND ExecutionStatus = 'Terminated'"`
    """
    if ids and query:
        raise typer.BadParameter("give ids or a query, not both", param_hint="--query")
    selected, found = with_service(lambda service: _find(service, ids, query))
    targets = list(dict.fromkeys(one.redemption_id for one in found if one.redemption_id))
    if dry_run:
        _preview(found, as_json=as_json)
        return
    if targets and not as_json:
        print_stuck(found)
    if targets:
        confirm(f"Redrive {len(targets)} redemptions, {rate:g} per second?", yes=yes)
    detail = "it is not stalled, or continues by itself"
    others = [one for one in selected if one not in set(targets)]
    outcomes = [Outcome(redemption_id=one, result=Result.NOTHING_TO_DO, detail=detail) for one in others]
    _redrive(targets, Operator(actor=actor, reason=reason or None), rate, outcomes)
    finish(outcomes, as_json=as_json)


async def _find(service: Service, ids: Sequence[str], query: str) -> tuple[list[str], list[Stuck]]:
    """The redemptions selected by ids or query, and what to redrive."""
    await require_known(service, ids)
    selected = list(dict.fromkeys(ids)) or (await _search(service, query) if query else [])
    if query and not selected:
        return [], []
    finder = service.stuck_finder
    found = [one async for one in finder.find(among=selected or None) if one.kind in REDRIVABLE]
    known = {one.redemption_id for one in found}
    # What was named is recovered at once, although the reconciler would do it soon.
    ended = [one async for one in finder.find_ended_early(among=selected)] if selected else []
    return selected, found + [one for one in ended if one.redemption_id not in known]


async def _search(service: Service, query: str) -> list[str]:
    try:
        workflow_ids = await search_workflow_ids(service.temporal, query)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            fail(f"invalid query: {error.message}", status=MISUSE)
        raise
    return list(dict.fromkeys(parsed[0] for one in workflow_ids if (parsed := parse_workflow_id(one))))


def _preview(found: Sequence[Stuck], *, as_json: bool) -> None:
    if as_json:
        shown = ("redemption_id", "event", "kind", "why")
        print_json({"planned": [{name: getattr(one, name) for name in shown} for one in found]})
    elif found:
        print_stuck(found)
    else:
        typer.echo("nothing to redrive")


def _redrive(targets: Sequence[str], operator: Operator, rate: float, outcomes: list[Outcome]) -> None:
    """Redrive the targets. Appends each outcome as it becomes known."""
    with progress_bar() as bar:
        task = bar.add_task("redrive", total=len(targets))

        def on_outcome(outcome: Outcome) -> None:
            outcomes.append(outcome)
            bar.advance(task)

        try:
            with_service(lambda service: redrive(service.actions, targets, operator, rate=rate, on_outcome=on_outcome))
        except KeyboardInterrupt:
            bar.stop()
            done = sum(one.result is Result.ACTED for one in outcomes)
            fail(f"interrupted after {done} of {len(targets)}; repeat the command to continue", status=TROUBLE)
