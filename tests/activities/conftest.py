"""The steps themselves, without a workflow around them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.points import Points
from activities.refunds import Refunds
from clients.shopify import Shopify
from db.tables import Redemption
from db.vault import Vault
from domain.channels import Channel
from domain.redemptions import new_redemption_id
from tests.service import Json, Service, Shop, a_customer, a_lot, a_shop


@dataclass(kw_only=True)
class Steps:
    """One shop, one redemption, and the steps of its saga and of its refund."""

    shop: Shop
    points: Points
    discounts: Discounts
    refunds: Refunds
    shopify: Shopify
    first: Attempt

    @property
    def second(self) -> Attempt:
        """The attempt after the first."""
        return self.first.model_copy(update={"number": 2})

    async def row(self) -> Redemption:
        """The arbiter."""
        [row] = await self.shop.redemptions()
        return row


async def steps_for(service: Service, *lots: Json) -> Steps:
    """Steps for a customer with these lots."""
    shop = await service.open_shop(a_shop(a_customer(*lots)))
    caller = await service.caller(shop.full_key)
    template, version = service.settings.shopify_admin_url, service.settings.shopify_api_version
    shopify = Shopify(service.worker_http, url_template=template, api_version=version)
    attempt = Attempt(
        shop_id=caller.id,
        shop_domain=caller.domain,
        redemption_id=new_redemption_id(),
        number=1,
        customer_id=shop.customers[0],
        reward_id="reward_abc",
        deadline=datetime.now(UTC) + timedelta(minutes=1),
        channels=[Channel.KLAVIYO],
    )
    vault = Vault(service.settings.encryption_keys)
    discounts = Discounts(service.store, vault, shopify)
    refunds = Refunds(service.store, vault, shopify)
    points = Points(service.store)
    return Steps(shop=shop, points=points, discounts=discounts, refunds=refunds, shopify=shopify, first=attempt)


@pytest.fixture
async def steps(service: Service) -> Steps:
    """A customer with 300 older and 400 newer points."""
    return await steps_for(service, a_lot(300, days_old=20), a_lot(400))
