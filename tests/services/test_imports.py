"""Import files: validation, and writing to the database."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from db import tables
from db.api_keys import hash_key
from db.customers import lock_customer
from db.metafields import mark_stale
from db.vault import Vault
from services.import_format import InvalidImport, read_import
from settings import Settings
from tests.builders import Json, a_customer, a_free_product, a_lot, a_reward, a_shop, a_variable_reward
from tests.service import Service
from tests.shop import Shop
from tests.waiting import locks_waited_for, wait_until

DEMO_FILE = Path(__file__).parents[2] / "sandbox" / "demo_shop.json"


@pytest.mark.parametrize(
    ("shop", "where"),
    [
        (a_shop(domain="evil.example/../"), "$.shops[0].domain"),
        (a_shop(currency="pounds"), "$.shops[0].currency"),
        (a_shop(api_keys=[{"key": "x" * 31, "scope": "full"}]), "$.shops[0].api_keys[0].key: must have at least 32"),
        (a_shop(api_keys=[{"key": "x" * 32, "scope": "root"}]), "$.shops[0].api_keys[0].scope"),
        (a_shop(shopify={"access_token": "t", "webhook_secret": ""}), "$.shops[0].shopify.webhook_secret"),
        (a_shop(shopify={"access_token": "t", "webhook_secret": list("abc")}), "$.shops[0].shopify.webhook_secret"),
        (a_shop(rewards=[a_reward(points_cost=0)]), "$.shops[0].rewards[0].points_cost"),
        (a_shop(rewards=[a_reward(points_cost="500")]), "$.shops[0].rewards[0].points_cost"),
        (a_shop(rewards=[a_reward(discount_amount=None)]), "discount_amount is required"),
        (a_shop(rewards=[a_reward(discount_type="free_shipping")]), "discount_amount is not allowed"),
        (a_shop(rewards=[a_reward(discount_type="percentage", discount_amount="101")]), "at most 100"),
        (a_shop(rewards=[a_reward(discount_type="percentage", discount_amount="10.125")]), "at most 2 decimals"),
        (a_shop(rewards=[a_free_product("gid://shopify/Product/42")]), "$.shops[0].rewards[0].product_variant_id"),
        (a_shop(rewards=[a_variable_reward(discount_type="percentage")]), "only possible for fixed_amount"),
        (a_shop(rewards=[a_variable_reward(discount_amount="5.00")]), "discount_amount is not allowed for variable"),
        (a_shop(rewards=[a_variable_reward(value_per_step=None)]), "value_per_step is required"),
        (a_shop(rewards=[a_variable_reward(points_cost=50)]), "is the price of one step"),
        (a_shop(rewards=[a_variable_reward(min_points=150)]), "min_points must be a multiple of points_step"),
        (a_shop(rewards=[a_variable_reward(min_points=500, max_points=400)]), "max_points allows fewer points"),
        (a_shop(rewards=[a_variable_reward(min_points=500, max_value="4.99")]), "max_value allows fewer points"),
        (a_shop(rewards=[a_reward(pricing="fixed", max_points=500)]), "max_points is only allowed for variable"),
        (a_shop(rewards=[a_free_product(applies_to={"products": ["1"]})]), "applies_to is not allowed"),
        (a_shop(rewards=[a_reward(applies_to={})]), "one of collections, products and variants"),
        (a_shop(rewards=[a_reward(applies_to={"variants": ["gid://shopify/Product/1"]})]), "applies_to.variants[0]"),
        (a_shop(rewards=[a_reward(purchase_type="one_time", billing_cycles=2)]), "billing_cycles needs"),
        (a_shop(rewards=[a_free_product(minimum_spend="9", purchase_type="both")]), "purchase_type is not allowed"),
        (a_shop(rewards=[a_reward(starts_at="2026-02-01T00:00:00Z", ends_at="2026-01-01T00:00:00Z")]), "ends_at must"),
        (a_shop(rewards=[a_reward(on_order_cancelled="refund")]), "$.shops[0].rewards[0].on_order_cancelled"),
        (a_shop(release_grace_days=0), "$.shops[0].release_grace_days"),
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


async def test_an_imported_key_keeps_what_the_file_omits(service: Service) -> None:
    imported = a_shop()
    imported["api_keys"][0] |= {"expires_at": "2026-01-01T00:00:00Z", "label": "theme"}
    shop = await service.open_shop(imported)
    del imported["api_keys"][0]["expires_at"], imported["api_keys"][0]["label"]

    for _ in range(2):
        assert (await shop.get("/v1/rewards", shop.full_key)).status_code == 401
        await service.import_shop(imported)

    async with service.store() as session:
        key_hash = hash_key(shop.full_key)
        assert await session.scalar(select(tables.ApiKey.label).where(tables.ApiKey.key_hash == key_hash)) == "theme"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"shops": {}}', '{"shops": []}', "\ufeff\u0000"])
def test_other_files_are_invalid(tmp_path: Path, content: str) -> None:
    path = tmp_path / "shops.json"
    path.write_text(content)

    with pytest.raises(InvalidImport, match=r"\$"):
        read_import(path)


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "shops.json"
    path.write_text(json.dumps({"shops": [a_shop()]}), encoding="utf-8-sig")

    assert len(read_import(path).shops) == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"rewards": [a_reward(vip_tier="tier_gold")]}, r"\$.shops\[0\].rewards\[0\].vip_tier: .* 'tier_gold'"),
        ({"rewards": [{"id": "new", "name": "New", "points_cost": 5}]}, r"rewards\[0\].discount_type: Field required"),
        ({"rewards": [{"id": "reward_abc", "discount_type": "free_product"}]}, "product_variant_id is required"),
        (
            {"rewards": [a_reward("new", discount_type="free_product", discount_amount=None)]},
            "product_variant_id is required",
        ),
        ({"rewards": [{"id": "reward_abc", "discount_amount": None}]}, "discount_amount is required"),
        ({"vip_tiers": [{"id": "new", "name": "New"}]}, r"vip_tiers\[0\].points_required: Field required"),
        ({"domain": "new.myshopify.com"}, r"shops\[0\].name: Field required.*\n.*shops\[0\].currency"),
    ],
)
async def test_new_rows_need_all_required_fields(service: Service, shop: Shop, changes: Json, error: str) -> None:
    with pytest.raises(InvalidImport, match=error):
        await service.import_shop({"domain": shop.domain, **changes})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"rewards": [a_reward(discount_amount="5.005")]}, r"\$.shops\[0\].rewards\[0\].discount_amount: 5.005"),
        ({"rewards": [{"id": "reward_abc", "minimum_spend": "1.2345"}]}, r"rewards\[0\].minimum_spend: 1.2345 .* GBP"),
        ({"rewards": [a_reward("new", minimum_spend="1.2345")], "currency": "KWD"}, "minimum_spend: 1.2345 .* KWD"),
        ({"rewards": [a_reward(discount_amount="500.5")], "currency": "JPY"}, r"rewards\[0\].discount_amount: 500.5"),
        ({"rewards": [{"id": "percent", "discount_type": "fixed_amount"}], "currency": "JPY"}, "discount_amount: 12.5"),
        ({"currency": "JPY"}, r"shops\[0\].currency: reward_abc.discount_amount: 5.25 .* JPY"),
    ],
)
async def test_amounts_fit_the_currency(service: Service, changes: Json, error: str) -> None:
    percent = a_reward("percent", discount_type="percentage", discount_amount="12.5")
    shop = await service.open_shop(a_shop(rewards=[a_reward(discount_amount="5.25"), percent]))

    with pytest.raises(InvalidImport, match=error):
        await service.import_shop({"domain": shop.domain, **changes})


async def test_an_import_changes_only_what_it_names(service: Service, settings: Settings) -> None:
    settings_of_shop: Json = {"code_prefix": "VIP", "currency": "EUR", "release_grace_days": 30}
    shop = await service.open_shop(a_shop(a_customer(a_lot(500)), **settings_of_shop))
    before, vault = await shop.row(), Vault(settings.encryption_keys)

    await service.import_shop({"domain": shop.domain, "klaviyo": {"api_key": "pk_new"}})

    after = await shop.row()
    assert vault.open(after, "klaviyo", "api_key").get_secret_value() == "pk_new"
    assert {**after.credentials, "klaviyo": ""} == {**before.credentials, "klaviyo": ""}
    assert (after.name, after.currency, after.code_prefix) == ("A shop", "EUR", "VIP")
    assert after.release_grace == timedelta(days=30)
    assert (await shop.purchase()).status_code == 201


async def test_null_removes_credentials(service: Service, shop: Shop) -> None:
    await service.import_shop({"domain": shop.domain, "klaviyo": None})

    assert set((await shop.row()).credentials) == {"shopify", "omnisend", "postscript"}


async def test_a_webhook_secret_changes_alone(service: Service, settings: Settings) -> None:
    imported = a_shop(shopify={"access_token": "shpat_kept", "webhook_secret": "old"})
    shop, vault = await service.open_shop(imported), Vault(settings.encryption_keys)

    await service.import_shop({"domain": shop.domain, "shopify": {"webhook_secret": ["new", "old"]}})
    await service.import_shop({"domain": shop.domain, "shopify": {"access_token": "shpat_kept"}})
    row = await shop.row()
    assert [vault.open_text(one).get_secret_value() for one in row.webhook_secrets] == ["new", "old"]

    await service.import_shop({"domain": shop.domain, "shopify": {"webhook_secret": None}})
    row = await shop.row()
    assert (row.webhook_secrets, vault.open_all(row, "shopify")) == ([], {"access_token": "shpat_kept"})


async def test_removed_credentials_leave_the_webhook_secret(service: Service) -> None:
    shop = await service.open_shop(a_shop(shopify={"access_token": "shpat_x", "webhook_secret": "kept"}))

    await service.import_shop({"domain": shop.domain, "shopify": None})

    row = await shop.row()
    assert ("shopify" in row.credentials, len(row.webhook_secrets)) == (False, 1)


async def test_a_reward_keeps_what_the_file_omits(service: Service, shop: Shop) -> None:
    await service.import_shop({"domain": shop.domain, "rewards": [{"id": "reward_abc", "points_cost": 400}]})

    reward = (await shop.get("/v1/rewards/reward_abc")).json()["data"]["attributes"]
    assert (reward["points_cost"], reward["discount_amount"], reward["expiry_days"]) == (400, 5.0, 30)


async def test_a_type_without_amount_removes_the_amount(service: Service, shop: Shop) -> None:
    await service.import_shop(
        {"domain": shop.domain, "rewards": [{"id": "reward_abc", "discount_type": "free_shipping"}]}
    )

    assert (await shop.get("/v1/rewards/reward_abc")).json()["data"]["attributes"]["discount_amount"] is None


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
    imported = a_shop(a_customer(vip_tier="gold"), a_customer(), vip_tiers=[a_tier("Gold")])
    shop = await service.open_shop(imported)

    await service.import_shop({**imported, "vip_tiers": [a_tier("Or")]})

    assert await shop.stale_customers() == {shop.customers[0]}


def a_tier(name: str) -> Json:
    return {"id": "gold", "name": name, "points_required": 1000}


async def test_a_tier_is_renamed_while_a_member_changes(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(vip_tier="gold"), vip_tiers=[a_tier("Gold")]))
    row, renamed = await shop.row(), {"domain": shop.domain, "name": "A shop", "currency": "GBP"}
    async with service.store.begin() as session:
        await lock_customer(session, row.id, shop.customers[0])
        renaming = asyncio.ensure_future(service.import_shop({**renamed, "vip_tiers": [a_tier("Or")]}))
        await wait_until(lambda: locks_waited_for(service.store))
        await mark_stale(session, row.id, shop.customers[0])
    await renaming

    assert (await shop.customer())["vip_tier"]["name"] == "Or"


async def test_members_are_marked_after_an_interrupted_rename(service: Service) -> None:
    shop = await service.open_shop(a_shop(a_customer(vip_tier="gold"), vip_tiers=[a_tier("Gold")]))
    renamed = {"domain": shop.domain, "vip_tiers": [a_tier("Or")]}
    async with service.store.begin() as session:
        await lock_customer(session, (await shop.row()).id, shop.customers[0])
        renaming = asyncio.ensure_future(service.import_shop(renamed))
        await wait_until(lambda: locks_waited_for(service.store))
        renaming.cancel()
        await asyncio.wait([renaming])
    assert (await shop.stale_customers(), renaming.cancelled()) == (set(), True)

    await service.import_shop(renamed)

    assert await shop.stale_customers() == {shop.customers[0]}


async def test_customers_can_buy_during_an_import(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.imports.BATCH_SIZE", 2)
    buyer, busy = a_customer(a_lot(500)), a_customer()
    shop = await service.open_shop(a_shop(buyer, busy))
    changed = [buyer | {"first_name": "Jo", "lots": [a_lot(1)]}, busy | {"first_name": "Jo"}]
    async with service.store.begin() as session:
        await lock_customer(session, (await shop.row()).id, busy["shopify_customer_id"])
        importing = asyncio.ensure_future(
            service.import_shop({"domain": shop.domain, "name": "A shop", "currency": "GBP", "customers": changed})
        )
        await wait_until(lambda: locks_waited_for(service.store))

        async with asyncio.timeout(20):
            assert (await shop.purchase()).status_code == 201
        assert not importing.done()
    await importing


async def test_an_interrupted_import_continues(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.imports.BATCH_SIZE", 2)
    first, second = a_customer(a_lot(300)), a_customer(a_lot(200))
    imported = a_shop(first, second)
    with pytest.raises(InvalidImport, match=f"customers {second['shopify_customer_id']} to .*: conflicts"):
        await service.import_shop({**imported, "customers": [first, second | {"email": first["email"]}]})

    shop = await service.open_shop({**imported, "customers": [first, second]})

    assert [await shop.balance(one) for one in shop.customers] == [300, 200]
    assert ((await shop.row()).customers, await service.audit()) == (2, [])


async def test_a_conflicting_shop_is_not_written(service: Service) -> None:
    first = a_shop(a_customer(a_lot(100)))
    shop = await service.open_shop(first)
    second = a_shop(a_customer(a_lot(100)), api_keys=first["api_keys"])

    with pytest.raises(InvalidImport, match="the key of another shop"):
        await service.open_shop(second)

    assert (await shop.get(f"/v1/customers/{shop.customers[0]}")).status_code == 200
    async with service.store() as session:
        assert (await session.scalars(select(tables.Shop).where(tables.Shop.domain == second["domain"]))).all() == []


async def test_an_email_belongs_to_one_customer(service: Service) -> None:
    imported = a_shop(a_customer(a_lot(100), email="jane.unique@shopper.io"))
    shop = await service.open_shop(imported)

    with pytest.raises(InvalidImport, match="conflicts"):
        await service.open_shop({**imported, "customers": [a_customer(email="JANE.unique@shopper.io")]})

    assert await shop.balance() == 100


async def test_an_imported_address_is_found_in_any_case(service: Service) -> None:
    customer = a_customer(a_lot(100))
    shop = await service.open_shop(a_shop(customer))
    customer["email"] = f"Ünal.{customer['shopify_customer_id']}@Shopper.io"

    await service.import_shop({"domain": shop.domain, "customers": [customer]})

    assert (await shop.get(f"/v1/customers/{customer['email'].upper()}")).status_code == 200


async def test_vendor_credentials_are_encrypted(service: Service, settings: Settings) -> None:
    imported = a_shop()
    await service.import_shop(imported)

    async with service.store() as session:
        shop = (await session.scalars(select(tables.Shop).where(tables.Shop.domain == imported["domain"]))).one()

    assert "shpat_" not in json.dumps(shop.credentials)
    assert Vault(settings.encryption_keys).open(shop, "shopify", "access_token").get_secret_value().startswith("shpat_")
