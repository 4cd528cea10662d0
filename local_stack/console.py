"""Terminal output and signals of `pointsaga up`."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local_stack import StackError
from local_stack.options import StackOptions
from local_stack.stack import LocalStack
from local_stack.supervisor import Report
from local_stack.views import VIEWS, view_url

EXAMPLE = """\
curl -i {api}/v1/rewards/reward_abc/purchase \\
  -H 'Authorization: demo-full-key' -H 'Content-Type: application/json' \\
  -d '{{"customer_identifier": "6789012345"}}'"""


def up(options: StackOptions) -> int:
    """Run the local stack until SIGINT or SIGTERM. Returns the exit status."""
    console = Console()
    stack = LocalStack(options, progress(console))
    return run_until_signal(lambda: _serve(stack, console), stack, failure="error", interrupted=0)


def progress(console: Console) -> Report:
    """A report that prints the first line of each message beside the part's name, the others indented below it."""

    def report(part: str, message: str) -> None:
        first, *rest = message.splitlines()
        console.print(Text.assemble((f"{part:<10}", "bold cyan"), first), soft_wrap=True)
        for line in rest:
            console.print(Text(f"{'':10}{line}", style="dim"), soft_wrap=True)

    return report


def run_until_signal(
    work: Callable[[], Coroutine[None, None, None]], stack: LocalStack, *, failure: str, interrupted: int
) -> int:
    """Run `work`. The first SIGINT or SIGTERM cancels it, which stops the stack in order; a second one kills the parts.

    Returns the exit status: `interrupted` after a signal. `failure` precedes the message of an error.
    """
    try:
        asyncio.run(_cancelled_by_signal(work, stack))
    except asyncio.CancelledError:
        return interrupted
    except (StackError, OSError) as error:  # OSError: data directory not writable, not a directory, disk full
        print(f"{failure}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code if isinstance(error, StackError) else 1
    return 0


async def _cancelled_by_signal(work: Callable[[], Coroutine[None, None, None]], stack: LocalStack) -> None:
    task = asyncio.create_task(work())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _interrupt, task, stack)
    await task


def _interrupt(task: asyncio.Task[None], stack: LocalStack) -> None:
    # A second cancellation would interrupt `stop`; with the parts killed, `stop` returns at once.
    if task.cancelling():
        stack.kill()
    else:
        task.cancel()


async def _serve(stack: LocalStack, console: Console) -> None:
    console.print(f"Logs in {stack.home / 'logs'}", style="dim", soft_wrap=True)
    async with stack:
        _show(stack, console)
        await asyncio.Event().wait()


def _show(stack: LocalStack, console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    for label, address in _addresses(stack):
        table.add_row(Text(label, style="bold"), Text(address, overflow="fold"))
    console.print(Panel(table, title="Pointsaga is up", subtitle="Ctrl-C stops all parts", expand=False))
    if "temporal" in stack.options.parts:
        console.print("Lists of workflows:\n", style="bold")
        for name, query in VIEWS.items():
            console.print(Text(f"{name}: {view_url(stack.temporal_ui_url, query)}"), soft_wrap=True)
        console.print()
    if stack.options.demo_data and "api" in stack.options.parts:
        console.print("Redeem a reward:\n", style="bold")
        console.print(Text(EXAMPLE.format(api=stack.api_url)), soft_wrap=True)
        console.print()


def _addresses(stack: LocalStack) -> list[tuple[str, str]]:
    sandbox = "sandbox" in stack.options.parts
    return [
        ("API", stack.api_url),
        ("API documentation", f"{stack.api_url}/docs"),
        ("Temporal UI", stack.temporal_ui_url),
        ("Temporal", stack.temporal_address),
        (
            "Workflow data",
            f"sealed; the Temporal UI reads it through {stack.codec_url}" if stack.is_sealed else "clear",
        ),
        ("Vendors", f"{stack.vendor_url}/_sandbox/shopify" if sandbox else "addresses from the environment"),
        *((f"Metrics of the {part}", stack.metrics_url(part) or "") for part in stack.metrics),
        ("Database", stack.database_url),
        ("Settings and pids", str(stack.home / "stack.json")),
        ("Logs", str(stack.home / "logs")),
    ]
