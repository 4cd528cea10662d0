"""Encrypt everything sealed again with the first of `ENCRYPTION_KEYS`, while purchases run."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, cast

from cryptography.fernet import InvalidToken

from database import Sessions
from db.sealed import SEALED_COLUMNS, SealedColumn, page_of_values, replace_values
from db.vault import Vault

# Keeps a transaction under 0.1 s: it locks these rows.
BATCH = 200

# Rows that a purchase had locked are met in the next pass.
PASSES = 5


@dataclass(kw_only=True)
class Resealed:
    """What was found in a column. The names are keys of `keys reseal --json`.

    Attributes:
        left: rows that an older key encrypts still: they were locked, or a process with old settings wrote them.
        unreadable: rows that none of the keys decrypts.
    """

    contents: str
    resealed: int = 0
    left: int = 0
    unreadable: int = 0


class Reseal:
    def __init__(self, sessions: Sessions, vault: Vault) -> None:
        self._sessions = sessions
        self._vault = vault

    async def run(self, on_rows: Callable[[int], object]) -> list[Resealed]:
        """Reseal every column. Can be interrupted and repeated at any time: what is done is recognised.

        `on_rows` gets the number of rows after each batch.
        """
        return [await self._reseal(sealed, on_rows) for sealed in SEALED_COLUMNS]

    async def _reseal(self, sealed: SealedColumn, on_rows: Callable[[int], object]) -> Resealed:
        found = Resealed(contents=sealed.contents)
        for _ in range(PASSES):
            async for rows in self._batches(sealed, found):
                on_rows(rows)
            await self._count_rest(sealed, found)
            if not found.left:
                break
        return found

    async def _batches(self, sealed: SealedColumn, found: Resealed) -> AsyncGenerator[int]:
        """One pass. Yields the number of rows of each committed batch."""
        after = None
        while True:
            async with self._sessions.begin() as session:
                page = await page_of_values(session, sealed, after=after, rows=BATCH, locked=True)
                changed = [(*key, value) for *key, old in page if (value := self._resealed(old)) is not None]
                if changed:
                    await replace_values(session, sealed, changed)
            if not page:
                return
            found.resealed += len(changed)
            *after, _ = page[-1]
            yield len(page)

    async def _count_rest(self, sealed: SealedColumn, found: Resealed) -> None:
        found.left = found.unreadable = 0
        after = None
        while True:
            async with self._sessions() as session:
                page = await page_of_values(session, sealed, after=after, rows=BATCH, locked=False)
            if not page:
                return
            for *_, value in page:
                found.left += self._resealed(value) is not None
                found.unreadable += not self._is_readable(value)
            *after, _ = page[-1]

    def _resealed(self, value: Any) -> Any:
        """The value with every readable part under the first key. None: nothing is to be changed."""
        parts = ciphertexts_of(value)
        new = [self._reseal_part(part) for part in parts]
        return None if new == parts else _rebuilt(value, new)

    def _reseal_part(self, part: bytes) -> bytes:
        try:
            return self._vault.reseal(part) or part
        except InvalidToken:
            return part

    def _is_readable(self, value: Any) -> bool:
        try:
            for part in ciphertexts_of(value):
                self._vault.open_bytes(part)
        except InvalidToken:
            return False
        return True


def ciphertexts_of(value: Any) -> list[bytes]:
    """The ciphertexts of a value: bytes, or a list or mapping of texts."""
    if isinstance(value, bytes):
        return [value]
    texts = cast("dict[str, str]", value).values() if isinstance(value, dict) else cast("list[str]", value)
    return [text.encode() for text in texts]


def _rebuilt(value: Any, parts: list[bytes]) -> Any:
    """The value with other ciphertexts."""
    if isinstance(value, bytes):
        return parts[0]
    texts = [part.decode() for part in parts]
    return dict(zip(cast("dict[str, str]", value), texts, strict=True)) if isinstance(value, dict) else texts
