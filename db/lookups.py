"""Find redemptions by whatever an operator has at hand."""

from collections.abc import Sequence

from sqlalchemy import func, select, union
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import DiscountCode, IdempotencyKey, Redemption
from domain.ids import parse_workflow_id


async def find_redemption_ids(session: AsyncSession, reference: str) -> Sequence[str]:
    """Redemptions with this id, workflow id, discount code or request id, of every shop: for operators only.

    A request that was refused has an id of a redemption that does not exist.
    """
    parsed = parse_workflow_id(reference)
    found = union(
        select(Redemption.id).where(Redemption.id == (parsed[0] if parsed else reference)),
        select(DiscountCode.redemption_id).where(func.upper(DiscountCode.code) == reference.upper()),
        select(IdempotencyKey.redemption_id).where(IdempotencyKey.request_id == reference),
    )
    return (await session.scalars(found)).all()
