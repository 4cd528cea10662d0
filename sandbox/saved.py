"""State that outlives the sandbox's process: one row per object, written whenever the object changes."""

import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Saved:
    """The objects of all shops, in an SQLite file. Without a file nothing is saved."""

    def __init__(self, path: Path | None = None) -> None:
        self._database = None if path is None else _open(path)

    def save(self, shop: str, key: str, value: object) -> None:
        """Insert or replace an object."""
        if self._database is not None:
            self._database.execute(
                "INSERT INTO objects VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (shop, key, pickle.dumps(value)),
            )

    def load(self) -> Iterator[tuple[str, Any]]:
        """Each object with its shop, in the order of their creation."""
        if self._database is not None:
            for shop, value in self._database.execute("SELECT shop, value FROM objects ORDER BY rowid"):
                yield shop, pickle.loads(value)  # noqa: S301 - the sandbox's own file

    def clear(self) -> None:
        """Delete all objects."""
        if self._database is not None:
            self._database.execute("DELETE FROM objects")


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    # Survives a killed process; only a power failure can lose rows.
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE IF NOT EXISTS objects (shop, key, value, PRIMARY KEY (shop, key))")
    return database
