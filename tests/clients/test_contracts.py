"""Requests of the clients, validated against the vendors' published schemas."""

import json
import lzma
import os
from collections.abc import Awaitable, Callable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    build_schema,
    parse,
    validate,
)
from graphql.execution.values import get_variable_values
from jsonschema import Draft4Validator, Draft202012Validator
from jsonschema.protocols import Validator

from clients.shopify_app import ShopifyApp
from clients.shopify_webhooks import Topic
from domain.events import EventKind
from sandbox.app import create_app
from sandbox.transport import SandboxTransport
from tests.clients.build import EVERY_KIND, STATE, STORE, URL_TEMPLATE, a_discount, send_event, shopify_client

SCHEMAS = os.environ.get("VENDOR_SCHEMAS")
SKIP_REASON = """set VENDOR_SCHEMAS to a folder with
shopify-admin-2026-10.graphql.xz: print_schema(build_client_schema()) of data/admin_2026-10.json.gz in the npm package
@shopify/dev-mcp; klaviyo-create_event.json: openapi/stable/apis/create_event.json of GitHub's klaviyo/openapi;
omnisend-events.json and postscript-events.yaml: the OpenAPI documents behind the events pages of their references"""

pytestmark = pytest.mark.skipif(SCHEMAS is None, reason=SKIP_REASON)


def read(name: str) -> bytes:
    return Path(SCHEMAS or "", name).read_bytes()


@cache
def published() -> GraphQLSchema:
    """Shopify's schema, without validation: it violates a deprecation rule of graphql-core 3.3."""
    sdl = lzma.decompress(read("shopify-admin-2026-10.graphql.xz")).decode()
    return build_schema(sdl, assume_valid=True)


def documents() -> list[Any]:
    folder = resources.files("clients") / "graphql"
    return [pytest.param(file.read_text(encoding="utf-8"), id=file.name) for file in folder.iterdir()]


@pytest.mark.parametrize("document", documents())
def test_shopifys_schema_accepts_every_document(document: str) -> None:
    assert validate(published(), parse(document)) == []


async def bodies(call: Callable[[httpx.AsyncClient], Awaitable[None]]) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def record(request: httpx.Request) -> None:
        sent.append(json.loads(request.content))

    hooks = {"request": [record]}
    async with httpx.AsyncClient(transport=SandboxTransport(create_app()), event_hooks=hooks) as http:
        await call(http)
    return sent


async def every_shopify_call(http: httpx.AsyncClient) -> None:
    shopify = shopify_client(http)
    for number, discount in enumerate(EVERY_KIND):
        gid = await shopify.create_discount(STORE, a_discount(**vars(discount) | {"code": f"MAGE-{number}"}))
        await shopify.deactivate_discount(STORE, gid)
    await shopify.fence_code(STORE, a_discount())
    found = await shopify.find_discount(STORE, a_discount().code)
    assert found is not None
    await shopify.delete_discount(STORE, found.id)
    await shopify.set_loyalty_metafield(STORE, "4711", STATE)
    app = ShopifyApp(http, url_template=URL_TEMPLATE, api_version="2026-10")
    await app.access_scopes(STORE)
    for topic in filter(None, (topic.in_graphql for topic in Topic)):
        assert await app.subscribe(STORE, topic, "https://points.example/webhooks/shopify") is None
    assert len(await app.webhook_subscriptions(STORE)) > 5


async def test_shopifys_schema_accepts_all_variables() -> None:
    sent = await bodies(every_shopify_call)

    for body in sent:
        [operation] = [node for node in parse(body["query"]).definitions if isinstance(node, OperationDefinitionNode)]
        coerced = get_variable_values(published(), operation.variable_definitions or (), body["variables"])
        assert not isinstance(coerced, list), coerced
    assert len({body["query"] for body in sent}) == len(documents())


def test_the_sandbox_schema_is_part_of_shopifys() -> None:
    sdl = (resources.files("sandbox") / "shopify.graphql").read_text(encoding="utf-8")
    simulated = {name: kind for name, kind in build_schema(sdl).type_map.items() if not name.startswith("__")}

    for name, kind in simulated.items():
        real = published().type_map[name]
        assert type(kind) is type(real), name
        assert members(kind).items() <= members(real).items(), name


def members(kind: object) -> dict[str, str]:
    match kind:
        case GraphQLObjectType():
            arguments = {
                f"{name}({argument})": str(value.type)
                for name, field in kind.fields.items()
                for argument, value in field.args.items()
            }
            return {name: str(field.type) for name, field in kind.fields.items()} | arguments
        case GraphQLInputObjectType():
            one_of = {"@oneOf": str(kind.is_one_of)}
            return {name: f"{field.type} = {field.default_value}" for name, field in kind.fields.items()} | one_of
        case GraphQLEnumType():
            return dict.fromkeys(kind.values, "")
        case GraphQLUnionType():
            return dict.fromkeys((member.name for member in kind.types), "")
        case _:
            return {}


def violations(validator: Validator, body: dict[str, Any]) -> list[str]:
    return [error.message for error in validator.iter_errors(body)]  # pyright: ignore[reportUnknownMemberType]


EVENTS: list[dict[str, Any]] = [
    {},
    {"phone": None},
    {"email": None},
    {"discount_value": None, "expires_at": None},
    {"kind": EventKind.REWARD_REFUNDED, "expires_at": None},
    {"kind": EventKind.REWARD_REISSUED, "occurrence": 1},
]
every_event = pytest.mark.parametrize("changes", EVENTS, ids=str)


@every_event
async def test_klaviyo_schema_accepts_the_event(changes: dict[str, Any]) -> None:
    components: dict[str, Any] = json.loads(read("klaviyo-create_event.json"))["components"]
    schema = {"$ref": "#/components/schemas/EventCreateQueryV2", "components": components}

    [body] = await bodies(lambda http: send_event("klaviyo", http, **changes))

    assert violations(Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER), body) == []
    event = components["schemas"]["EventCreateQueryV2ResourceObject"]["properties"]["attributes"]
    assert set(event["properties"]) >= set(body["data"]["attributes"])


@every_event
async def test_omnisend_schema_accepts_the_event(changes: dict[str, Any]) -> None:
    components: dict[str, Any] = json.loads(read("omnisend-events.json"))["components"]
    schema = {"$ref": "#/components/schemas/EventRequest", "components": components}

    [body] = await bodies(lambda http: send_event("omnisend", http, **changes))

    assert violations(Draft4Validator(schema), body) == []
    assert set(components["schemas"]["EventRequest"]["properties"]) >= set(body)


@every_event
async def test_postscript_schema_accepts_the_event(changes: dict[str, Any]) -> None:
    operation = yaml.safe_load(read("postscript-events.yaml"))["paths"]["/api/v2/events"]["post"]
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]

    [body] = await bodies(lambda http: send_event("postscript", http, **changes))

    # No format check: the schema declares `occurred_at` a date, but its description requires a time as well.
    assert violations(Draft202012Validator(schema), body) == []
    assert set(schema["properties"]) >= set(body)
