"""Locks of profile updates and erasures, without workflows."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import func, insert, select

from db.customers import lock_customer
from db.personal_data import KEYS_PER_BATCH, erase_customers, update_profile
from db.tables import Customer, IdempotencyKey
from tests.builders import a_customer, a_shop
from tests.service import Service
from tests.shop import Shop
from tests.waiting import locks_waited_for, wait_until


async def test_an_address_is_moved_with_customers_locked_by_id(without_temporal: Service) -> None:
    shop = await without_temporal.open_shop(a_shop(a_customer(customer_id="1"), a_customer(customer_id="2")))
    store, shop_id = without_temporal.store, (await shop.row()).id

    async def give_to_second() -> None:
        async with store.begin() as session:
            changes = {"email": "jane.1@shopper.io"}
            await update_profile(session, shop_id, "2", changes, as_of=datetime.now(UTC))

    async with store.begin() as session:
        await lock_customer(session, shop_id, "1")
        update = asyncio.ensure_future(give_to_second())
        await wait_until(lambda: locks_waited_for(store))

        # In the other order this would be a deadlock.
        assert await lock_customer(session, shop_id, "2", skip_locked=True)

    await update
    async with store() as session:
        rows = {one.id: one.email for one in await session.scalars(select(Customer))}
    assert rows == {"1": None, "2": "jane.1@shopper.io"}


async def test_the_keys_of_a_redacted_shop_are_deleted_in_batches(without_temporal: Service) -> None:
    shop = await without_temporal.open_shop(a_shop())
    shop_id, more = (await shop.row()).id, 10
    async with without_temporal.store.begin() as session:
        numbers = map(str, range(KEYS_PER_BATCH + more))
        keys = [{"shop_id": shop_id, "key": one, "fingerprint": b"", "redemption_id": one} for one in numbers]
        await session.execute(insert(IdempotencyKey), keys)

    assert await erase_once(shop, shop_id)
    assert await keys_left(without_temporal) == more
    assert not await erase_once(shop, shop_id)
    assert await keys_left(without_temporal) == 0


async def erase_once(shop: Shop, shop_id: int) -> bool:
    """Run one transaction. Whether another is needed."""
    async with shop.service.store.begin() as session:
        return await erase_customers(session, shop_id, limit=200)


async def keys_left(service: Service) -> int | None:
    async with service.store() as session:
        return await session.scalar(select(func.count()).select_from(IdempotencyKey))
