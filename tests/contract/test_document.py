"""The OpenAPI document: complete, and consistent with itself"""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from api.app import create_app
from api.errors import KINDS
from settings import Settings
from tests.builders import Json
from tests.service import in_process


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    return create_app(settings)


@pytest.fixture(scope="module")
def document(app: FastAPI) -> Json:
    return app.openapi()


def operations(document: Json) -> list[Json]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def test_every_operation_is_described(document: Json) -> None:
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    ids = [operation["operationId"] for operation in operations(document)]

    assert len(ids) == len({one.lower() for one in ids})
    for operation in operations(document):
        assert re.fullmatch("[a-z]+(_[a-z]+)*", operation["operationId"])
        assert operation["summary"], operation["operationId"]
        assert operation["description"], operation["operationId"]
        assert len(operation["tags"]) == 1, operation["operationId"]
    assert {operation["tags"][0] for operation in operations(document)} == tags


def test_every_body_has_a_valid_example(document: Json) -> None:
    checked = 0
    for where, content in bodies(document):
        for example in examples(content):
            assert not errors_of(document, content["schema"], example), where
            checked += 1

    assert checked > 150


def bodies(document: Json) -> Iterator[tuple[str, Json]]:
    """Every documented request and response body, with its operation and status."""
    for operation in operations(document):
        name = operation["operationId"]
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield f"{name} body", content
        for status, answer in operation["responses"].items():
            assert ("content" in answer) is (status != "204"), (name, status)
            for content in answer.get("content", {}).values():
                yield f"{name} {status}", content


def examples(content: Json) -> list[Any]:
    several = [one["value"] for one in content.get("examples", {}).values()]
    return several or [content["example"]]


def errors_of(document: Json, schema: Json, value: Any) -> list[str]:
    validator: Any = Draft202012Validator({**schema, "components": document["components"]})
    return [error.message for error in validator.iter_errors(value)]


def test_every_error_is_documented(document: Json) -> None:
    documented: set[str] = set()
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            for code, example in answer.get("content", {}).get("application/json", {}).get("examples", {}).items():
                [error] = example["value"]["errors"]
                assert (error["code"], error["status"]) == (code, status) == (code, str(KINDS[code].status))
                documented.add(code)

    # These two belong to no operation; the description of the document has them.
    assert documented == KINDS.keys() - {"not_found", "method_not_allowed"}


def test_writes_need_a_full_key(document: Json) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            keyed = path.startswith("/v1/")
            writes = method != "get" and operation["operationId"] != "quote_reward"
            assert operation.get("security", []) == ([{"ApiKey": []}] if keyed else []), path
            if keyed:
                refused = str(operation["responses"].get("403"))
                assert ("read_only_key" in refused or "admin_key_required" in refused) is writes, (method, path)


def test_bodies_and_headers_are_required_where_they_are(document: Json) -> None:
    bodies = {
        one["operationId"]: one["requestBody"]["required"] for one in operations(document) if "requestBody" in one
    }
    [webhook] = (one for one in operations(document) if one["operationId"] == "receive_shopify_webhook")

    assert {name for name, is_required in bodies.items() if not is_required} == {"refund_reward_history_entry"}
    assert bodies["purchase_reward"]
    assert {one["name"] for one in webhook["parameters"] if one["required"]} == {
        "X-Shopify-Topic",
        "X-Shopify-Shop-Domain",
        "X-Shopify-Webhook-Id",
    }


def test_idempotency_headers_are_documented(document: Json) -> None:
    taking = [one for one in operations(document) if "Idempotency-Key" in str(one.get("parameters"))]

    assert {one["operationId"] for one in taking} == {
        *("purchase_reward", "adjust_points", "add_reward", "update_reward", "remove_reward"),
        *("write_customer", "write_customers", "update_shop"),
    }
    for operation in taking:
        for answer in operation["responses"].values():
            assert {"Idempotency-Key", "Idempotency-Replayed"} <= answer["headers"].keys()


def test_every_operation_with_a_key_documents_the_limit(document: Json) -> None:
    for operation in operations(document):
        responses = operation["responses"]
        assert ("429" in responses) is ("security" in operation)
        if "security" in operation:
            assert {"401", "429", "500", "503"} <= responses.keys()
            assert "Retry-After" in responses["429"]["headers"]
            for status, response in responses.items():
                assert ("RateLimit-Remaining" in response.get("headers", {})) is (status != "401")


BODY = {"invalid_json", "invalid_request", "request_timeout", "payload_too_large", "unsupported_media_type"}
READ = {"unauthorized", "rate_limited", "internal_error", "engine_unavailable"}
WRITE = {"read_only_key", *READ}
ERRORS = {
    "purchase_reward": {
        *(*BODY, *WRITE, "customer_identifier_missing", "customer_excluded", "vip_tier_required"),
        *("customer_not_found", "reward_not_found", "insufficient_points", "reward_sold_out"),
        *("points_to_spend_missing", "points_to_spend_not_allowed", "points_not_a_multiple", "below_minimum"),
        *("above_maximum", "reward_limit_reached", "idempotency_key_reused"),
        *("shopify_unavailable", "shopify_rejected"),
    },
    "refund_reward_history_entry": {
        *(*BODY, *WRITE, "reward_history_entry_not_found", "reward_already_used", "reward_not_redeemed"),
        "shopify_unavailable",
    },
    "remove_reward": {*READ, "invalid_request", "admin_key_required", "reward_not_found", "idempotency_key_reused"},
    "update_webhook_subscription": {*BODY, *WRITE, "webhook_subscription_not_found"},
    "delete_webhook_subscription": {*WRITE, "webhook_subscription_not_found"},
    "receive_shopify_webhook": {
        *(*BODY, "unauthorized", "internal_error", "engine_unavailable"),
    },
}


def test_operations_document_their_errors(document: Json) -> None:
    documented = {
        operation["operationId"]: set(re.findall(r"'(\w+)': {'value'", str(operation["responses"])))
        for operation in operations(document)
    }
    assert {name: documented[name] for name in ERRORS} == ERRORS


def test_attributes_have_complete_examples(document: Json) -> None:
    for noun in ("Reward", "Tier", "Customer", "EarningHistory", "RewardHistory", "Adjustment"):
        schema = document["components"]["schemas"][f"{noun}Attributes"]
        never_null = {name for name in schema["required"] if "null" not in str(schema["properties"][name])}
        assert never_null <= set(schema["example"]) <= set(schema["properties"]), noun


async def test_other_methods_are_refused_with_allow(app: FastAPI, document: Json) -> None:
    async with in_process(httpx.ASGITransport(app)) as api:
        for path, methods in document["paths"].items():
            answer = await api.patch(re.sub("{.*?}", "1", path))

            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (405, "method_not_allowed")
            assert answer.headers["allow"].split(", ") == sorted(
                {*map(str.upper, methods), *(["HEAD"] if "get" in methods else [])}
            )
