"""Delete old rows in short transactions, and a bounded number of them: the next reconciliation deletes the rest."""

from collections.abc import Awaitable
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from database import Sessions

# One batch takes about 20 ms, so that its locks are short. All of them take far less than the time-out of 30 s.
BATCH_SIZE = 1000
BATCHES_PER_RUN = 20


class DeleteBatch(Protocol):
    """Deletes up to `limit` rows, and returns how many."""

    def __call__(self, session: AsyncSession, *, limit: int) -> Awaitable[int]: ...


async def prune(sessions: Sessions, delete_batch: DeleteBatch) -> int:
    """Delete batches until nothing is left, or enough for one run; returns the number of rows."""
    deleted = 0
    for _ in range(BATCHES_PER_RUN):
        async with sessions() as session:
            batch = await delete_batch(session, limit=BATCH_SIZE)
        if batch == 0:
            break
        deleted += batch
    return deleted
