"""`pointsaga import` and `pointsaga customer-data`."""

import json
from pathlib import Path

import pytest

from tests.builders import Json, a_customer, a_lot, a_shop
from tests.commands.conftest import CommandLine
from tests.service import Service
from tests.shop import Shop


def import_file(tmp_path: Path, *shops: Json) -> str:
    path = tmp_path / "shops.json"
    path.write_text(json.dumps({"shops": shops}))
    return str(path)


@pytest.fixture
def service(without_temporal: Service) -> Service:
    """These tests run no workflow."""
    return without_temporal


async def test_an_import_prints_its_counts(pointsaga: CommandLine, tmp_path: Path) -> None:
    shop = a_shop(a_customer(a_lot(300), a_lot(200)))
    file = import_file(tmp_path, shop)

    assert (await pointsaga("import", file)).out == f"{shop['domain']}: 1 rewards, 1 customers, 2 new lots\n"
    counts = {"rewards": 1, "customers": 1, "new_lots": 0}
    repeated = (await pointsaga("import", file, "--json")).json
    unchanged: Json = {"changes": [{"domain": shop["domain"], "changes": []}], "errors": []}
    assert repeated == {"imported": [{"domain": shop["domain"], **counts}], **unchanged}


async def test_every_error_of_a_file_is_printed(pointsaga: CommandLine, tmp_path: Path) -> None:
    file = import_file(tmp_path, a_shop(currency="pounds"), a_shop(domain="evil.example"))

    result = await pointsaga("import", file, "--json", status=2)

    assert result.json["imported"] == []
    assert [error.partition(":")[0] for error in result.json["errors"]] == ["$.shops[0].currency", "$.shops[1].domain"]
    assert (await pointsaga("import", file, status=2)).err == result.err
    assert "was not imported" in result.err


async def test_many_errors_are_counted(pointsaga: CommandLine, tmp_path: Path) -> None:
    file = import_file(tmp_path, a_shop(*(a_customer(customer_id=f"x{number}") for number in range(50))))

    lines = (await pointsaga("import", file, status=2)).err.splitlines()

    assert (len(lines), lines[-1]) == (22, "50 errors, 20 shown")


async def test_a_dry_run_only_prints(shop: Shop, pointsaga: CommandLine, tmp_path: Path) -> None:
    customer = a_customer(a_lot(7), customer_id=shop.customers[0])
    changes = {"name": "New", "klaviyo": {"api_key": "pk_new"}, "omnisend": None, "customers": [customer]}
    changes |= {"release_grace_days": 30, "shopify": {"webhook_secret": "secret"}}
    changes["api_keys"] = [{"key": shop.full_key, "scope": "full", "expires_at": "2999-01-01T00:00:00Z"}]
    reward = {"id": "reward_abc", "points_cost": 400}
    file = import_file(tmp_path, {"domain": shop.domain, **changes, "rewards": [reward]})
    before = await shop.row()

    printed = (await pointsaga("import", file, "--dry-run")).out

    assert printed.splitlines() == [
        f"{shop.domain}: {line}"
        for line in (
            "name: A shop → New",
            "release_grace: 7 days → 30 days",
            "klaviyo: credentials replaced",
            "omnisend: credentials removed",
            "shopify: webhook secret set",
            "api_keys: 1 changed",
            "rewards reward_abc: points_cost 500 → 400",
            "lots: 1 new, with 7 points",
        )
    ]
    assert ((await shop.row()).credentials, await shop.balance()) == (before.credentials, 500)


@pytest.mark.parametrize("change", [{"currency": "EUR"}, {"klaviyo": None}])
async def test_dangerous_changes_need_yes(shop: Shop, pointsaga: CommandLine, tmp_path: Path, change: Json) -> None:
    file = import_file(tmp_path, {"domain": shop.domain, **change})

    assert "--yes" in (await pointsaga("import", file, status=2)).err
    assert ((await shop.row()).currency, "klaviyo" in (await shop.row()).credentials) == ("GBP", True)

    await pointsaga("import", file, "--yes")
    assert ((await shop.row()).currency, "klaviyo" in (await shop.row()).credentials) != ("GBP", True)


async def test_removing_a_webhook_secret_needs_yes(shop: Shop, pointsaga: CommandLine, tmp_path: Path) -> None:
    def secret(value: str | None) -> str:
        return import_file(tmp_path, {"domain": shop.domain, "shopify": {"webhook_secret": value}})

    await pointsaga("import", secret("one"))
    replaced = (await pointsaga("import", secret("two"))).err
    assert "--yes" in (await pointsaga("import", secret(None), status=2)).err
    before = await shop.row()
    await pointsaga("import", secret(None), "--yes")

    assert "shopify: webhook secret replaced" in replaced
    assert (len(before.webhook_secrets), (await shop.row()).webhook_secrets) == (1, [])


async def test_stored_customer_data_is_printed(shop: Shop, pointsaga: CommandLine) -> None:
    [row] = (await pointsaga("customer-data", shop.domain, shop.customers[0])).json["customers"]

    assert row["id"] == shop.customers[0]
    assert "has no customer 1" in (await pointsaga("customer-data", shop.domain, "1", status=2)).err
