"""Queries about who is told of events by webhook, and who was."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.lists import Page
from db.tables import WebhookDelivery, WebhookSubscription
from domain.events import EventKind, RewardEvent
from domain.subscriptions import EVENTS, SENT, UNSENT


async def has_listeners(session: AsyncSession, shop_id: int) -> bool:
    """Whether anybody of the shop's is told of anything."""
    query = select(WebhookSubscription.id).where(*_active(shop_id)).limit(1)
    return (await session.execute(query)).first() is not None


async def find_subscription(session: AsyncSession, shop_id: int, subscription_id: str) -> WebhookSubscription | None:
    """A subscription of this shop."""
    return (await session.execute(_one(shop_id, subscription_id))).scalar_one_or_none()


async def lock_subscription(session: AsyncSession, shop_id: int, subscription_id: str) -> WebhookSubscription | None:
    """The subscription, locked until the transaction ends."""
    return (await session.execute(_one(shop_id, subscription_id).with_for_update())).scalar_one_or_none()


async def page_of_subscriptions(
    session: AsyncSession, shop_id: int, page: Page
) -> tuple[Sequence[WebhookSubscription], int]:
    """One page of the shop's subscriptions, and how many there are."""
    mine = WebhookSubscription.shop_id == shop_id
    total = (await session.execute(select(func.count()).select_from(WebhookSubscription).where(mine))).scalar_one()
    if page.offset >= total:
        return [], total
    order = (getattr(WebhookSubscription, page.sort), WebhookSubscription.id)
    query = select(WebhookSubscription).where(mine)
    query = query.order_by(*(column.desc() if page.descending else column.asc() for column in order))
    return (await session.scalars(query.offset(page.offset).limit(page.size))).all(), total


async def delete_all(session: AsyncSession, shop_id: int) -> None:
    """Nobody of the shop's is told of anything any more."""
    await session.execute(delete(WebhookSubscription).where(WebhookSubscription.shop_id == shop_id))


async def to_tell(
    session: AsyncSession, shop_id: int, news: RewardEvent
) -> Sequence[Row[WebhookDelivery, WebhookSubscription]]:
    """Whoever has not been told yet. The first time that is asked settles who is told at all: who listens then."""
    of_event = (WebhookDelivery.redemption_id == news.redemption_id, WebhookDelivery.event == news.kind)
    if (await session.execute(select(WebhookDelivery.id).where(*of_event).limit(1))).first() is None:
        await _begin(session, shop_id, news)
    query = select(WebhookDelivery, WebhookSubscription).join(
        WebhookSubscription, WebhookSubscription.id == WebhookDelivery.subscription_id
    )
    return (await session.execute(query.where(*of_event, WebhookDelivery.status == UNSENT, *_active(shop_id)))).all()


async def note_try(session: AsyncSession, delivery_id: UUID, *, state: str, status: int | None) -> None:
    """Keep what came of a try. What another run knows to be done stays done."""
    unsent = (WebhookDelivery.id == delivery_id, WebhookDelivery.status == UNSENT)
    await session.execute(
        update(WebhookDelivery)
        .where(*unsent)
        .values(
            attempts=WebhookDelivery.attempts + 1,
            last_status=status,
            status=state,
            sent_at=func.now() if state == SENT else None,
        )
    )


async def _begin(session: AsyncSession, shop_id: int, news: RewardEvent) -> None:
    # Locked, so that none is deleted before its delivery is there.
    query = select(WebhookSubscription.id).where(*_active(shop_id), _wants(news.kind))
    listeners = await session.scalars(query.with_for_update(read=True, key_share=True))
    event = {"redemption_id": news.redemption_id, "event": news.kind}
    rows = [{**event, "id": news.delivery_id(one), "subscription_id": one} for one in listeners]
    if rows:
        await session.execute(insert(WebhookDelivery).values(rows).on_conflict_do_nothing())


def _one(shop_id: int, subscription_id: str) -> Select[WebhookSubscription]:
    query = select(WebhookSubscription).where(WebhookSubscription.shop_id == shop_id)
    return query.where(WebhookSubscription.id == subscription_id)


def _active(shop_id: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (WebhookSubscription.shop_id == shop_id, WebhookSubscription.is_active.is_(True))


def _wants(kind: EventKind) -> ColumnElement[bool]:
    return WebhookSubscription.events.contains([EVENTS[kind]])
