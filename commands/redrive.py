"""`pointsaga redrive`: many redemptions at once."""

from collections.abc import Sequence
from typing import Annotated

import typer
from temporalio.service import RPCError, RPCStatusCode

from clients.temporal import matching
from commands.outcomes import conclude, demand_known, reprocessing
from commands.shared import (
    MISUSE,
    TROUBLE,
    AsJson,
    By,
    DryRun,
    Service,
    Yes,
    confirm,
    fail,
    print_json,
    progress_bar,
    with_service,
)
from commands.stuck import finder, print_stuck
from domain.redemptions import attempt_of
from services.redrive import Outcome, Result, redrivable, redrive
from services.reprocessing import Request
from services.stuck import Stuck

Ids = Annotated[list[str], typer.Argument(metavar="[ID…]", help="These redemptions; without any, all that are stuck.")]


def redrive_many(
    ids: Ids = [],  # noqa: B006 - typer reads the default, and nobody changes it
    *,
    query: Annotated[str, typer.Option(help="Those whose runs match this search of Temporal's, closed runs too.")] = "",
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="At most this many a second.")] = 10.0,
    by: By,
    reason: Annotated[str, typer.Option(help="Why; kept in the activity log. No names, no addresses.")] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Set going what has stopped of purchases and refunds: what was refused is retried, a run that is gone followed.

    Without ids and without --query: everything that `stuck` lists and that needs it. It can be interrupted and run
    again at any time: what is left is done, and nothing is done twice.

    Example: `pointsaga redrive --query "ShopDomain = 'demo.myshopify.com' AND ExecutionStatus = 'Terminated'"`
    """
    if ids and query:
        raise typer.BadParameter("name redemptions or give a query, not both", param_hint="--query")
    asked, found = with_service(lambda service: _look(service, ids, query))
    targets = list(dict.fromkeys(one.redemption_id for one in found if one.redemption_id))
    if dry_run:
        _preview(found, as_json=as_json)
        return
    if targets and not as_json:
        print_stuck(found)
    if targets:
        confirm(f"Redrive {len(targets)} redemptions, {rate:g} a second?", yes=yes)
    outcomes = [_left_alone(one) for one in asked if one not in set(targets)]
    _run(targets, Request(by=by, reason=reason or None), rate, outcomes)
    conclude(outcomes, as_json=as_json)


async def _look(service: Service, ids: Sequence[str], query: str) -> tuple[list[str], list[Stuck]]:
    """The redemptions that were asked for by name or query, and those to redrive."""
    await demand_known(service, ids)
    asked = list(dict.fromkeys(ids)) or (await _search(service, query) if query else [])
    if query and not asked:
        return [], []
    return asked, [one async for one in redrivable(finder(service), asked or None)]


async def _search(service: Service, query: str) -> list[str]:
    try:
        runs = await matching(service.temporal, query)
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            fail(f"Temporal does not understand the query: {error.message}", status=MISUSE)
        raise
    return list(dict.fromkeys(about[0] for run in runs if (about := attempt_of(run))))


def _preview(found: Sequence[Stuck], *, as_json: bool) -> None:
    if as_json:
        shown = ("redemption_id", "event", "kind", "why")
        print_json({"planned": [{name: getattr(one, name) for name in shown} for one in found]})
    elif found:
        print_stuck(found)
    else:
        typer.echo("nothing to redrive")


def _run(targets: Sequence[str], request: Request, rate: float, outcomes: list[Outcome]) -> None:
    """Redrive them, adding an outcome for each as it comes."""
    with progress_bar() as bar:
        task = bar.add_task("redrive", total=len(targets))

        def tell(outcome: Outcome) -> None:
            outcomes.append(outcome)
            bar.advance(task)

        try:
            with_service(lambda service: redrive(reprocessing(service), targets, request, rate=rate, tell=tell))
        except KeyboardInterrupt:
            bar.stop()
            done = sum(one.result is Result.ACTED for one in outcomes)
            fail(f"interrupted after {done} of {len(targets)}; run it again to go on", status=TROUBLE)


def _left_alone(redemption_id: str) -> Outcome:
    return Outcome(redemption_id=redemption_id, result=Result.NOTHING_TO_DO, detail="it does not wait for a redrive")
