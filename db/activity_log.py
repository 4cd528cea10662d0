"""The merchant's activity log, as operators' requests enter it."""

from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.housekeeping import Stranded
from db.tables import ActivityLog


async def log_request(session: AsyncSession, attempt: Stranded, *, kind: str, mark: str, facts: dict[str, Any]) -> None:
    """Note what an operator asks for, before it is done. A request with the same mark is the same request."""
    entry = insert(ActivityLog).values(
        shop_id=attempt.shop_id,
        customer_id=attempt.customer_id,
        redemption_id=attempt.redemption_id,
        kind=kind,
        mark=mark,
        facts=facts,
    )
    await session.execute(entry.on_conflict_do_nothing(index_elements=["redemption_id", "mark"]))
