"""Import files: validation, and writing to the database."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from db.tables import Customer, Shop
from db.vault import Vault
from services.import_format import InvalidImport, read_import
from settings import Settings
from tests.builders import Json, a_customer, a_free_product, a_lot, a_reward, a_shop
from tests.service import Service

DEMO_FILE = Path(__file__).parents[2] / "sandbox" / "demo_shop.json"


@pytest.mark.parametrize(
    ("shop", "where"),
    [
        (a_shop(domain="evil.example/../"), "$.shops[0].domain"),
        (a_shop(currency="pounds"), "$.shops[0].currency"),
        (a_shop(api_keys=[{"key": "x" * 31, "scope": "full"}]), "$.shops[0].api_keys[0].key: must have at least 32"),
        (a_shop(api_keys=[{"key": "x" * 32, "scope": "admin"}]), "$.shops[0].api_keys[0].scope"),
        (a_shop(shopify={"access_token": "t", "webhook_secret": ""}), "$.shops[0].shopify.webhook_secret"),
        (a_shop(shopify={"access_token": "t", "webhook_secret": list("abc")}), "$.shops[0].shopify.webhook_secret"),
        (a_shop(rewards=[a_reward(points_cost=0)]), "$.shops[0].rewards[0].points_cost"),
        (a_shop(rewards=[a_reward(points_cost="500")]), "$.shops[0].rewards[0].points_cost"),
        (a_shop(rewards=[a_reward(discount_amount=None)]), "discount_amount is required"),
        (a_shop(rewards=[a_reward(discount_type="free_shipping")]), "discount_amount is not allowed"),
        (a_shop(rewards=[a_reward(discount_type="percentage", discount_amount="101")]), "at most 100"),
        (
            a_shop(rewards=[a_reward(discount_type="free_product", discount_amount=None)]),
            "product_variant_id is required",
        ),
        (a_shop(rewards=[a_reward(discount_type="percentage", discount_amount="10.125")]), "at most 2 decimals"),
        (a_shop(rewards=[a_reward(discount_amount="5.005")]), "$.shops[0].rewards[0].discount_amount"),
        (a_shop(rewards=[a_reward(discount_amount="500.5")], currency="JPY"), "rewards[0].discount_amount: 500.5"),
        (a_shop(rewards=[a_reward(minimum_spend="1.2345")], currency="KWD"), "rewards[0].minimum_spend: 1.2345"),
        (a_shop(rewards=[a_free_product("gid://shopify/Product/42")]), "$.shops[0].rewards[0].product_variant_id"),
        (a_shop(release_grace_days=0), "$.shops[0].release_grace_days"),
        (a_shop(rewards=[a_reward(vip_tier="tier_gold")]), "$.shops[0].rewards[0].vip_tier"),
        (a_shop(rewards=[a_reward(), a_reward()]), "id 'reward_abc' appears 2 times"),
        (a_shop(rewards=[a_reward(point_cost=1)]), "$.shops[0].rewards[0].point_cost"),
        (a_shop(a_customer(customer_id="jane")), "$.shops[0].customers[0].shopify_customer_id"),
        (a_shop(a_customer(first_name="J\x00ne")), "$.shops[0].customers[0].first_name"),
        (a_shop(a_customer(a_lot(10**12))), "$.shops[0].customers[0].lots[0].points"),
        (a_shop(a_customer({**a_lot(1), "earned_at": "2026-01-05T00:00:00"})), "lots[0].earned_at"),
        (a_shop(a_customer(a_lot(1, lot_id="same"), a_lot(1, lot_id="same"))), "id 'same' appears 2 times"),
        (a_shop(a_customer(email="a@b.io"), a_customer(email="A@B.io")), "email 'a@b.io' appears 2 times"),
        (a_shop(a_customer(email="ü@b.io"), a_customer(email="Ü@B.io")), "email 'ü@b.io' appears 2 times"),
    ],
)
def test_an_error_has_its_json_path(tmp_path: Path, shop: Json, where: str) -> None:
    path = tmp_path / "shops.json"
    path.write_text(json.dumps({"shops": [shop]}))

    with pytest.raises(InvalidImport) as error:
        read_import(path)

    assert where in str(error.value)


def test_a_demo_shop_can_have_short_keys(tmp_path: Path) -> None:
    path = tmp_path / "shops.json"
    path.write_text(json.dumps({"shops": [a_shop(api_keys=[{"key": "short", "scope": "full"}], demo=True)]}))

    assert read_import(path).shops[0].demo


def test_every_shop_of_the_demo_file_is_a_demo() -> None:
    assert all(shop.demo for shop in read_import(DEMO_FILE).shops)


async def test_an_imported_key_can_expire(service: Service) -> None:
    imported = a_shop()
    imported["api_keys"][0] |= {"expires_at": "2026-01-01T00:00:00Z"}
    shop = await service.open_shop(imported)
    del imported["api_keys"][0]["expires_at"]

    for _ in range(2):
        assert (await shop.get("/v1/rewards", shop.full_key)).status_code == 401
        await service.import_shop(imported)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"shops": {}}', "\ufeff\u0000"])
def test_other_files_are_invalid(tmp_path: Path, content: str) -> None:
    path = tmp_path / "shops.json"
    path.write_text(content)

    with pytest.raises(InvalidImport, match=r"\$"):
        read_import(path)


async def test_a_repeated_import_adds_no_points(service: Service) -> None:
    imported = a_shop(a_customer(a_lot(300), a_lot(200)))
    shop = await service.open_shop(imported)

    await service.open_shop({**imported, "rewards": [a_reward(points_cost=400)]})

    assert await shop.balance() == 500
    assert (await shop.purchase()).json()["data"]["attributes"]["points_spent"] == 400


@pytest.mark.parametrize("variant", ["42", "gid://shopify/ProductVariant/42"])
async def test_a_product_variant_has_one_form(service: Service, variant: str) -> None:
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), rewards=[a_free_product(variant)]))

    assert (await shop.purchase()).status_code == 201

    [redemption] = await shop.redemptions()
    assert redemption.product_variant_id == "42"
    [discount] = await shop.discounts("live")
    products = discount["asked"]["customerGets"]["items"]["products"]
    assert products == {"productVariantsToAdd": ["gid://shopify/ProductVariant/42"]}


async def test_the_release_grace_can_be_set(service: Service) -> None:
    imported = a_shop()
    shop = await service.open_shop(imported)
    assert (await shop.row()).release_grace == timedelta(days=7)

    await service.import_shop({**imported, "release_grace_days": 30})
    await service.import_shop(imported)

    assert (await shop.row()).release_grace == timedelta(days=30)


async def test_omitted_fields_keep_their_values(service: Service) -> None:
    imported = a_shop(a_customer(date_of_birth="1990-05-15"))
    shop = await service.open_shop(imported)
    path = f"/v1/customers/{shop.customers[0]}"
    await shop.send("PUT", path, {"is_excluded": True, "date_of_birth": None})

    await service.open_shop({**imported, "customers": [{"shopify_customer_id": shop.customers[0]}]})
    assert [(await shop.customer())[name] for name in ("loyalty_status", "date_of_birth")] == ["excluded", None]

    await service.open_shop(imported)
    assert (await shop.customer())["date_of_birth"] == "1990-05-15T00:00:00.000Z"


async def test_changed_customers_are_marked_stale(service: Service) -> None:
    richer, excluded, promoted, renamed = customers = [a_customer(a_lot(10)) for _ in range(4)]
    imported = a_shop(*customers, vip_tiers=[{"id": "gold", "name": "Gold", "points_required": 1000}])
    shop = await service.open_shop(imported)
    richer["lots"] += [a_lot(5)]
    excluded |= {"excluded": True}
    promoted |= {"vip_tier": "gold"}
    renamed |= {"first_name": "Jo"}
    with_points, without_points = a_customer(a_lot(5)), a_customer()
    everyone = [*customers, with_points, without_points]
    shop.customers = [one["shopify_customer_id"] for one in everyone]

    await service.import_shop({**imported, "customers": everyone})

    changed = (richer, excluded, promoted, with_points)
    assert await shop.stale_customers() == {one["shopify_customer_id"] for one in changed}


async def test_customers_of_a_renamed_tier_are_marked_stale(service: Service) -> None:
    def tier(name: str) -> Json:
        return {"id": "gold", "name": name, "points_required": 1000}

    imported = a_shop(a_customer(vip_tier="gold"), a_customer(), vip_tiers=[tier("Gold")])
    shop = await service.open_shop(imported)

    await service.import_shop({**imported, "vip_tiers": [tier("Or")]})

    assert await shop.stale_customers() == {shop.customers[0]}


async def test_customers_can_buy_during_an_import(service: Service) -> None:
    busy, buyer = a_customer(), a_customer(a_lot(500))
    imported = a_shop(busy, buyer)
    shop = await service.open_shop(imported)
    mine = (Customer.shop_id == (await shop.row()).id, Customer.id == shop.customers[0])
    async with service.store.begin() as session:
        await session.execute(select(Customer).where(*mine).with_for_update())
        importing = asyncio.ensure_future(service.import_shop({**imported, "customers": [busy]}))
        await asyncio.sleep(0.3)

        async with asyncio.timeout(20):
            assert (await shop.purchase(customer=shop.customers[1])).status_code == 201
        assert not importing.done()
    await importing


async def test_a_conflicting_shop_is_not_written(service: Service) -> None:
    first = a_shop(a_customer(a_lot(100)))
    shop = await service.open_shop(first)
    second = a_shop(a_customer(a_lot(100)), api_keys=first["api_keys"])

    with pytest.raises(InvalidImport, match="the key of another shop"):
        await service.open_shop(second)

    assert (await shop.get(f"/v1/customers/{shop.customers[0]}")).status_code == 200
    async with service.store() as session:
        assert (await session.scalars(select(Shop).where(Shop.domain == second["domain"]))).all() == []


async def test_an_email_belongs_to_one_customer(service: Service) -> None:
    imported = a_shop(a_customer(a_lot(100), email="jane.unique@shopper.io"))
    shop = await service.open_shop(imported)

    with pytest.raises(InvalidImport, match="conflicts"):
        await service.open_shop({**imported, "customers": [a_customer(email="JANE.unique@shopper.io")]})

    assert await shop.balance() == 100


async def test_vendor_credentials_are_encrypted(service: Service, settings: Settings) -> None:
    imported = a_shop()
    await service.import_shop(imported)

    async with service.store() as session:
        shop = (await session.scalars(select(Shop).where(Shop.domain == imported["domain"]))).one()

    assert "shpat_" not in json.dumps(shop.credentials)
    assert Vault(settings.encryption_keys).open(shop, "shopify", "access_token").get_secret_value().startswith("shpat_")
