"""`pointsaga import` and `pointsaga customer-data`."""

import json
from pathlib import Path

from tests.builders import Json, a_customer, a_lot, a_shop
from tests.commands.conftest import CommandLine
from tests.shop import Shop


def import_file(tmp_path: Path, *shops: Json) -> str:
    path = tmp_path / "shops.json"
    path.write_text(json.dumps({"shops": shops}))
    return str(path)


async def test_an_import_prints_its_counts(pointsaga: CommandLine, tmp_path: Path) -> None:
    shop = a_shop(a_customer(a_lot(300), a_lot(200)))
    file = import_file(tmp_path, shop)

    assert (await pointsaga("import", file)).out == f"{shop['domain']}: 1 rewards, 1 customers, 2 new lots\n"
    counts = {"rewards": 1, "customers": 1, "new_lots": 0}
    repeated = (await pointsaga("import", file, "--json")).json
    assert repeated == {"imported": [{"domain": shop["domain"], **counts}], "errors": []}


async def test_every_error_of_a_file_is_printed(pointsaga: CommandLine, tmp_path: Path) -> None:
    file = import_file(tmp_path, a_shop(currency="pounds"), a_shop(domain="evil.example"))

    result = await pointsaga("import", file, "--json", status=2)

    assert result.json["imported"] == []
    assert [error.partition(":")[0] for error in result.json["errors"]] == ["$.shops[0].currency", "$.shops[1].domain"]
    assert (await pointsaga("import", file, status=2)).err == result.err
    assert "was not imported" in result.err


async def test_stored_customer_data_is_printed(shop: Shop, pointsaga: CommandLine) -> None:
    [row] = (await pointsaga("customer-data", shop.domain, shop.customers[0])).json["customers"]

    assert row["id"] == shop.customers[0]
    assert "has no customer 1" in (await pointsaga("customer-data", shop.domain, "1", status=2)).err
