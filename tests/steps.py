"""The activities of one redemption, called without a workflow."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update

from activities.attempt import Attempt
from activities.discounts import Discounts
from activities.points import Points
from activities.refunds import Refunds
from activities.reissues import Reissues
from clients.shopify import Shopify, Store
from db.captures import find_code
from db.tables import DiscountCode, PointLot, Redemption
from db.vault import Vault
from domain.channels import Channel
from domain.discounts import Discount
from domain.ids import new_redemption_id
from tests.builders import Json, a_customer, a_shop
from tests.service import Service
from tests.shop import Shop


@dataclass(kw_only=True)
class Steps:
    """A shop, and two attempts at one redemption."""

    service: Service
    shop: Shop
    points: Points
    discounts: Discounts
    refunds: Refunds
    reissues: Reissues
    shopify: Shopify
    first: Attempt

    @property
    def second(self) -> Attempt:
        return self.first.model_copy(update={"number": 2})

    async def capture(self, attempt: Attempt | None = None) -> None:
        """Reserve the points, and generate the code."""
        await self.points.reserve_points(attempt or self.first)
        await self.discounts.generate_discount_code(attempt or self.first)

    async def row(self) -> Redemption:
        [row] = await self.shop.redemptions()
        return row

    async def change_row(self, **values: Any) -> None:
        mine = update(Redemption).where(Redemption.id == self.first.redemption_id)
        async with self.service.store.begin() as session:
            await session.execute(mine.values(**values))

    async def codes(self) -> list[DiscountCode]:
        """The codes of all attempts, oldest first."""
        query = select(DiscountCode).where(DiscountCode.redemption_id == self.first.redemption_id)
        async with self.service.store() as session:
            return list(await session.scalars(query.order_by(DiscountCode.id)))

    async def planned_discount(self) -> tuple[Store, Discount]:
        """The discount as it will be requested from Shopify."""
        mine = self.first
        async with self.service.store() as session:
            code = await find_code(session, shop_id=mine.shop_id, redemption_id=mine.redemption_id, attempt=mine.number)
        assert code is not None
        request = self.discounts._codes.request(code)  # pyright: ignore[reportPrivateUsage]
        return request.store, request.discount

    async def expire_lots(self, expires_in: timedelta = timedelta(hours=-1)) -> None:
        mine = update(PointLot).where(PointLot.customer_id == self.first.customer_id)
        async with self.service.store.begin() as session:
            await session.execute(mine.values(expires_at=func.now() + expires_in))


async def steps_for(service: Service, *lots: Json, **changes: Any) -> Steps:
    """Steps of a customer with these lots, in a shop with these changes."""
    shop = await service.open_shop(a_shop(a_customer(*lots), **changes))
    attempt = Attempt(
        shop_id=(await shop.row()).id,
        shop_domain=shop.domain,
        redemption_id=new_redemption_id(),
        number=1,
        customer_id=shop.customers[0],
        reward_id="reward_abc",
        deadline=datetime.now(UTC) + timedelta(minutes=1),
        channels=[Channel.KLAVIYO],
    )
    vault, shopify = Vault(service.settings.encryption_keys), shopify_client(service)
    return Steps(
        service=service,
        shop=shop,
        points=Points(service.store, vault),
        discounts=Discounts(service.store, vault, shopify),
        refunds=Refunds(service.store, vault, shopify),
        reissues=Reissues(service.store, vault, shopify),
        shopify=shopify,
        first=attempt,
    )


def shopify_client(service: Service) -> Shopify:
    template, version = service.settings.shopify_admin_url, service.settings.shopify_api_version
    return Shopify(service.worker_http, url_template=template, api_version=version)
