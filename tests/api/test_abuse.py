"""What an attacker tries: SECURITY.md lists these tests."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest

from domain.discounts import CODE_ALPHABET, CODE_LENGTH, new_code
from services.import_format import InvalidImport, read_import
from tests.builders import Json, a_customer, a_lot, a_reward, a_shop
from tests.contract.test_tenancy import example_body
from tests.service import Service
from tests.shop import Shop

HOSTILE = "<script>alert(1)</script> '; DROP TABLE customers; -- {{7*7}} ${7*7} `id` 🎁"


def test_a_code_cannot_be_guessed() -> None:
    """At 1,000 attempts a second, one of a million live codes is hit once in a decade. Shopify throttles sooner."""
    codes = [new_code("MAGE") for _ in range(2_000)]

    assert len(CODE_ALPHABET) ** CODE_LENGTH > 2**48
    for place in range(len("MAGE-"), len(codes[0])):
        assert {code[place] for code in codes} == set(CODE_ALPHABET)


async def test_a_code_serves_only_its_customer(shop: Shop) -> None:
    code = (await shop.purchase()).json()["data"]["attributes"]["discount_code"]

    [discount] = await shop.discounts()
    assert (discount["code"], discount["customers"]) == (code, shop.customers)


async def test_guessed_keys_open_nothing(without_temporal: Service) -> None:
    shop = await without_temporal.open_shop(a_shop())
    for key in ("", "x" * 32, shop.full_key[:-1], f"{shop.full_key}0", shop.full_key.upper(), "' OR 1=1 --"):
        answer = await shop.service.api.get("/v1/customers", headers={"Authorization": key})

        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, "unauthorized")


async def test_a_stolen_read_only_key_changes_nothing(without_temporal: Service) -> None:
    """Every documented write, with its example."""
    shop = await without_temporal.open_shop(a_shop(a_customer(a_lot(500))))
    document = (await without_temporal.api.get("/openapi.json")).json()
    refused: list[str] = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method == "get" or operation["operationId"] == "quote_reward" or not path.startswith("/v1/"):
                continue
            answer = await without_temporal.api.request(
                method,
                re.sub(r"\{\w+\}", shop.customers[0], path),
                headers={"Authorization": shop.read_key, "Idempotency-Key": str(uuid4())},
                json=example_body(operation) if is_json(operation) else None,
            )
            assert answer.status_code == 403, (path, answer.text)
            assert answer.json()["errors"][0]["code"] in {"read_only_key", "admin_key_required"}
            refused.append(path)
    assert len(refused) >= 12
    assert await shop.balance() == 500


def is_json(operation: Json) -> bool:
    return "application/json" in operation.get("requestBody", {}).get("content", {})


@pytest.mark.parametrize(
    "content",
    [
        '{"shops":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"shops":[' + '{"domain":' * 50_000 + "1" + "}" * 50_000 + "]}",
        '{"shops":[{"domain":"a.myshopify.com","rewards":[{"points_cost":1e999}]}]}',
        '{"shops":[{"domain":"a.myshopify.com","release_grace_days":' + "9" * 10_000 + "}]}",
        json.dumps({"shops": [a_shop(name="x\u0000")]}),
        json.dumps({"shops": [a_shop(domain="a.myshopify.com\r\nX-Admin: 1")]}),
        json.dumps({"shops": [a_shop(code_prefix="MAGE\n")]}),
    ],
    ids=["nested", "nested-objects", "infinite", "huge", "nul", "header", "line-break"],
)
def test_a_malicious_import_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "shops.json"
    path.write_text(content)

    with pytest.raises(InvalidImport):
        read_import(path)


async def test_hostile_names_are_only_text(without_temporal: Service) -> None:
    document = a_shop(a_customer(a_lot(500), first_name=HOSTILE), rewards=[a_reward(name=HOSTILE)], name=HOSTILE)

    shop = await without_temporal.open_shop(document)

    rewards = await shop.get("/v1/rewards")
    assert rewards.headers["content-type"] == "application/json"
    assert [one["attributes"]["name"] for one in rewards.json()["data"]] == [HOSTILE]
    assert (await shop.customer())["first_name"] == HOSTILE
