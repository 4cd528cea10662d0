"""How commands that act on redemptions check what they are given, and tell what came of it."""

from collections import Counter
from collections.abc import Sequence

import typer

from commands.shared import DONE, MISUSE, TROUBLE, Service, fail, listed, print_json, say
from db.stuck import unknown_redemptions
from services.redrive import Outcome, Result
from services.reprocessing import Reprocessing


def reprocessing(service: Service) -> Reprocessing:
    """Acts on redemptions of this deployment."""
    return Reprocessing(store=service.store, temporal=service.temporal, task_queue=service.settings.temporal_task_queue)


async def demand_known(service: Service, ids: Sequence[str]) -> None:
    """End the command when one of these redemptions does not exist."""
    async with service.store() as session:
        unknown = await unknown_redemptions(session, ids)
    if unknown:
        fail(f"there is no redemption {listed(unknown)}; nothing was done", status=MISUSE)


def conclude(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """Tell how many were acted on, and why others were not; ends the command."""
    counts = Counter(one.result for one in outcomes)
    failed = [one for one in outcomes if one.result is Result.FAILED]
    if as_json:
        print_json({**{result: counts[result] for result in Result}, "redemptions": outcomes})
    else:
        typer.echo(", ".join(f"{result.replace('_', ' ')}: {counts[result]}" for result in Result))
        _tell_why(failed)
        _tell_why([one for one in outcomes if one.result is Result.NOTHING_TO_DO])
    raise typer.Exit(TROUBLE if failed else DONE)


def _tell_why(outcomes: Sequence[Outcome]) -> None:
    by_reason: dict[str, list[str]] = {}
    for one in outcomes:
        by_reason.setdefault(f"{one.result.replace('_', ' ')}: {one.detail}", []).append(one.redemption_id)
    for reason, ids in by_reason.items():
        say(f"{reason} ({listed(ids)})")
