"""Handle Shopify webhooks by topic. Webhooks arrive in any order and more than once."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from activities import order_webhooks
from activities.order_webhooks import Requested
from clients.shopify_webhooks import (
    AppUninstalled,
    CustomerAccount,
    CustomerDeleted,
    CustomerProfile,
    CustomerRedacted,
    CustomersMerged,
    DataRequested,
    Order,
    Person,
    Refund,
    ShopRedacted,
    Topic,
)
from db import customers, merges, personal_data, shops
from db.activity_log import log_customer
from db.tables import Shop
from domain.activity_log import ActivityKind

# Batch size: keeps one transaction under about 5 s.
CUSTOMERS_PER_BATCH = 200

ACTOR = "Shopify"
"""In the activity log."""

log = structlog.stdlib.get_logger("webhooks")


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """A webhook of a shop. `triggered_at`: time of the event, by Shopify's clock."""

    shop: Shop
    triggered_at: datetime
    body: bytes

    def concerns(self, shop_domain: str) -> bool:
        """Whether the body names this shop too. The header that names the shop is not signed."""
        if shop_domain.lower() != self.shop.domain:
            log.error("webhook header and body name different shops", shop_id=self.shop.id)
            return False
        return True


async def _order_created(session: AsyncSession, webhook: Webhook) -> Requested:
    return await order_webhooks.order_created(session, webhook.shop, Order.model_validate_json(webhook.body))


async def _order_cancelled(session: AsyncSession, webhook: Webhook) -> Requested:
    return await order_webhooks.order_cancelled(session, webhook.shop, Order.model_validate_json(webhook.body))


async def _refund_created(session: AsyncSession, webhook: Webhook) -> Requested:
    return await order_webhooks.refund_created(session, webhook.shop, Refund.model_validate_json(webhook.body))


async def _customer_created(session: AsyncSession, webhook: Webhook) -> None:
    await _enroll(session, webhook, CustomerProfile.model_validate_json(webhook.body).id)
    await _customer_updated(session, webhook)


async def _enroll(session: AsyncSession, webhook: Webhook, customer_id: str) -> None:
    """Add the customer, unless the shop has them, or enrols no customers.

    The end of a customer adds them too: their `customers/create` may come later, and must not find them unknown.
    """
    if webhook.shop.enroll_customers:
        await personal_data.enroll_customer(session, webhook.shop.id, customer_id, actor=ACTOR)


async def _account_changed(session: AsyncSession, webhook: Webhook) -> None:
    account = CustomerAccount.model_validate_json(webhook.body)
    row = await customers.lock_customer(session, webhook.shop.id, account.id)
    if row is None or row.is_closed or (row.account_as_of or account.updated_at) > account.updated_at:
        return
    row.account_as_of = account.updated_at
    if account.is_disabled:
        if webhook.shop.exclude_disabled_customers and not row.excluded:
            await customers.change(session, row, {"excluded": True}, actor=ACTOR)
            row.excluded_by_account = True
    elif row.excluded_by_account:
        await customers.change(session, row, {"excluded": False}, actor=ACTOR)


async def _customers_merged(session: AsyncSession, webhook: Webhook) -> None:
    merge = CustomersMerged.model_validate_json(webhook.body)
    if merge.is_completed:
        await _enroll(session, webhook, merge.merged_id)
        ids = {"kept_id": merge.kept_id, "merged_id": merge.merged_id}
        await merges.merge_customers(session, webhook.shop.id, **ids, actor=ACTOR)


async def _customer_updated(session: AsyncSession, webhook: Webhook) -> None:
    profile = CustomerProfile.model_validate_json(webhook.body)
    changes = profile.model_dump(exclude_unset=True, exclude={"id", "updated_at"})
    await personal_data.update_profile(session, webhook.shop.id, profile.id, changes, as_of=profile.updated_at)


async def _customer_deleted(session: AsyncSession, webhook: Webhook) -> None:
    customer_id = CustomerDeleted.model_validate_json(webhook.body).id
    await _enroll(session, webhook, customer_id)
    await personal_data.erase_customer(session, webhook.shop.id, customer_id)


async def _customer_redacted(session: AsyncSession, webhook: Webhook) -> None:
    request = CustomerRedacted.model_validate_json(webhook.body)
    if webhook.concerns(request.shop_domain):
        person = request.customer
        if person.id:
            await _enroll(session, webhook, person.id)
        customer_id = await _customer_id(session, webhook, person)
        identifiers = [person.email, person.phone]
        await personal_data.erase_customer(session, webhook.shop.id, customer_id, identifiers=identifiers)


async def _data_requested(session: AsyncSession, webhook: Webhook) -> None:
    request = DataRequested.model_validate_json(webhook.body)
    customer_id = await _customer_id(session, webhook, request.customer)
    if webhook.concerns(request.shop_domain) and customer_id is not None:
        facts = {"data_request_id": request.data_request.id}
        log_customer(session, webhook.shop.id, customer_id, ActivityKind.CUSTOMER_DATA_REQUESTED, facts)


async def _customer_id(session: AsyncSession, webhook: Webhook, person: Person) -> str | None:
    """Id of the customer. Some requests name customers by e-mail address only."""
    identifier = person.id or person.email
    customer = identifier and await customers.find_customer(session, webhook.shop.id, identifier)
    return customer.id if customer else None


async def _app_uninstalled(session: AsyncSession, webhook: Webhook) -> None:
    domain = AppUninstalled.model_validate_json(webhook.body).myshopify_domain
    if domain is None or webhook.concerns(domain):
        await shops.delete_credentials(session, webhook.shop.id, before=webhook.triggered_at)


async def _shop_redacted(session: AsyncSession, webhook: Webhook) -> bool:
    request = ShopRedacted.model_validate_json(webhook.body)
    if not webhook.concerns(request.shop_domain):
        return False
    await shops.close_shop(session, webhook.shop)
    return await personal_data.erase_customers(session, webhook.shop.id, limit=CUSTOMERS_PER_BATCH)


HANDLERS: dict[Topic, Callable[[AsyncSession, Webhook], Awaitable[bool | Requested | None]]] = {
    Topic.ORDER_CREATED: _order_created,
    Topic.ORDER_CANCELLED: _order_cancelled,
    Topic.REFUND_CREATED: _refund_created,
    Topic.CUSTOMER_CREATED: _customer_created,
    Topic.CUSTOMER_UPDATED: _customer_updated,
    Topic.CUSTOMER_DISABLED: _account_changed,
    Topic.CUSTOMER_ENABLED: _account_changed,
    Topic.CUSTOMERS_MERGED: _customers_merged,
    Topic.CUSTOMER_DELETED: _customer_deleted,
    Topic.DATA_REQUESTED: _data_requested,
    Topic.CUSTOMER_REDACTED: _customer_redacted,
    Topic.APP_UNINSTALLED: _app_uninstalled,
    Topic.SHOP_REDACTED: _shop_redacted,
}
"""Each runs in one transaction. True: another transaction is needed. A list: what the webhook requested."""
