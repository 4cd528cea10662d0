"""Send events to marketing vendors, and the customer state to Shopify metafields."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from pydantic import SecretStr

from activities.credentials import ShopAccess, addressed, key_of, store_of
from activities.shopify_budgets import correct_budget, leave_to_purchases, left_to_purchases
from clients.outcomes import NoRecipient
from clients.shopify import Shopify
from database import Sessions
from db import shops
from db.customers import customer_state
from db.deliveries import ERASED, EventToSend, SendRule
from db.shopify_budgets import defer_metafield, find_budget
from db.tables import Shop
from db.vault import Vault
from domain.events import CustomerState, RewardEvent
from domain.shopify_budget import METAFIELD_COST, METAFIELD_RESERVE, ShopifyBudget

Send = Callable[[SecretStr, RewardEvent], Awaitable[None]]

MAX_EVENT_AGE = timedelta(hours=24)


class EventSender:
    """Sends events to one marketing vendor. Their values are fixed, so every retry sends the same bytes."""

    def __init__(self, vault: Vault, vendor: str, send: Send, *, repeatable: bool) -> None:
        self._vault = vault
        self._vendor = vendor
        self._send = send
        self.rule = SendRule(repeatable=repeatable, max_age=MAX_EVENT_AGE)

    async def send(self, event: EventToSend) -> None:
        """Send the event.

        Raises:
            NotExecuted, Refused, Unknown, NoRecipient: the outcome.
        """
        key = key_of(self._vault, event, self._vendor)
        await self._send(key, addressed(self._vault, event, self._vendor))


class MetafieldsSender:
    """Writes the customer's state to a Shopify metafield. State, not an event: it is read at the time of the call."""

    rule = SendRule(repeatable=True, max_age=None, shopify_cost=METAFIELD_COST)

    def __init__(self, sessions: Sessions, vault: Vault, shopify: Shopify) -> None:
        self._sessions = sessions
        self._vault = vault
        self._shopify = shopify

    async def send(self, event: EventToSend) -> None:
        """Write the state of the redemption's customer."""
        if not event.has_turn:
            async with self._sessions() as session:
                wait = await defer_metafield(session, event.shop_id)
            raise left_to_purchases(wait)
        await self._write(event, event.shop_id, event.event.customer_id, budget=event.budget)

    async def write(self, shop_id: int, customer_id: str) -> None:
        """Write the state of a customer.

        Raises:
            NotExecuted, Refused, Unknown: the outcome.
            NoRecipient: the customer is erased.
        """
        async with self._sessions() as session:
            shop = await shops.get_shop(session, shop_id)
            budget = await find_budget(session, shop_id)
        leave_to_purchases(budget, METAFIELD_RESERVE)
        await self._write(shop, shop_id, customer_id, budget=budget)

    async def _write(
        self, shop: Shop | ShopAccess, shop_id: int, customer_id: str, *, budget: ShopifyBudget | None
    ) -> None:
        """Write the state, and once more if it has changed meanwhile, so that no writer leaves an older state."""
        store = store_of(self._vault, shop)
        written = await self._state(shop_id, customer_id)
        if written is None:
            raise NoRecipient("Shopify", ERASED)
        await self._shopify.set_loyalty_metafield(store, customer_id, written)
        current = await self._state(shop_id, customer_id)
        if current not in (None, written):
            await self._shopify.set_loyalty_metafield(store, customer_id, current)
        await correct_budget(self._sessions, self._shopify, shop_id, shop.domain, known=budget)

    async def _state(self, shop_id: int, customer_id: str) -> CustomerState | None:
        async with self._sessions() as session:
            return await customer_state(session, shop_id, customer_id)
