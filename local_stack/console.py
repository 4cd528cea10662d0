"""What a person sees of the local stack: `pointsaga up`, its progress, its panel, its signals."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local_stack.errors import StackError
from local_stack.local import LocalStack
from local_stack.options import StackOptions
from local_stack.supervisor import Report

TRY_IT = """\
curl -i {api}/v1/rewards/reward_abc/purchase \\
  -H 'Authorization: demo-full-key' -H 'Content-Type: application/json' \\
  -d '{{"customer_identifier": "6789012345"}}'"""


def up(options: StackOptions) -> int:
    """Run the local stack in the foreground until a signal ends it; the exit status."""
    console = Console()
    stack = LocalStack(options, progress(console))
    return conclude(lambda: _serve(stack, console), stack, complaint="error", interrupted=0)


def progress(console: Console) -> Report:
    """Print news as they come: one line each, and what a log said below it."""

    def report(part: str, news: str) -> None:
        first, *rest = news.splitlines()
        console.print(Text.assemble((f"{part:<10}", "bold cyan"), first), soft_wrap=True)
        for line in rest:
            console.print(Text(f"{'':10}{line}", style="dim"), soft_wrap=True)

    return report


def conclude(
    work: Callable[[], Coroutine[None, None, None]], stack: LocalStack, *, complaint: str, interrupted: int
) -> int:
    """Do the work. The first Ctrl-C or SIGTERM stops the stack in order, a second one kills it."""
    try:
        asyncio.run(_until_signal(work, stack))
    except asyncio.CancelledError:
        return interrupted
    except StackError as error:
        return _complain(complaint, error, error.exit_code)
    except OSError as error:  # of the data directory: not ours, not a directory, full
        return _complain(complaint, error, 1)
    return 0


def _complain(complaint: str, error: Exception, status: int) -> int:
    print(f"{complaint}: {error}", file=sys.stderr)  # noqa: T201
    return status


async def _until_signal(work: Callable[[], Coroutine[None, None, None]], stack: LocalStack) -> None:
    working = asyncio.create_task(work())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _interrupt, working, stack)
    await working


def _interrupt(working: asyncio.Task[None], stack: LocalStack) -> None:
    # A second cancellation would tear `stop` apart; killing lets it run to its end, quickly.
    if working.cancelling():
        stack.kill()
    else:
        working.cancel()


async def _serve(stack: LocalStack, console: Console) -> None:
    console.print(f"Logs in {stack.home / 'logs'}", style="dim", soft_wrap=True)
    async with stack:
        _show(stack, console)
        await asyncio.Event().wait()


def _show(stack: LocalStack, console: Console) -> None:
    where = Table.grid(padding=(0, 2))
    for what, address in _addresses(stack):
        where.add_row(Text(what, style="bold"), Text(address, overflow="fold"))
    console.print(Panel(where, title="Pointsaga is up", subtitle="Ctrl-C stops all of it", expand=False))
    if stack.options.demo_data and "api" in stack.options.parts:
        console.print("Redeem a reward:\n", style="bold")
        console.print(Text(TRY_IT.format(api=stack.api_url)), soft_wrap=True)
        console.print()


def _addresses(stack: LocalStack) -> list[tuple[str, str]]:
    sandbox = "sandbox" in stack.options.parts
    return [
        ("API", stack.api_url),
        ("API documentation", f"{stack.api_url}/docs"),
        ("Temporal UI", stack.temporal_ui_url),
        ("Temporal", stack.temporal_address),
        ("Vendors", f"{stack.vendor_url}/_sandbox/shopify" if sandbox else "as the environment says"),
        ("Database", stack.database_url),
        ("Settings, pids", str(stack.home / "stack.json")),
        ("Logs", str(stack.home / "logs")),
    ]
