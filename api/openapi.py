"""Completes the OpenAPI document that FastAPI generates: errors, headers, bodies, and an example of every response."""

import json
import re
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.errors import CHALLENGE, KINDS, ApiError, ErrorDocument

Json = dict[str, Any]

READ = ("unauthorized", "rate_limited", "internal_error", "engine_unavailable")
"""Errors of every operation with an API key."""

WRITE = ("read_only_key", *READ)

ADMIN = ("admin_key_required", *READ)
"""Errors of every operation that needs a key of scope `admin`."""

BODY = ("invalid_json", "invalid_request", "request_timeout", "payload_too_large", "unsupported_media_type")
"""Errors of every operation with a body."""

TAGS: list[Json] = [
    {"name": "Rewards", "description": "Discounts that customers buy with points: list, quote and purchase them."},
    {"name": "Customers", "description": "Customers and their points."},
    {"name": "Reward history", "description": "Redemptions: discount codes, receipts and refunds."},
    {"name": "Shop", "description": "The key's shop and its settings."},
    {"name": "VIP tiers", "description": "Levels that customers reach by lifetime points."},
    {"name": "Webhook subscriptions", "description": "URLs of yours that receive signed events."},
    {"name": "Webhooks", "description": "Webhooks that Shopify sends."},
    {"name": "Health", "description": "Health checks, without API key."},
]


def _header(description: str, example: object, **schema: object) -> Json:
    return {"description": description, "schema": schema, "example": example}


_RETRY_AFTER = {
    "Retry-After": {**_header("Seconds to wait before a retry.", 5, type="integer", minimum=1), "required": True}
}
_CHALLENGE = {
    "WWW-Authenticate": {**_header("The scheme that is accepted.", CHALLENGE, type="string"), "required": True}
}
_HEADERS_OF = {401: _CHALLENGE, 429: _RETRY_AFTER, 503: _RETRY_AFTER}
QUEUED_HEADERS = {
    "Retry-After": _header("Estimate of the seconds until the code.", 41, type="integer", minimum=1),
    "Location": _header(
        "The entry, which has the outcome.", "/v1/reward-history/cr_4k1t9zq0m2x7c8v5b3n6", type="string"
    ),
    "Preference-Applied": _header("The preference of the request.", "respond-async", type="string"),
}
_ALLOWANCE = {
    "RateLimit-Limit": _header("Requests that the key may send in the window.", 50, type="integer", minimum=0),
    "RateLimit-Remaining": _header("Requests left in the window.", 49, type="integer", minimum=0),
    "RateLimit-Reset": _header("Seconds until more requests are allowed.", 1, type="integer", minimum=0),
}
_REQUEST_ID = {
    "X-Request-Id": _header("Of the request, or generated. Quote it in questions.", "f81d4fae7dec11d0", type="string")
}
_KEY_HEADERS = {
    "Idempotency-Key": _header("Send it again to repeat the request safely.", "order-17", type="string"),
    "Idempotency-Replayed": _header(
        "`true` if this is the stored response of an earlier request.", "true", type="string", const="true"
    ),
}


def operation_id(route: APIRoute) -> str:
    """Name of the operation; generated clients name their methods by it."""
    return route.name


def errors(*codes: str) -> dict[int | str, Json]:
    """An operation's error responses with these codes, each with an example."""
    statuses = sorted({KINDS[code].status for code in codes})
    return {status: _response([code for code in codes if KINDS[code].status == status]) for status in statuses}


def _response(codes: list[str]) -> Json:
    return {
        "model": ErrorDocument,
        "description": "One of: " + ", ".join(f"`{code}`" for code in codes),
        "content": {
            "application/json": {
                "examples": {code: {"value": ApiError(code).document().model_dump(exclude_none=True)} for code in codes}
            }
        },
        "headers": _HEADERS_OF.get(KINDS[codes[0]].status, {}),
    }


def body_schema(model: type[BaseModel], example: Json, *, required: bool = True) -> Json:
    """The request body of an operation that reads it with `json_body`."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": required, "content": content}}


def describe(app: FastAPI) -> None:
    """Generate the document at its first request, because that takes longer than the rest of the start."""
    app.openapi = cache(partial(_complete, app.openapi))


def _complete(generate: Callable[[], Json]) -> Json:
    document = _named_by_title(generate())
    schemas = document["components"]["schemas"]
    for path in document["paths"].values():
        _end_reads(path.get("get", {}))
    for operation in _operations(document):
        _remove_default_error(operation)
        _move_body_schema(operation, schemas)
        _add_headers(operation)
        _fix_parameters(operation)
    for schema in ("HTTPValidationError", "ValidationError"):
        schemas.pop(schema, None)
    _add_examples(document)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _named_by_title(document: Json) -> Json:
    """Rename the schemas of generic documents, such as `ListDocument_RewardResource_`, to their titles."""
    titles = {name: schema["title"] for name, schema in document["components"]["schemas"].items() if name[-1] == "_"}
    return json.loads(re.sub("|".join(titles), lambda name: titles[name[0]], json.dumps(document)))


def _operations(document: Json) -> Iterator[Json]:
    for path in document["paths"].values():
        yield from path.values()


def _remove_default_error(operation: Json) -> None:
    """Remove the 422 that FastAPI documents for every parameter: this API answers 400."""
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]


def _end_reads(operation: Json) -> None:
    """Correct the examples of 404 of a read, which `api.errors` answers with `never`."""
    for content in operation.get("responses", {}).get("404", {}).get("content", {}).values():
        for example in content["examples"].values():
            example["value"]["errors"][0]["meta"]["retry"] = "never"


def _move_body_schema(operation: Json, schemas: Json) -> None:
    """Move an inline body schema to the components, where client generators expect it."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        if "title" in schema:
            schemas.update(schema.pop("$defs", {}))
            schemas[schema["title"]] = schema
            content["schema"] = {"$ref": f"#/components/schemas/{schema['title']}"}


def _add_headers(operation: Json) -> None:
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    for code, response in operation["responses"].items():
        headers = response.pop("headers", {}) | _REQUEST_ID
        if "Idempotency-Key" in names:
            headers = headers | _KEY_HEADERS
        if "security" in operation and code != "401":
            headers = headers | _ALLOWANCE
        response["headers"] = headers


def _fix_parameters(operation: Json) -> None:
    """Optional parameters can be left out but not null. The documentation page reads `example`, not `examples`."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        if "anyOf" in schema:
            [given] = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
            schema |= given
        if parameter["in"] == "path":
            parameter["example"] = schema.pop("examples")[0]


def _add_examples(document: Json) -> None:
    """Add an example to every response, made of the examples of its parts."""
    for operation in _operations(document):
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                if "examples" not in content:
                    content["example"] = _example(content["schema"], document["components"]["schemas"])


def _example(schema: Json, schemas: Json) -> Any:
    """The schema's own example, or one made of its parts. Raises KeyError if a part has none."""
    if "example" in schema:
        # FastAPI leaves out null values.
        return dict.fromkeys(schema.get("required", ())) | schema["example"]
    for values in ("examples", "enum"):
        if values in schema:
            return schema[values][0]
    match schema:
        case {"const": value}:
            return value
        case {"$ref": reference}:
            return _example(schemas[reference.rpartition("/")[2]], schemas)
        case {"anyOf": [first, *_]}:
            return _example(first, schemas)
        case {"type": "array", "items": items}:
            return [_example(items, schemas)]
        case {"type": "object", "properties": properties}:
            return {name: _example(part, schemas) for name, part in properties.items()}
        case _:
            return {"integer": 1, "number": 1.0, "boolean": True}[schema["type"]]
