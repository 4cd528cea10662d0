"""`pointsaga import`: a bad file changes nothing and says where it is bad; a good one can be repeated."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from database import Sessions
from db.tables import Customer, Shop
from db.vault import Vault
from services.import_format import BadImport, ImportFile, read_import
from services.imports import write_import
from settings import Settings
from tests.service import Json, Service, a_customer, a_lot, a_reward, a_shop


def _file(tmp_path: Path, *shops: Json) -> Path:
    path = tmp_path / "shops.json"
    path.write_text(json.dumps({"shops": shops}))
    return path


@pytest.mark.parametrize(
    ("shop", "where"),
    [
        (a_shop(domain="evil.example/../"), "$.shops[0].domain"),
        (a_shop(currency="pounds"), "$.shops[0].currency"),
        (a_shop(rewards=[a_reward(points_cost=0)]), "$.shops[0].rewards[0].points_cost"),
        (a_shop(rewards=[a_reward(points_cost="500")]), "$.shops[0].rewards[0].points_cost"),
        (a_shop(rewards=[a_reward(discount_amount=None)]), "discount_amount is required"),
        (a_shop(rewards=[a_reward(discount_type="free_shipping")]), "discount_amount has no place"),
        (a_shop(rewards=[a_reward(discount_type="percentage", discount_amount="101")]), "at most 100"),
        (
            a_shop(rewards=[a_reward(discount_type="free_product", discount_amount=None)]),
            "product_variant_id is required",
        ),
        (a_shop(rewards=[a_reward(vip_tier="tier_gold")]), "$.shops[0].rewards[0].vip_tier"),
        (a_shop(rewards=[a_reward(), a_reward()]), "id 'reward_abc' stands 2 times"),
        (a_shop(rewards=[a_reward(point_cost=1)]), "$.shops[0].rewards[0].point_cost"),
        (a_shop(a_customer(customer_id="jane")), "$.shops[0].customers[0].shopify_customer_id"),
        (a_shop(a_customer(first_name="J\x00ne")), "$.shops[0].customers[0].first_name"),
        (a_shop(a_customer(a_lot(10**12))), "$.shops[0].customers[0].lots[0].points"),
        (a_shop(a_customer({**a_lot(1), "earned_at": "2026-01-05T00:00:00"})), "lots[0].earned_at"),
        (a_shop(a_customer(a_lot(1, lot_id="same"), a_lot(1, lot_id="same"))), "id 'same' stands 2 times"),
        (a_shop(a_customer(email="a@b.io"), a_customer(email="A@B.io")), "email 'a@b.io' stands 2 times"),
    ],
)
def test_a_bad_file_is_refused_with_the_place_of_the_error(tmp_path: Path, shop: Json, where: str) -> None:
    with pytest.raises(BadImport) as refusal:
        read_import(_file(tmp_path, shop))

    assert where in str(refusal.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"shops": {}}', "\ufeff\u0000"])
def test_a_file_that_is_not_an_import_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "shops.json"
    path.write_text(content)

    with pytest.raises(BadImport, match=r"\$"):
        read_import(path)


async def test_an_import_can_be_repeated_without_doubling_a_point(service: Service) -> None:
    imported = a_shop(a_customer(a_lot(300), a_lot(200)))
    shop = await service.open_shop(imported)

    await service.open_shop({**imported, "rewards": [a_reward(points_cost=400)]})

    assert await shop.balance() == 500
    assert (await shop.purchase()).json()["data"]["attributes"]["points_spent"] == 400


async def test_an_import_leaves_alone_what_it_does_not_name(service: Service) -> None:
    imported = a_shop(a_customer(date_of_birth="1990-05-15"))
    shop = await service.open_shop(imported)
    path = f"/v1/customers/{shop.customers[0]}"
    await shop.send("PUT", path, {"is_excluded": True, "date_of_birth": None})

    await service.open_shop({**imported, "customers": [{"shopify_customer_id": shop.customers[0]}]})
    assert [(await shop.customer())[name] for name in ("loyalty_status", "date_of_birth")] == ["excluded", None]

    await service.open_shop(imported)
    assert (await shop.customer())["date_of_birth"] == "1990-05-15T00:00:00.000Z"


async def test_the_shops_theme_is_told_of_whomever_an_import_changes_and_of_nobody_else(service: Service) -> None:
    gaining, going, climbing, resting = people = [a_customer(a_lot(10)) for _ in range(4)]
    tiers = [{"id": "gold", "name": "Gold", "points_required": 1000}]
    imported = a_shop(*people, vip_tiers=tiers)
    shop = await service.open_shop(imported)
    gaining["lots"] += [a_lot(5)]
    going |= {"excluded": True}
    climbing |= {"vip_tier": "gold"}
    resting |= {"first_name": "Jo"}
    newcomers = [a_customer(a_lot(5)), a_customer()]
    shop.customers += [one["shopify_customer_id"] for one in newcomers]

    await service.import_shop({**imported, "customers": people + newcomers})

    changed = [gaining, going, climbing, newcomers[0]]
    assert await shop.untold() == {one["shopify_customer_id"] for one in changed}


async def test_who_is_on_a_tier_that_an_import_renames_is_told_of_its_new_name(service: Service) -> None:
    def tier(name: str) -> Json:
        return {"id": "gold", "name": name, "points_required": 1000}

    imported = a_shop(a_customer(vip_tier="gold"), a_customer(), vip_tiers=[tier("Gold")])
    shop = await service.open_shop(imported)

    await service.import_shop({**imported, "vip_tiers": [tier("Or")]})

    assert await shop.untold() == {shop.customers[0]}


async def test_customers_buy_while_their_shop_is_imported(service: Service) -> None:
    busy, buyer = a_customer(), a_customer(a_lot(500))
    imported = a_shop(busy, buyer)
    shop = await service.open_shop(imported)
    mine = (Customer.shop_id == (await service.caller(shop.full_key)).id, Customer.id == shop.customers[0])
    async with service.store() as session:
        await session.execute(select(Customer).where(*mine).with_for_update())
        importing = asyncio.ensure_future(service.import_shop({**imported, "customers": [busy]}))
        await asyncio.sleep(0.3)

        async with asyncio.timeout(20):
            assert (await shop.purchase(customer=shop.customers[1])).status_code == 201
        assert not importing.done()
    await importing


async def test_a_clash_with_what_is_there_changes_nothing_of_the_shop(service: Service) -> None:
    first = a_shop(a_customer(a_lot(100)))
    shop = await service.open_shop(first)
    thief = a_shop(a_customer(a_lot(100)), api_keys=first["api_keys"])

    with pytest.raises(BadImport, match="the key of another shop"):
        await service.open_shop(thief)

    assert (await shop.get(f"/v1/customers/{shop.customers[0]}")).status_code == 200
    async with service.store() as session:
        assert (await session.scalars(select(Shop).where(Shop.domain == thief["domain"]))).all() == []


async def test_an_email_that_another_customer_has_is_refused(service: Service) -> None:
    customer = a_customer(a_lot(100), email="jane.unique@shopper.io")
    imported = a_shop(customer)
    shop = await service.open_shop(imported)

    with pytest.raises(BadImport, match="clashes"):
        await service.open_shop({**imported, "customers": [a_customer(email="JANE.unique@shopper.io")]})

    assert await shop.balance() == 100


async def test_vendors_credentials_are_encrypted_at_rest(service: Service, store: Sessions, settings: Settings) -> None:
    imported: dict[str, Any] = a_shop()
    await write_import(
        store, Vault(settings.encryption_keys), ImportFile.model_validate({"shops": [imported]}), tell=lambda _: None
    )

    async with store() as session:
        shop = (await session.scalars(select(Shop).where(Shop.domain == imported["domain"]))).one()

    assert "shpat_" not in json.dumps(shop.credentials)
    assert Vault(settings.encryption_keys).open(shop, "shopify", "access_token").get_secret_value().startswith("shpat_")
