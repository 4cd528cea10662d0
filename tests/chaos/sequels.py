"""What becomes of codes that were bought: some are kept, some ordered with, some given back, some both at once."""

import asyncio
from enum import StrEnum
from random import Random

from tests.chaos.apis import Apis, Manner
from tests.chaos.dice import dice
from tests.chaos.vendors import Vendors
from tests.chaos.wishes import Order, Purchase, Refund, Wishes

SHOPIFY_TRIES = (40,)
"""Shopify tells of an order until it is answered, for hours."""


class Sequel(StrEnum):
    """What a customer does with a code."""

    KEEP = "keep"
    REFUND = "refund"
    ORDER = "order"
    REFUND_AFTER_ORDER = "refund after order"
    BOTH_AT_ONCE = "both at once"


WEIGHTS = {
    Sequel.KEEP: 25,
    Sequel.REFUND: 35,
    Sequel.ORDER: 15,
    Sequel.REFUND_AFTER_ORDER: 5,
    Sequel.BOTH_AT_ONCE: 20,
}


class Sequels:
    """Customers with codes."""

    def __init__(self, apis: Apis, vendors: Vendors, wishes: Wishes, *, seed: int) -> None:
        self._apis = apis
        self._vendors = vendors
        self._wishes = wishes
        self._seed = seed

    async def follow(self, number: int, purchase: Purchase) -> None:
        """Do with the code whatever this customer does, after a while; return when it is through."""
        chance = dice(self._seed, "sequel", number)
        [sequel] = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        if sequel is Sequel.KEEP:
            return
        await asyncio.sleep(chance.uniform(0, 4))
        orders, refunds = dice(self._seed, "order", number), dice(self._seed, "refund", number)
        match sequel:
            case Sequel.REFUND:
                await self._refund(purchase, refunds)
            case Sequel.ORDER:
                await self._order(number, purchase, orders)
            case Sequel.REFUND_AFTER_ORDER:
                await self._order(number, purchase, orders)
                await self._refund(purchase, refunds)
            case Sequel.BOTH_AT_ONCE:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._order(number, purchase, orders))
                    both.create_task(self._refund(purchase, refunds))

    async def _refund(self, purchase: Purchase, chance: Random) -> None:
        refund = Refund(redemption_id=purchase.bought[0].redemption_id)
        self._wishes.refunds.append(refund)
        await self._apis.insist(refund, Manner.of(chance))

    async def _order(self, number: int, purchase: Purchase, chance: Random) -> None:
        """Order with the code, and have Shopify tell of it. One order in three is told before it is counted."""
        answer, counted = purchase.bought[0], chance.random() < 2 / 3
        if counted and not await self._vendors.use(answer.discount_code):
            return
        order = Order(number=number, redemption_id=answer.redemption_id, code=answer.discount_code, counted=counted)
        self._wishes.orders.append(order)
        await self._apis.insist(order, Manner.of(chance, tries=SHOPIFY_TRIES))
        if not counted:
            await self._vendors.use(answer.discount_code)
