"""How far the run is: a bar for a person at a terminal, a line now and then for a log."""

import asyncio
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from tests.chaos.dice import Clock
from tests.chaos.load import Load
from tests.chaos.records import Tally
from tests.chaos.wishes import Wishes

LINE_EVERY = 10.0


class Progress:
    """Tells, without filling a log."""

    def __init__(self, console: Console, seconds: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("chaos", total=seconds)
        self._console = console
        self._said = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    async def watch(self, clock: Clock, load: Load, wishes: Wishes, tally: Tally) -> None:
        """Tell of the storm until the last customer has gone."""
        going = True
        while going or load.visiting:
            going = await clock.rest(0.5)
            self._tell(_now(load, wishes, tally), min(clock.gone, clock.seconds))
            if not going:
                await asyncio.sleep(0.5)

    def recovering(self, what: str) -> None:
        """Tell of the recovery."""
        self._tell(f"recovering, {what}", None)

    def _tell(self, what: str, done: float | None) -> None:
        self._bar.update(self._task, description=what, completed=done)
        if not self._console.is_terminal and time.monotonic() - self._said > LINE_EVERY:
            self._said = time.monotonic()
            self._console.print(what, soft_wrap=True)


def _now(load: Load, wishes: Wishes, tally: Tally) -> str:
    bought = sum(bool(purchase.bought) for purchase in wishes.purchases)
    return (
        f"{len(wishes.purchases)} purchases ({bought} codes, {load.visiting} customers here), "
        f"{len(wishes.refunds)} refunds, {len(wishes.orders)} orders, {len(wishes.adjustments)} adjustments, "
        f"{tally.kills.total()} kills, {tally.spells.total()} faults, {tally.acts.total()} acts"
    )
