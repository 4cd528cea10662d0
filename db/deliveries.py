"""Queries about deliveries."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from db.tables import Delivery, Redemption
from domain.deliveries import UNSENT, DeliveryStatus
from domain.events import EventKind


def add_deliveries(session: AsyncSession, redemption: Redemption, channels: Iterable[str], event: EventKind) -> None:
    """Add one pending delivery of the event per channel."""
    ids = {"redemption_id": redemption.id, "shop_id": redemption.shop_id}
    session.add_all(Delivery(**ids, channel=channel, event=event) for channel in channels)


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


async def skip_unsent(session: AsyncSession, *conditions: ColumnElement[bool], reason: str) -> None:
    """Skip the unsent deliveries that meet the conditions."""
    unsent = update(Delivery).where(*conditions, Delivery.status.in_(UNSENT))
    await session.execute(unsent.values(status=DeliveryStatus.SKIPPED, last_error=reason))


async def list_unsent(session: AsyncSession, redemption_ids: Sequence[str]) -> Sequence[Delivery]:
    """The unsent deliveries of these redemptions, by channel."""
    query = select(Delivery).where(Delivery.redemption_id.in_(redemption_ids), Delivery.status.in_(UNSENT))
    return (await session.scalars(query.order_by(Delivery.channel))).all()
