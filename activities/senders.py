"""Send events to marketing vendors, and the customer state to Shopify metafields."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from activities.credentials import key_of, store_of
from clients.shopify import Shopify
from database import Sessions
from db import discount_codes, points, shops, transactions
from db.tables import Customer, Redemption, Refund, Shop, VipTier
from db.vault import Vault
from domain.events import CustomerState, EventKind, RewardEvent

Send = Callable[[SecretStr, RewardEvent], Awaitable[None]]


class EventSender:
    """Sends events to one marketing vendor."""

    def __init__(self, sessions: Sessions, vault: Vault, vendor: str, send: Send, *, repeatable: bool) -> None:
        self._sessions = sessions
        self._vault = vault
        self._vendor = vendor
        self._send = send
        self.repeatable = repeatable
        self.max_age = timedelta(hours=24)

    async def send(self, shop_id: int, redemption_id: str, event: EventKind) -> None:
        """Send the event. Its values are fixed when it occurs, so every retry sends the same bytes.

        Raises:
            NotExecuted, Refused, Unknown: the outcome.
        """
        async with self._sessions() as session:
            shop = await shops.get_shop(session, shop_id)
            reward_event = await event_of(session, shop, redemption_id, event)
        await self._send(key_of(self._vault, shop, self._vendor), reward_event)


class MetafieldsSender:
    """Writes the customer's state to a Shopify metafield. State, not an event: it is read at the time of the call."""

    repeatable = True
    max_age = None

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    async def send(self, shop_id: int, redemption_id: str, event: EventKind) -> None:
        """Write the state of the redemption's customer."""
        async with self._sessions() as session:
            customer_id = (await session.get_one(Redemption, redemption_id)).customer_id
        await self.write(shop_id, customer_id)

    async def write(self, shop_id: int, customer_id: str) -> None:
        """Write the state, and once more if it has changed meanwhile, so that no writer leaves an older state.

        Raises:
            NotExecuted, Refused, Unknown: the outcome.
        """
        async with self._sessions() as session:
            shop = await shops.get_shop(session, shop_id)
        store = store_of(self._vault, shop)
        written = await self._state(shop_id, customer_id)
        await self._shopify.set_loyalty_metafield(store, customer_id, written)
        current = await self._state(shop_id, customer_id)
        if current != written:
            await self._shopify.set_loyalty_metafield(store, customer_id, current)

    async def _state(self, shop_id: int, customer_id: str) -> CustomerState:
        async with self._sessions() as session:
            customer = await session.get_one(Customer, (shop_id, customer_id))
            now = await transactions.now(session)
            balance = await points.balance(session, shop_id, customer_id, now=now)
            tier = customer.vip_tier_id and await session.get_one(VipTier, (shop_id, customer.vip_tier_id))
            return CustomerState(
                points_balance=balance,
                lifetime_points=customer.lifetime_points,
                redeemed_points=customer.redeemed_points,
                vip_tier=tier.name if tier else None,
                status="excluded" if customer.excluded else "member",
            )


async def event_of(session: AsyncSession, shop: Shop, redemption_id: str, kind: EventKind) -> RewardEvent:
    """The event of a redemption, with the values of the time it occurred."""
    row = await session.get_one(Redemption, redemption_id)
    customer = await session.get_one(Customer, (row.shop_id, row.customer_id))
    code = await discount_codes.customer_code(session, row)
    assert code is not None, "events follow the capture"
    occurred_at, balance = await _time_and_balance(session, row, kind)
    return RewardEvent(
        kind=kind,
        redemption_id=row.id,
        reward_id=row.reward_id,
        reward_name=row.reward_name,
        customer_id=customer.id,
        email=customer.email,
        phone=customer.phone,
        points=row.points_spent,
        points_balance=balance,
        discount_type=row.discount_type,
        discount_code=code,
        discount_value=row.discount_amount,
        currency=shop.currency,
        occurred_at=occurred_at,
        expires_at=row.expires_at if kind is EventKind.REWARD_REDEEMED else None,
    )


async def _time_and_balance(session: AsyncSession, row: Redemption, kind: EventKind) -> tuple[datetime, int]:
    """Time of the event, and the customer's balance right after it."""
    if kind is EventKind.REWARD_REDEEMED:
        occurred_at, balance = row.captured_at, row.balance_after
    else:
        refund = await session.get_one(Refund, row.id)
        occurred_at, balance = refund.refunded_at, refund.balance_after
    assert occurred_at is not None
    assert balance is not None
    return occurred_at, balance
