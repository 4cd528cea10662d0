"""What each of Shopify's topics means here. News comes in any order, and more than once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from activities.used_codes import use_codes
from clients.shopify_webhooks import (
    CustomerDeleted,
    CustomerProfile,
    CustomerRedacted,
    DataRequested,
    Order,
    Person,
    ShopRedacted,
    Topic,
)
from db import customers, personal_data, redemptions, shops
from db.tables import ActivityLog, Shop

# Few enough for one transaction of some seconds.
ERASED_AT_A_TIME = 200

log = structlog.stdlib.get_logger("webhooks")


@dataclass(frozen=True, kw_only=True)
class News:
    """What Shopify said of a shop; `triggered_at` by Shopify's clock."""

    shop: Shop
    triggered_at: datetime
    body: bytes

    def is_about(self, shop_domain: str) -> bool:
        """Whether the body means this shop too. Which shop the header names is not signed."""
        if shop_domain.lower() != self.shop.domain:
            log.error("a webhook names one shop in its header and another in its body", shop_id=self.shop.id)
            return False
        return True


async def _order_created(session: AsyncSession, news: News) -> None:
    await use_codes(session, news.shop.id, Order.model_validate_json(news.body))


async def _order_cancelled(session: AsyncSession, news: News) -> None:
    order = Order.model_validate_json(news.body)
    for redemption in await use_codes(session, news.shop.id, order):
        await redemptions.tell_once(session, redemption, "order_cancelled", {"order_id": order.id})


async def _customer_updated(session: AsyncSession, news: News) -> None:
    profile = CustomerProfile.model_validate_json(news.body)
    changes = profile.model_dump(exclude_unset=True, exclude={"id", "updated_at"})
    await personal_data.follow(session, news.shop.id, profile.id, changes, as_of=profile.updated_at)


async def _customer_deleted(session: AsyncSession, news: News) -> None:
    customer_id = CustomerDeleted.model_validate_json(news.body).id
    await personal_data.erase_customer(session, news.shop.id, customer_id)


async def _customer_redacted(session: AsyncSession, news: News) -> None:
    told = CustomerRedacted.model_validate_json(news.body)
    if news.is_about(told.shop_domain):
        who = told.customer
        customer_id = await _whom(session, news, who)
        await personal_data.erase_customer(session, news.shop.id, customer_id, known_as=[who.email, who.phone])


async def _data_requested(session: AsyncSession, news: News) -> None:
    told = DataRequested.model_validate_json(news.body)
    customer_id = await _whom(session, news, told.customer)
    if news.is_about(told.shop_domain) and customer_id is not None:
        whose = {"shop_id": news.shop.id, "customer_id": customer_id}
        facts = {"data_request_id": told.data_request.id}
        session.add(ActivityLog(**whose, kind="customer_data_requested", facts=facts))


async def _whom(session: AsyncSession, news: News, person: Person) -> str | None:
    """The id of the customer who is meant; some are named by their e-mail address alone."""
    identifier = person.id or person.email
    customer = identifier and await customers.find_customer(session, news.shop.id, identifier)
    return customer.id if customer else None


async def _app_uninstalled(session: AsyncSession, news: News) -> None:
    await shops.forget_credentials(session, news.shop.id, before=news.triggered_at)


async def _shop_redacted(session: AsyncSession, news: News) -> bool:
    told = ShopRedacted.model_validate_json(news.body)
    if not news.is_about(told.shop_domain):
        return False
    await shops.close_shop(session, news.shop)
    return await personal_data.erase_customers(session, news.shop.id, at_most=ERASED_AT_A_TIME)


HANDLERS: dict[Topic, Callable[[AsyncSession, News], Awaitable[bool | None]]] = {
    Topic.ORDER_CREATED: _order_created,
    Topic.ORDER_CANCELLED: _order_cancelled,
    Topic.CUSTOMER_UPDATED: _customer_updated,
    Topic.CUSTOMER_DELETED: _customer_deleted,
    Topic.DATA_REQUESTED: _data_requested,
    Topic.CUSTOMER_REDACTED: _customer_redacted,
    Topic.APP_UNINSTALLED: _app_uninstalled,
    Topic.SHOP_REDACTED: _shop_redacted,
}
"""In one transaction each. True when there is more to do than fits into one."""
