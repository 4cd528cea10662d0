"""`pointsaga retry` and `pointsaga skip`: single redemptions, by id."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer
from rich.table import Table

from commands.outcomes import conclude, demand_known, reprocessing
from commands.shared import AsJson, By, DryRun, Service, Yes, confirm, out, print_json, with_service
from domain.channels import Channel
from services.actions import Action, Plans
from services.redrive import Outcome, act
from services.reprocessing import Request

Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Redemptions, like cr_4k1t9zq0m2x7c8v5b3n6.")]
Channels = Annotated[list[Channel], typer.Option("--channel", help="This channel; may be given again for others.")]
Plan = Callable[[Plans, str], Awaitable[list[Action]]]


def retry(
    ids: Ids,
    *,
    channel: Channels = [],  # noqa: B006 - typer reads the default, and nobody changes it
    by: By,
    reason: Annotated[str, typer.Option(help="Why; kept in the activity log. No names, no addresses.")] = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Have news of a purchase, or of its refund, tried again: what a vendor refused, and what waits for its next try.

    Where the run that should try is gone, another follows it. Repeating the command does nothing twice.

    Example: `pointsaga retry cr_4k1t9zq0m2x7c8v5b3n6 --channel klaviyo --reason "the key is mended"`
    """
    request = Request(by=by, reason=reason or None)
    _reprocess(ids, request, lambda plans, one: plans.retry(one, channel), yes=yes, dry_run=dry_run, as_json=as_json)


def skip(
    ids: Ids,
    *,
    channel: Annotated[
        list[Channel], typer.Option("--channel", help="The channel to leave untold; may be given again.")
    ],
    reason: Annotated[
        str, typer.Option(help="Why; kept in the delivery, the activity log and the run. No names, no addresses.")
    ],
    by: By,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Leave channels untold for good. Purchase and refund stand; a run that waited for them goes on to its end.

    Example: `pointsaga skip cr_4k1t9zq0m2x7c8v5b3n6 --channel klaviyo --reason "the shop has left Klaviyo"`
    """
    if not 0 < len(reason.strip()) <= 500:
        raise typer.BadParameter("give a reason of 1 to 500 characters", param_hint="--reason")
    request = Request(by=by, reason=reason.strip())
    _reprocess(ids, request, lambda plans, one: plans.skip(one, channel), yes=yes, dry_run=dry_run, as_json=as_json)


def _reprocess(ids: Sequence[str], request: Request, plan: Plan, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Show what would be done, ask, look again, and do it."""

    async def preview(service: Service) -> dict[str, list[Action]]:
        await demand_known(service, ids)
        return {one: await plan(reprocessing(service).plans, one) for one in dict.fromkeys(ids)}

    async def work(service: Service) -> list[Outcome]:
        them = reprocessing(service)
        return [await act(them, one, await plan(them.plans, one), request) for one in dict.fromkeys(ids)]

    planned = with_service(preview)
    if dry_run and as_json:
        print_json({"planned": {one: [action.facts() for action in actions] for one, actions in planned.items()}})
    elif not as_json:
        _show(planned)
    if dry_run:
        return
    if any(planned.values()):
        confirm("Do this?", yes=yes)
    conclude(with_service(work), as_json=as_json)


def _show(planned: dict[str, list[Action]]) -> None:
    table = Table("redemption", "what is done")
    table.add_column("run", overflow="fold")
    for one, actions in planned.items():
        for action in actions:
            table.add_row(one, str(action), action.run or "none: a row of the ledger, or a new run")
        if not actions:
            table.add_row(one, "nothing", "")
    out().print(table)
