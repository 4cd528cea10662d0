"""`pointsaga retry` and `pointsaga skip`, and what they share with `redrive`."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated

import typer
from rich.table import Table

from commands.connections import Service, with_service
from commands.options import Actor, AsJson, DryRun, Reason, Yes, check_reason
from commands.output import DONE, MISUSE, TROUBLE, confirm, console, fail, join_some, print_json, print_message
from db.stuck import unknown_redemptions
from domain.channels import Channel
from services.actions import Action, Actions, Operator
from services.redrive import Outcome, Result, perform_planned

Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Redemptions, like cr_4k1t9zq0m2x7c8v5b3n6.")]
Channels = Annotated[list[Channel], typer.Option("--channel", help="Only this channel. Can be repeated.")]
Plan = Callable[[Actions, str], Awaitable[list[Action]]]


def retry(
    ids: Ids,
    *,
    channel: Channels = [],  # noqa: B006 - typer reads the default, nothing changes it
    actor: Actor,
    reason: Reason = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Retry deliveries of purchases and refunds that were rejected or wait for their next attempt.

    If the workflow is gone, a recovery workflow is started. Waits a few seconds for the outcome. Safe to repeat.

    Example: `pointsaga retry cr_4k1t9zq0m2x7c8v5b3n6 --channel klaviyo --reason "API key replaced"`
    """
    operator = Operator(actor=actor, reason=reason or None)
    _act(ids, operator, lambda actions, one: actions.plan_retry(one, channel), yes, dry_run=dry_run, as_json=as_json)


def skip(
    ids: Ids,
    *,
    channel: Annotated[list[Channel], typer.Option("--channel", help="The channel to skip. Can be repeated.")],
    reason: Annotated[
        str, typer.Option(help="Why. Stored in the delivery, the activity log and the workflow. No personal data.")
    ],
    actor: Actor,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Skip deliveries for good. The purchase or refund stands, and a workflow that waited for them completes.

    Example: `pointsaga skip cr_4k1t9zq0m2x7c8v5b3n6 --channel klaviyo --reason "the shop has left Klaviyo"`
    """
    operator = Operator(actor=actor, reason=check_reason(reason))
    _act(ids, operator, lambda actions, one: actions.plan_skip(one, channel), yes, dry_run=dry_run, as_json=as_json)


def _act(ids: Sequence[str], operator: Operator, plan: Plan, yes: bool, *, dry_run: bool, as_json: bool) -> None:
    """Preview the actions, ask for confirmation, plan again, and perform."""

    async def preview(service: Service) -> dict[str, list[Action]]:
        await require_known(service, ids)
        return {one: await plan(service.actions, one) for one in dict.fromkeys(ids)}

    async def perform(service: Service) -> list[Outcome]:
        actions = service.actions
        return [await perform_planned(actions, one, await plan(actions, one), operator) for one in dict.fromkeys(ids)]

    planned = with_service(preview)
    if dry_run and as_json:
        print_json({"planned": {one: [action.as_json() for action in actions] for one, actions in planned.items()}})
    elif not as_json:
        _print_planned(planned)
    if dry_run:
        return
    if any(planned.values()):
        confirm("Do this?", yes=yes)
    finish(with_service(perform), as_json=as_json)


def _print_planned(planned: dict[str, list[Action]]) -> None:
    table = Table("redemption", "action")
    table.add_column("workflow", overflow="fold")
    for one, actions in planned.items():
        for action in actions:
            table.add_row(one, str(action), action.workflow_id or "none open")
        if not actions:
            table.add_row(one, "nothing", "")
    console().print(table)


async def require_known(service: Service, ids: Sequence[str]) -> None:
    """End the command if one of the redemptions does not exist."""
    async with service.store() as session:
        unknown = await unknown_redemptions(session, ids)
    if unknown:
        fail(f"there is no redemption {join_some(unknown)}; nothing was done", status=MISUSE)


def finish(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """Print how many redemptions had which result, what became of their deliveries, and why the rest was not acted on.

    Ends the command.
    """
    counts = Counter(one.result for one in outcomes)
    if as_json:
        print_json({**{result: counts[result] for result in Result}, "redemptions": outcomes})
    else:
        typer.echo(", ".join(f"{_words(result)}: {counts[result]}" for result in Result))
        for one in outcomes:
            for outcome in one.outcomes:
                typer.echo(f"{one.redemption_id}  {outcome}")
        _print_reasons(outcomes, Result.FAILED)
        _print_reasons(outcomes, Result.NOTHING_TO_DO)
    raise typer.Exit(TROUBLE if counts[Result.FAILED] or counts[Result.REFUSED_AGAIN] else DONE)


def _print_reasons(outcomes: Sequence[Outcome], result: Result) -> None:
    ids_by_reason: dict[str, list[str]] = {}
    for one in outcomes:
        if one.result is result:
            ids_by_reason.setdefault(one.detail, []).append(one.redemption_id)
    for reason, ids in ids_by_reason.items():
        print_message(f"{_words(result)}: {reason} ({join_some(ids)})")


def _words(result: Result) -> str:
    return result.replace("_", " ")
