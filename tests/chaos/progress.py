"""Progress of the run: a bar on a terminal, a line every ten seconds in a log."""

import asyncio
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from tests.chaos.customers import Customers
from tests.chaos.log import RunLog
from tests.chaos.randomness import Clock
from tests.chaos.requests import Requests

LINE_EVERY_SECONDS = 10.0


class Progress:
    def __init__(self, console: Console, seconds: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        self._bar = Bar(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("chaos", total=seconds)
        self._console = console
        self._printed_at = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    async def show_run(self, clock: Clock, customers: Customers, requests: Requests, log: RunLog) -> None:
        """Until the last customer has finished."""
        is_running = True
        while is_running or customers.active:
            is_running = await clock.sleep(0.5)
            self._show(_numbers(customers, requests, log), min(clock.elapsed, clock.seconds))
            if not is_running:
                await asyncio.sleep(0.5)

    def show_recovery(self, state: str) -> None:
        self._show(f"recovery, {state}", None)

    def _show(self, text: str, done: float | None) -> None:
        self._bar.update(self._task, description=text, completed=done)
        if not self._console.is_terminal and time.monotonic() - self._printed_at > LINE_EVERY_SECONDS:
            self._printed_at = time.monotonic()
            self._console.print(text, soft_wrap=True)


def _numbers(customers: Customers, requests: Requests, log: RunLog) -> str:
    codes = sum(bool(purchase.successes) for purchase in requests.purchases)
    return (
        f"{len(requests.purchases)} purchases ({codes} codes, {customers.active} customers active), "
        f"{len(requests.refunds)} refunds, {len(requests.orders)} orders, {len(requests.adjustments)} adjustments, "
        f"{log.kills.total()} kills, {log.faults.total()} faults, {log.actions.total()} operators' actions"
    )
