"""`pointsaga import`, `pointsaga migrate`, `pointsaga schedules apply` and `pointsaga customer-data`."""

import json
from pathlib import Path

from tests.commands.conftest import Pointsaga
from tests.commands.scenes import a_shop_of
from tests.service import Json, Service, a_customer, a_lot, a_shop


def a_file(tmp_path: Path, *shops: Json) -> str:
    path = tmp_path / "shops.json"
    path.write_text(json.dumps({"shops": shops}))
    return str(path)


async def test_an_import_tells_what_it_brought_in(pointsaga: Pointsaga, tmp_path: Path) -> None:
    shop = a_shop(a_customer(a_lot(300), a_lot(200)))
    file = a_file(tmp_path, shop)

    assert (await pointsaga("import", file)).out == f"{shop['domain']}: 1 rewards, 1 customers, 2 new lots\n"
    again = (await pointsaga("import", file, "--json")).json
    counts = {"rewards": 1, "customers": 1, "new_lots": 0}
    assert again == {"imported": [{"domain": shop["domain"], **counts}], "errors": []}


async def test_a_file_that_cannot_be_imported_is_told_place_by_place(pointsaga: Pointsaga, tmp_path: Path) -> None:
    file = a_file(tmp_path, a_shop(currency="pounds"), a_shop(domain="evil.example"))

    said = await pointsaga("import", file, "--json", status=2)

    assert said.json["imported"] == []
    assert [error.partition(":")[0] for error in said.json["errors"]] == ["$.shops[0].currency", "$.shops[1].domain"]
    assert (await pointsaga("import", file, status=2)).err == said.err
    assert "was not imported" in said.err


async def test_what_is_kept_of_a_customer_is_printed_as_json(service: Service, pointsaga: Pointsaga) -> None:
    shop = await a_shop_of(service)

    said = await pointsaga("customer-data", shop.domain, shop.customers[0])

    [row] = said.json["customers"]
    assert row["id"] == shop.customers[0]
    assert "has no customer 1" in (await pointsaga("customer-data", shop.domain, "1", status=2)).err


async def test_a_schema_that_is_up_to_date_is_left_as_it_is(pointsaga: Pointsaga) -> None:
    assert (await pointsaga("migrate")).out == "the database is up to date\n"
    assert (await pointsaga("migrate", "--json")).json == {"up_to_date": True}


async def test_schedules_are_applied_again_and_again(pointsaga: Pointsaga) -> None:
    assert (await pointsaga("schedules", "apply")).out == "applied: reconcile-redemptions, expire-points\n"
    assert (await pointsaga("schedules", "apply", "--json")).json["applied"] == [
        "reconcile-redemptions",
        "expire-points",
    ]


async def test_without_temporal_the_command_says_where_it_looked(pointsaga: Pointsaga) -> None:
    said = await pointsaga("schedules", "apply", status=1, TEMPORAL_ADDRESS="127.0.0.1:9")

    assert "Temporal at 127.0.0.1:9 cannot be used" in said.err
