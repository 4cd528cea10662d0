"""What OpenAPI says: enough for whoever reads it, and true of whatever it shows."""

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


def test_every_operation_says_what_it_is(document: Json) -> None:
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    ids = [operation["operationId"] for operation in operations(document)]

    assert len(ids) == len({one.lower() for one in ids})
    for operation in operations(document):
        assert re.fullmatch("[a-z]+(_[a-z]+)*", operation["operationId"])
        assert operation["summary"], operation["operationId"]
        assert operation["description"], operation["operationId"]
        assert len(operation["tags"]) == 1, operation["operationId"]
    assert {operation["tags"][0] for operation in operations(document)} == tags


def test_whatever_has_a_body_has_an_example_that_fits(document: Json) -> None:
    shown = 0
    for where, content in bodies(document):
        for example in examples(content):
            assert not errors_of(document, content["schema"], example), where
            shown += 1

    assert shown > 150


def bodies(document: Json) -> Iterator[tuple[str, Json]]:
    """Everything that goes to or comes from an operation, and where that is said."""
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
    checked: Any = Draft202012Validator({**schema, "components": document["components"]})
    return [error.message for error in checked.iter_errors(value)]


def test_every_error_is_documented_where_it_can_happen(document: Json) -> None:
    documented: set[str] = set()
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            for code, example in answer.get("content", {}).get("application/json", {}).get("examples", {}).items():
                [error] = example["value"]["errors"]
                assert (error["code"], error["status"]) == (code, status) == (code, str(KINDS[code].status))
                documented.add(code)

    # These two are not of any operation; the document's description tells of them.
    assert documented == KINDS.keys() - {"not_found", "method_not_allowed"}


def test_what_takes_a_key_takes_it_from_readers_or_writers_only(document: Json) -> None:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            keyed = path.startswith("/v1/")
            writes = method != "get" and operation["operationId"] != "quote_reward"
            assert operation.get("security", []) == ([{"ApiKey": []}] if keyed else []), path
            if keyed:
                refused = "read_only_key" in str(operation["responses"].get("403"))
                assert refused is writes, (method, path)


def test_what_takes_an_idempotency_key_tells_it_with_every_answer(document: Json) -> None:
    taking = [one for one in operations(document) if "Idempotency-Key" in str(one.get("parameters"))]

    assert {one["operationId"] for one in taking} == {"purchase_reward", "adjust_points"}
    for operation in taking:
        for answer in operation["responses"].values():
            assert {"Idempotency-Key", "Idempotency-Replayed"} <= answer["headers"].keys()


async def test_another_method_is_refused_and_all_the_right_ones_are_named(app: FastAPI, document: Json) -> None:
    async with in_process(httpx.ASGITransport(app)) as api:
        for path, methods in document["paths"].items():
            answer = await api.patch(re.sub("{.*?}", "1", path))

            assert (answer.status_code, answer.json()["errors"][0]["code"]) == (405, "method_not_allowed")
            assert answer.headers["allow"].split(", ") == sorted(method.upper() for method in methods)
