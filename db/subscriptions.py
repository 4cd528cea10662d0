"""Queries about webhook subscriptions and their deliveries."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from db.lists import Page, page_of_few
from db.tables import WebhookDelivery, WebhookSubscription
from domain.events import EventKind, RewardEvent
from domain.subscriptions import SENT_EVENTS, WebhookDeliveryStatus


async def has_active_subscriptions(session: AsyncSession, shop_id: int) -> bool:
    """Whether the shop has a subscription that is not paused."""
    query = select(WebhookSubscription.id).where(*_active(shop_id)).limit(1)
    return (await session.execute(query)).first() is not None


async def count_subscriptions(session: AsyncSession, shop_id: int) -> int:
    """Number of the shop's subscriptions, including paused ones."""
    query = select(func.count()).select_from(WebhookSubscription).where(WebhookSubscription.shop_id == shop_id)
    return (await session.execute(query)).scalar_one()


async def find_subscription(session: AsyncSession, shop_id: int, subscription_id: str) -> WebhookSubscription | None:
    """A subscription of the shop."""
    return (await session.execute(_one(shop_id, subscription_id))).scalar_one_or_none()


async def lock_subscription(session: AsyncSession, shop_id: int, subscription_id: str) -> WebhookSubscription | None:
    """A subscription of the shop, locked until the transaction ends."""
    return (await session.execute(_one(shop_id, subscription_id).with_for_update())).scalar_one_or_none()


async def page_of_subscriptions(
    session: AsyncSession, shop_id: int, page: Page
) -> tuple[Sequence[WebhookSubscription], int]:
    """One page of the shop's subscriptions, and the total."""
    return await page_of_few(session, WebhookSubscription, page, WebhookSubscription.shop_id == shop_id)


async def delete_subscriptions(session: AsyncSession, shop_id: int) -> None:
    """Delete every subscription of the shop."""
    await session.execute(delete(WebhookSubscription).where(WebhookSubscription.shop_id == shop_id))


async def unsent_deliveries(
    session: AsyncSession, shop_id: int, event: RewardEvent
) -> Sequence[Row[WebhookDelivery, WebhookSubscription]]:
    """The event's unsent deliveries. The first call fixes the recipients: the subscribers at that time."""
    of_event = (WebhookDelivery.redemption_id == event.redemption_id, WebhookDelivery.event == event.kind)
    if (await session.execute(select(WebhookDelivery.id).where(*of_event).limit(1))).first() is None:
        await _add_deliveries(session, shop_id, event)
    query = select(WebhookDelivery, WebhookSubscription).join(
        WebhookSubscription, WebhookSubscription.id == WebhookDelivery.subscription_id
    )
    unsent = WebhookDelivery.status == WebhookDeliveryStatus.UNSENT
    return (await session.execute(query.where(*of_event, unsent, *_active(shop_id)))).all()


async def record_attempt(
    session: AsyncSession, delivery_id: UUID, *, status: WebhookDeliveryStatus, http_status: int | None
) -> None:
    """Record a send attempt. A delivery that another attempt completed stays completed."""
    unsent = (WebhookDelivery.id == delivery_id, WebhookDelivery.status == WebhookDeliveryStatus.UNSENT)
    await session.execute(
        update(WebhookDelivery)
        .where(*unsent)
        .values(
            attempts=WebhookDelivery.attempts + 1,
            last_status=http_status,
            status=status,
            sent_at=func.now() if status is WebhookDeliveryStatus.SENT else None,
        )
    )


async def _add_deliveries(session: AsyncSession, shop_id: int, event: RewardEvent) -> None:
    # Locked, so that no subscription is deleted before its delivery is added.
    query = select(WebhookSubscription.id).where(*_active(shop_id), _subscribes(event.kind))
    subscription_ids = await session.scalars(query.with_for_update(read=True, key_share=True))
    of_event = {"redemption_id": event.redemption_id, "event": event.kind}
    rows = [{**of_event, "id": event.delivery_id(one), "subscription_id": one} for one in subscription_ids]
    if rows:
        await session.execute(insert(WebhookDelivery).values(rows).on_conflict_do_nothing())


def _one(shop_id: int, subscription_id: str) -> Select[WebhookSubscription]:
    query = select(WebhookSubscription).where(WebhookSubscription.shop_id == shop_id)
    return query.where(WebhookSubscription.id == subscription_id)


def _active(shop_id: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (WebhookSubscription.shop_id == shop_id, WebhookSubscription.is_active.is_(True))


def _subscribes(kind: EventKind) -> ColumnElement[bool]:
    return WebhookSubscription.events.contains([SENT_EVENTS[kind]])
