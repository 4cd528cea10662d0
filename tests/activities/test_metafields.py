"""What changes outside a redemption is told to the shop's theme, once, and as it is when it is told."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from activities.metafields import Metafields
from activities.senders import MetafieldsSender
from clients.shopify import Shopify
from db.metafields import mark_stale
from db.tables import StaleMetafield
from db.vault import Vault
from tests.activities.conftest import Steps
from tests.service import ALL_VENDORS, Json, Service, Shop, a_customer, a_lot, a_shop, sealed_by_a_lost_key, until


@pytest.fixture
async def metafields(service: Service) -> Metafields:
    """The step, with nothing to do that other tests left."""
    async with service.store.begin() as session:
        await session.execute(delete(StaleMetafield))
    template, version = service.settings.shopify_admin_url, service.settings.shopify_api_version
    shopify = Shopify(service.worker_http, url_template=template, api_version=version)
    vault = Vault(service.settings.encryption_keys)
    return Metafields(service.store, MetafieldsSender(service.store, vault, shopify))


async def changed(service: Service, *, customers: int = 1, vendors: Sequence[str] = ALL_VENDORS) -> Shop:
    """A shop whose customers' points have just changed."""
    shop = await service.open_shop(a_shop(*(a_customer(a_lot(500)) for _ in range(customers)), vendors=vendors))
    await mark(shop)
    return shop


async def mark(shop: Shop) -> None:
    shop_id = (await shop.service.caller(shop.full_key)).id
    async with shop.service.store.begin() as session:
        for customer in shop.customers:
            await mark_stale(session, shop_id, customer)


async def a_minute_later(service: Service) -> None:
    async with service.store.begin() as session:
        await session.execute(update(StaleMetafield).values(due_at=StaleMetafield.due_at - timedelta(minutes=1)))


async def told(service: Service) -> dict[str, int]:
    """Customer → points, as Shopify has them."""
    held = (await service.vendor("shopify"))["metafields"]
    return {one["ownerId"].rpartition("/")[2]: json.loads(one["value"])["points_balance"] for one in held}


async def stale(service: Service) -> set[str]:
    async with service.store() as session:
        return set(await session.scalars(select(StaleMetafield.customer_id)))


async def is_asked(service: Service) -> bool:
    return (await service.vendor("shopify"))["requests"] > 0


async def writes(service: Service) -> int:
    calls = (await service.vendor("shopify"))["calls"]
    return [call["operation"] for call in calls].count("metafieldsSet")


async def test_a_change_is_told_once(service: Service, metafields: Metafields) -> None:
    shop = await changed(service, customers=3)

    assert [await metafields.sync_metafields(None), await metafields.sync_metafields(None)] == [3, 0]

    assert await told(service) == dict.fromkeys(shop.customers, 500)
    assert await stale(service) == set()
    assert await writes(service) == 3


async def test_a_change_that_comes_while_one_is_told_is_told_too(service: Service, metafields: Metafields) -> None:
    shop = await changed(service)
    await service.fault("shopify", "latency", operation="metafieldsSet", seconds=0.5)
    telling = asyncio.ensure_future(metafields.sync_metafields(None))
    await until(lambda: is_asked(service))
    await mark(shop)
    await telling
    assert await stale(service) == set(shop.customers)

    await metafields.sync_metafields(None)

    assert await stale(service) == set()


async def test_released_points_are_told(service: Service, steps: Steps, metafields: Metafields) -> None:
    await steps.points.reserve_points(steps.first)
    await steps.points.release_points(steps.first)

    await metafields.sync_metafields(None)

    assert await told(service) == {steps.first.customer_id: 700}


async def test_a_shop_without_shopify_keeps_its_marks(service: Service, metafields: Metafields) -> None:
    shop = await changed(service, vendors=["klaviyo"])

    assert await metafields.sync_metafields(None) == 0

    assert await stale(service) == set(shop.customers)


@pytest.mark.parametrize("fault", [{"kind": "down"}, {"kind": "throttled"}, {"kind": "status", "status": 503}])
async def test_what_shopify_does_not_take_now_is_told_in_a_later_round(
    service: Service, metafields: Metafields, fault: Json
) -> None:
    shop = await changed(service)
    await service.fault("shopify", **fault)

    assert await metafields.sync_metafields(None) == 0
    await service.heal("shopify")
    assert await metafields.sync_metafields(None) == 0, "not at once"
    await a_minute_later(service)
    assert await metafields.sync_metafields(None) == 1

    assert await told(service) == dict.fromkeys(shop.customers, 500)


async def test_a_token_that_shopify_refuses_is_tried_once_a_round_and_keeps_no_other_shop_waiting(
    service: Service, metafields: Metafields
) -> None:
    broken, sound = await changed(service, customers=5), await changed(service)
    await service.vendors.put(f"/_sandbox/shopify/shops/{broken.domain}", json={"access_token": "another"})

    await metafields.sync_metafields(None)
    await metafields.sync_metafields(None)

    assert await told(service) == dict.fromkeys(sound.customers, 500)
    assert await stale(service) == set(broken.customers)
    assert await writes(service) == 2


async def test_credentials_that_cannot_be_read_keep_no_other_shop_waiting(
    service: Service, metafields: Metafields
) -> None:
    broken, sound = await changed(service), await changed(service)
    await broken.keep_credentials(shopify=sealed_by_a_lost_key(access_token="shpat_lost"))

    assert await metafields.sync_metafields(None) == 1

    assert await stale(service) == set(broken.customers)
    assert await told(service) == dict.fromkeys(sound.customers, 500)


async def test_a_customer_whom_shopify_does_not_know_is_not_asked_about_again(
    service: Service, metafields: Metafields
) -> None:
    shop = await changed(service, customers=2)
    unknown = {"field": ["metafields", "0", "ownerId"], "code": "INVALID", "message": "Owner does not exist."}
    answer = {"data": {"metafieldsSet": {"metafields": None, "userErrors": [unknown]}}}
    await service.fault("shopify", "status", status=200, body=answer)

    await metafields.sync_metafields(None)

    assert len(await told(service)) == 1
    assert await stale(service) == set()

    await mark(shop)
    await metafields.sync_metafields(None)
    assert len(await told(service)) == 2


async def test_two_rounds_at_once_write_each_metafield_once(service: Service, metafields: Metafields) -> None:
    shop = await changed(service, customers=10)

    await asyncio.gather(*(metafields.sync_metafields(None) for _ in range(4)))

    assert await told(service) == dict.fromkeys(shop.customers, 500)
    assert await writes(service) == 10
