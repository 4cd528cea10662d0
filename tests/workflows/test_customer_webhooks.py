"""Webhooks of customers and of the app: profiles are updated in any order, an uninstallation stops purchases."""

import pytest

from db.tables import Customer
from tests.builders import Json, a_customer, a_lot, a_shop
from tests.faults import VendorFault
from tests.service import Service
from tests.shop import Shop
from tests.workflows.webhook_bodies import a_profile, needs_samples, sample


@pytest.fixture
async def shop(service: Service) -> Shop:
    """A shop with Jane, who has points for two rewards, and Sam."""
    return await service.open_shop(a_shop(a_customer(a_lot(1000)), a_customer(first_name="Sam")))


async def update(shop: Shop, profile: Json) -> None:
    await shop.process_webhook("customers/update", profile)


async def member(shop: Shop, number: int = 0) -> Customer:
    async with shop.service.store() as session:
        return await session.get_one(Customer, ((await shop.row()).id, shop.customers[number]))


async def test_a_profile_is_updated(shop: Shop) -> None:
    profile = {"email": "j.doe@shopper.io", "first_name": "Janet", "last_name": "Do\u0000e", "phone": None}

    await update(shop, a_profile(shop, profile))

    row = await member(shop)
    assert (row.email, row.first_name, row.last_name, row.phone) == ("j.doe@shopper.io", "Janet", "Doe", None)
    assert (await shop.purchase(customer="j.doe@shopper.io")).status_code == 201


@needs_samples
async def test_shopifys_sample_profile_is_accepted(shop: Shop) -> None:
    body = sample("customers/update", id=int(shop.customers[0]), email=f"bob.{shop.customers[0]}@biller.com")

    await update(shop, body)

    row = await member(shop)
    assert (row.email, row.first_name, row.last_name, row.phone) == (body["email"], "Bob", "Biller", None)


async def test_absent_fields_are_unchanged(shop: Shop) -> None:
    await update(shop, a_profile(shop, {"first_name": "Janet"}))

    row = await member(shop)
    assert (row.first_name, row.phone) == ("Janet", "+447700900123")
    assert row.email


async def test_an_older_profile_is_ignored(shop: Shop) -> None:
    await update(shop, a_profile(shop, {"first_name": "Newer"}, minute=5))
    await update(shop, a_profile(shop, {"first_name": "Older"}, minute=4))

    assert (await member(shop)).first_name == "Newer"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
async def test_an_address_can_move_to_another_customer(shop: Shop, order: tuple[int, ...]) -> None:
    email = f"shared.{shop.customers[0]}@shopper.io"
    profiles = [
        a_profile(shop, {"email": email}, minute=1),
        a_profile(shop, {"email": f"new.{email}"}, minute=2),
        a_profile(shop, {"email": email}, number=1, minute=3),
    ]

    for number in order:
        await update(shop, profiles[number])

    assert (await member(shop, 0)).email == f"new.{email}"
    assert (await member(shop, 1)).email == email


async def test_an_unknown_customer_is_not_created(shop: Shop) -> None:
    await update(shop, {"id": 1, "updated_at": "2026-11-01T12:00:00Z", "email": "x@shopper.io"})

    assert (await shop.get("/v1/customers/x@shopper.io")).status_code == 404


async def test_an_uninstallation_stops_purchases_and_deliveries(service: Service, shop: Shop) -> None:
    await service.inject("klaviyo", VendorFault.DOWN)
    redemption = (await shop.purchase()).json()["data"]["id"]

    await shop.process_webhook("app/uninstalled", {"id": 548380009})
    await service.clear_faults("klaviyo")

    assert (await shop.row()).credentials == {}
    await shop.wait_for_delivery("klaviyo", "skipped")
    assert await service.wait_for_purchase(redemption) == "COMPLETED"
    assert (await shop.purchase()).status_code == 503
    assert await shop.balance() == 500


async def test_another_shops_uninstallation_is_ignored(shop: Shop) -> None:
    await shop.process_webhook("app/uninstalled", {"id": 1, "myshopify_domain": "another.myshopify.com"})

    assert (await shop.row()).credentials


async def test_an_old_uninstallation_is_ignored(shop: Shop) -> None:
    headers = {"X-Shopify-Triggered-At": "2026-01-01T00:00:00.123456789Z"}

    await shop.process_webhook("app/uninstalled", {"id": 1}, headers=headers)

    assert (await shop.row()).credentials
