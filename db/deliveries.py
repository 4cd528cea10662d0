"""Queries about deliveries."""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Delivery, Redemption
from domain.events import EventKind


def add_deliveries(session: AsyncSession, redemption: Redemption, channels: Iterable[str], event: EventKind) -> None:
    """One delivery of the event per channel that is to be told."""
    whose = {"redemption_id": redemption.id, "shop_id": redemption.shop_id}
    session.add_all(Delivery(**whose, channel=channel, event=event) for channel in channels)


async def lock_delivery(
    session: AsyncSession, shop_id: int, redemption_id: str, channel: str, event: EventKind
) -> Delivery | None:
    """One delivery, locked until the transaction ends."""
    query = select(Delivery).where(
        Delivery.shop_id == shop_id,
        Delivery.redemption_id == redemption_id,
        Delivery.channel == channel,
        Delivery.event == event,
    )
    return (await session.execute(query.with_for_update())).scalar_one_or_none()
