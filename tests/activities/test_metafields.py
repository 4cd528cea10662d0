"""Stale metafields are written once, with the customer's latest state."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from activities.metafields import Metafields
from activities.senders import MetafieldsSender
from db.metafields import mark_stale
from db.tables import StaleMetafield
from db.vault import Vault
from tests.builders import ALL_VENDORS, Json, a_customer, a_lot, a_shop, encrypt_with_lost_key
from tests.service import Service
from tests.shop import Shop
from tests.steps import Steps, shopify_client
from tests.waiting import wait_until


@pytest.fixture
async def metafields(service: Service) -> Metafields:
    vault = Vault(service.settings.encryption_keys)
    return Metafields(service.store, MetafieldsSender(service.store, vault, shopify_client(service)))


async def stale_shop(service: Service, *, customers: int = 1, vendors: Sequence[str] = ALL_VENDORS) -> Shop:
    """A shop whose customers' metafields are stale."""
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(customers)), vendors=vendors))
    await mark(shop)
    return shop


async def mark(shop: Shop) -> None:
    shop_id = (await shop.row()).id
    async with shop.service.store.begin() as session:
        for customer in shop.customers:
            await mark_stale(session, shop_id, customer)


async def a_minute_later(service: Service) -> None:
    async with service.store.begin() as session:
        await session.execute(update(StaleMetafield).values(due_at=StaleMetafield.due_at - timedelta(minutes=1)))


async def written(service: Service) -> dict[str, int]:
    """Customer → points in the metafield at Shopify."""
    stored = (await service.vendor("shopify"))["metafields"]
    return {one["ownerId"].rpartition("/")[2]: json.loads(one["value"])["points_balance"] for one in stored}


async def stale(service: Service) -> set[str]:
    async with service.store() as session:
        return set(await session.scalars(select(StaleMetafield.customer_id)))


async def test_a_change_is_written_once(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service, customers=3)

    assert [await metafields.sync_metafields(None), await metafields.sync_metafields(None)] == [3, 0]

    assert await written(service) == dict.fromkeys(shop.customers, 500)
    assert await stale(service) == set()
    assert await service.requests("shopify") == 3


async def test_a_change_during_a_write_is_written_too(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service)
    await service.add_fault("shopify", "latency", operation="metafieldsSet", seconds=0.5)
    sync = asyncio.ensure_future(metafields.sync_metafields(None))
    await wait_until(lambda: service.requests("shopify"))
    await mark(shop)
    await sync
    assert await stale(service) == set(shop.customers)

    await metafields.sync_metafields(None)

    assert await stale(service) == set()


async def test_released_points_are_written(service: Service, steps: Steps, metafields: Metafields) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.points.release_points(steps.first)

    await metafields.sync_metafields(None)

    assert await written(service) == {steps.first.customer_id: 700}


async def test_without_shopify_metafields_stay_stale(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service, vendors=["klaviyo"])

    assert await metafields.sync_metafields(None) == 0

    assert await stale(service) == set(shop.customers)


@pytest.mark.parametrize("fault", [{"kind": "down"}, {"kind": "throttled"}, {"kind": "status", "status": 503}])
async def test_a_failed_write_is_retried_a_minute_later(service: Service, metafields: Metafields, fault: Json) -> None:
    shop = await stale_shop(service)
    await service.add_fault("shopify", **fault)

    assert await metafields.sync_metafields(None) == 0
    await service.clear_faults("shopify")
    assert await metafields.sync_metafields(None) == 0, "not at once"
    await a_minute_later(service)
    assert await metafields.sync_metafields(None) == 1

    assert await written(service) == dict.fromkeys(shop.customers, 500)


async def test_a_rejected_token_is_used_once_per_batch(service: Service, metafields: Metafields) -> None:
    broken, sound = await stale_shop(service, customers=5), await stale_shop(service)
    await service.vendors.put(f"/_sandbox/shopify/shops/{broken.domain}", json={"access_token": "another"})

    await metafields.sync_metafields(None)
    await metafields.sync_metafields(None)

    assert await written(service) == dict.fromkeys(sound.customers, 500)
    assert await stale(service) == set(broken.customers)
    assert await service.requests("shopify") == 2


async def test_unreadable_credentials_do_not_affect_other_shops(service: Service, metafields: Metafields) -> None:
    broken, sound = await stale_shop(service), await stale_shop(service)
    await broken.set_credentials(shopify=encrypt_with_lost_key(access_token="shpat_lost"))

    assert await metafields.sync_metafields(None) == 1

    assert await stale(service) == set(broken.customers)
    assert await written(service) == dict.fromkeys(sound.customers, 500)


async def test_a_customer_unknown_to_shopify_is_skipped(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service, customers=2)
    unknown = {"field": ["metafields", "0", "ownerId"], "code": "INVALID", "message": "Owner does not exist."}
    answer = {"data": {"metafieldsSet": {"metafields": None, "userErrors": [unknown]}}}
    await service.add_fault("shopify", "status", status=200, body=answer)

    await metafields.sync_metafields(None)

    assert len(await written(service)) == 1
    assert await stale(service) == set()

    await mark(shop)
    await metafields.sync_metafields(None)
    assert len(await written(service)) == 2


async def test_parallel_batches_write_each_metafield_once(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service, customers=10)

    await asyncio.gather(*(metafields.sync_metafields(None) for _ in range(4)))

    assert await written(service) == dict.fromkeys(shop.customers, 500)
    assert await service.requests("shopify") == 10
