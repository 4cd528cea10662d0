"""Stale metafields are written once, with the customer's latest state."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from activities.metafields import Metafields
from activities.senders import MetafieldsSender
from clients.outcomes import NoRecipient
from db.metafields import mark_stale
from db.personal_data import erase_customer
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


async def written(service: Service) -> dict[str, int]:
    """Customer → points in the metafield at Shopify."""
    stored = (await service.vendor("shopify"))["metafields"]
    return {one["ownerId"].rpartition("/")[2]: json.loads(one["value"])["points_balance"] for one in stored}


async def test_a_change_during_a_write_is_written_too(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service)
    await service.add_fault("shopify", "latency", operation="metafieldsSet", seconds=0.5)
    sync = asyncio.ensure_future(metafields.sync_metafields(None))
    await wait_until(lambda: service.requests("shopify"))
    await mark(shop)
    await sync
    assert await shop.stale_customers() == set(shop.customers)

    await metafields.sync_metafields(None)

    assert await shop.stale_customers() == set()


async def test_released_points_are_written(service: Service, steps: Steps, metafields: Metafields) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.points.release_points(steps.first)

    await metafields.sync_metafields(None)

    assert await written(service) == {steps.first.customer_id: 700}


async def test_without_shopify_metafields_stay_stale(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service, vendors=["klaviyo"])

    assert await metafields.sync_metafields(None) == 0

    assert await shop.stale_customers() == set(shop.customers)


@pytest.mark.parametrize("fault", [{"kind": "down"}, {"kind": "throttled"}, {"kind": "status", "status": 503}])
async def test_a_failed_write_is_retried_a_minute_later(service: Service, metafields: Metafields, fault: Json) -> None:
    shop = await stale_shop(service)
    await service.add_fault("shopify", **fault)

    assert await metafields.sync_metafields(None) == 0
    await service.clear_faults("shopify")
    assert await metafields.sync_metafields(None) == 0, "not at once"
    await service.let_time_pass(timedelta(minutes=1))
    assert await metafields.sync_metafields(None) == 1

    assert await written(service) == dict.fromkeys(shop.customers, 500)


async def test_a_rejected_token_is_used_once_per_batch(service: Service, metafields: Metafields) -> None:
    broken, sound = await stale_shop(service, customers=5), await stale_shop(service)
    await service.vendors.put(f"/_sandbox/shopify/shops/{broken.domain}", json={"access_token": "another"})

    await metafields.sync_metafields(None)
    await metafields.sync_metafields(None)

    assert await written(service) == dict.fromkeys(sound.customers, 500)
    assert await broken.stale_customers() == set(broken.customers)
    assert await service.requests("shopify") == 2


async def test_unreadable_credentials_do_not_affect_other_shops(service: Service, metafields: Metafields) -> None:
    broken, sound = await stale_shop(service), await stale_shop(service)
    await broken.set_credentials(shopify=encrypt_with_lost_key(access_token="shpat_lost"))

    assert await metafields.sync_metafields(None) == 1

    assert await broken.stale_customers() == set(broken.customers)
    assert await written(service) == dict.fromkeys(sound.customers, 500)


async def test_a_customer_unknown_to_shopify_is_skipped(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service, customers=2)
    unknown = {"field": ["metafields", "0", "ownerId"], "code": "INVALID", "message": "Owner does not exist."}
    answer = {"data": {"metafieldsSet": {"metafields": None, "userErrors": [unknown]}}}
    await service.add_fault("shopify", "status", status=200, body=answer)

    await metafields.sync_metafields(None)

    assert len(await written(service)) == 1
    assert await shop.stale_customers() == set()

    await mark(shop)
    await metafields.sync_metafields(None)
    assert len(await written(service)) == 2


async def test_parallel_batches_write_each_metafield_once(service: Service, metafields: Metafields) -> None:
    shop = await stale_shop(service, customers=10)

    assert sum(await asyncio.gather(*(metafields.sync_metafields(None) for _ in range(4)))) == 10
    assert await metafields.sync_metafields(None) == 0

    assert await written(service) == dict.fromkeys(shop.customers, 500)
    assert await shop.stale_customers() == set()
    assert await service.requests("shopify") == 10


async def test_an_erased_customer_gets_no_metafield(service: Service) -> None:
    shop = await stale_shop(service)
    shop_id, customer = (await shop.row()).id, shop.customers[0]
    vault = Vault(service.settings.encryption_keys)
    async with service.store.begin() as session:
        await erase_customer(session, shop_id, customer)

    # As a batch does that has read the mark before the erasure.
    with pytest.raises(NoRecipient):
        await MetafieldsSender(service.store, vault, shopify_client(service)).write(shop_id, customer)

    assert await written(service) == {}
