"""Statements and transactions that PostgreSQL ran, counted in the server's own log."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

# %v is the virtual transaction id. A statement outside BEGIN and COMMIT has one of its own.
PREFIX = "transaction %v; "
LINE = re.compile(r"^transaction (\d+/\d+); LOG:  (?:statement|execute [^:]+): (.*(?:\n\t.*)*)", re.MULTILINE)
LOG_EVERYTHING = {"log_line_prefix": PREFIX, "log_statement": "all"}


@dataclass(frozen=True, kw_only=True)
class DatabaseCost:
    """What PostgreSQL ran. `sql`: each statement, BEGIN and COMMIT included, with its number of executions."""

    transactions: int
    sql: Counter[str]

    @classmethod
    def of(cls, log: str) -> Self:
        """Count the statements of a log with `PREFIX`."""
        found = LINE.findall(log)
        statements = (" ".join(statement.split()) for _, statement in found)
        return cls(transactions=len({transaction for transaction, _ in found}), sql=Counter(statements))

    @property
    def statements(self) -> int:
        """Number of statements, BEGIN and COMMIT included."""
        return self.sql.total()

    def listing(self) -> str:
        """The statements, most frequent first: for error messages."""
        return "\n".join(f"{count:4} {statement[:120]}" for statement, count in self.sql.most_common())


class StatementLog:
    """The log of a server that logs every statement before it runs it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def restart(self) -> None:
        """Begin to count here."""
        self._offset = self._path.stat().st_size

    def read(self) -> DatabaseCost:
        """What was run since `restart`."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            return DatabaseCost.of(file.read().decode(errors="replace"))


@asynccontextmanager
async def statement_log(database_url: str, path: Path) -> AsyncGenerator[StatementLog]:
    """Have the server log every statement until the block ends. `path`: its log. The user must be a superuser."""
    await _alter_system(database_url, (f"SET {name} = '{value}'" for name, value in LOG_EVERYTHING.items()))
    try:
        log = StatementLog(path)
        log.restart()
        yield log
    finally:
        await _alter_system(database_url, (f"RESET {name}" for name in LOG_EVERYTHING))


async def _alter_system(database_url: str, changes: Iterable[str]) -> None:
    """Change settings of the server. Returns when each of its sessions uses them for its next statement."""
    engine = create_async_engine(database_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with engine.connect() as connection:
        before = await _settings(connection)
        for change in changes:
            await connection.execute(text(f"ALTER SYSTEM {change}"))
        await connection.execute(text("SELECT pg_reload_conf()"))
    # The server signals its sessions before it accepts a connection with the new settings.
    while True:
        async with engine.connect() as connection:
            if await _settings(connection) != before:
                return
        await asyncio.sleep(0.01)


async def _settings(connection: AsyncConnection) -> list[str | None]:
    return [await connection.scalar(text(f"SHOW {name}")) for name in LOG_EVERYTHING]
