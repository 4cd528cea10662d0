"""What commands share: the way to database and engine, output for people and programs, and how a command fails.

Exit status 0: done. 1: found trouble. 2: used wrongly; nothing was changed. What a program reads is on standard
output, all else on standard error.
"""

import asyncio
import getpass
import json
import re
import sys
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from temporalio.client import Client
from temporalio.service import RPCError

from database import Sessions, connect, sessions
from settings import Settings, connect_temporal, read_settings

Result = TypeVar("Result")

DONE, TROUBLE, MISUSE = 0, 1, 2

OPERATING = "Redemptions"
ADMINISTRATION = "Administration"
LOCAL = "On one machine"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
By = Annotated[str, typer.Option(help="Who wants it; kept in the activity log.", default_factory=getpass.getuser)]


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a command works on."""

    settings: Settings
    store: Sessions
    temporal: Client


def with_engine(work: Callable[[AsyncEngine], Coroutine[Any, Any, Result]], settings: Settings | None = None) -> Result:
    """Do this on the database; ends the command when it cannot be used."""
    settings = settings or read_settings()

    async def run() -> Result:
        engine = connect(settings.database_url, patience=None)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        return asyncio.run(run())
    except (OSError, DBAPIError) as error:
        fail(
            f"the database cannot be used: {error}\nIs DATABASE_URL right, and has `pointsaga migrate` run?",
            status=TROUBLE,
        )


def with_database(work: Callable[[Sessions], Coroutine[Any, Any, Result]], settings: Settings | None = None) -> Result:
    """Do this with sessions on the database."""
    return with_engine(lambda engine: work(sessions(engine)), settings)


def with_service(work: Callable[[Service], Coroutine[Any, Any, Result]]) -> Result:
    """Do this with database and Temporal; ends the command when one of them cannot be used."""
    settings = read_settings()

    async def run(store: Sessions) -> Result:
        try:
            temporal = await connect_temporal(settings)
        except RuntimeError as error:
            no_engine(settings, error)
        return await work(Service(settings=settings, store=store, temporal=temporal))

    try:
        return with_database(run, settings)
    except RPCError as error:
        no_engine(settings, error)


def no_engine(settings: Settings, error: Exception) -> NoReturn:
    """End the command, as Temporal cannot be used."""
    fail(f"Temporal at {settings.temporal_address} cannot be used: {error}\nIs TEMPORAL_ADDRESS right?", status=TROUBLE)


def fail(message: str, *, status: int) -> NoReturn:
    """End the command with these words."""
    typer.echo(message, err=True)
    raise typer.Exit(status)


def say(message: str) -> None:
    """Tell a person something that is no result."""
    typer.echo(message, err=True)


def print_json(value: object) -> None:
    """Print a result for programs: times in ISO 8601, models and dataclasses as objects."""
    typer.echo(json.dumps(to_jsonable_python(value), ensure_ascii=False, indent=2))


def out() -> Console:
    """Where results for people go; as wide as a pipe's reader can be expected to like."""
    return Console(width=None if sys.stdout.isatty() else 100, highlight=False, markup=False, emoji=False)


def progress_bar() -> Progress:
    """A bar for what takes long, on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is done; a program has to say `--yes` at once."""
    if yes:
        return
    if not sys.stdin.isatty():
        fail("nobody is there to be asked: say --yes, or look with --dry-run", status=MISUSE)
    typer.confirm(question, abort=True, err=True)


def at(time: datetime | None) -> str:
    """A time, to the second, UTC."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else ""


def ago(time: datetime, now: datetime) -> str:
    """How long ago, in its largest unit."""
    seconds = max(0, int((now - time).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def duration(text: str) -> timedelta:
    """A duration such as `90s`, `2m`, `1h` or `1d`."""
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no duration; write it like 90s, 2m, 1h or 1d")
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def listed(words: Iterable[str], *, at_most: int = 5) -> str:
    """Some words, and how many more there are."""
    every = list(words)
    more = f" and {len(every) - at_most} more" if len(every) > at_most else ""
    return ", ".join(every[:at_most]) + more
