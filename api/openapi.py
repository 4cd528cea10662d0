"""What OpenAPI says beyond what FastAPI finds out: errors, headers, bodies, and an example of every answer."""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.errors import KINDS, ApiError, ErrorDocument
from api.examples import Examples

Json = dict[str, Any]

READ = ("unauthorized", "rate_limited", "internal_error", "engine_unavailable")
"""What can go wrong wherever a key is asked for."""

WRITE = ("read_only_key", *READ)

BODY = ("invalid_json", "invalid_request", "payload_too_large", "unsupported_media_type")
"""What can be wrong with a body."""

TAGS: list[Json] = [
    {"name": "Rewards", "description": "What points can be spent on, and spending them."},
    {"name": "Customers", "description": "Members, by Shopify id or e-mail address, and their points."},
    {"name": "Reward history", "description": "Redemptions: their codes, their receipts, and taking them back."},
    {"name": "VIP tiers", "description": "Levels that customers reach by their lifetime points."},
    {"name": "Webhook subscriptions", "description": "Who of yours is told of what. Deliveries are signed."},
    {"name": "Webhooks", "description": "What Shopify tells."},
    {"name": "Health", "description": "For whoever runs the service; no key is asked for."},
]

_RETRY_AFTER: Json = {
    "Retry-After": {
        "description": "Seconds to wait before trying again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
        "example": 5,
    }
}
_ALLOWANCE: Json = {
    name: {"description": text, "schema": {"type": "integer", "minimum": 0}, "example": example}
    for name, text, example in (
        ("RateLimit-Limit", "Requests that the key has in the limit's window.", 50),
        ("RateLimit-Remaining", "Those that are left.", 49),
        ("RateLimit-Reset", "Seconds until there is room for more.", 1),
    )
}
_KEY_HEADERS: Json = {
    "Idempotency-Key": {
        "description": "The key this request goes by; send it again to repeat the request safely.",
        "schema": {"type": "string"},
        "example": "order-17",
    },
    "Idempotency-Replayed": {
        "description": "`true` when this answer had been given before.",
        "schema": {"type": "string", "const": "true"},
        "example": "true",
    },
}


def operation_id(route: APIRoute) -> str:
    """Clients that are generated name their methods by it."""
    return route.name


def errors(*codes: str) -> dict[int | str, Json]:
    """The error answers of an endpoint, by the codes it can answer, each with an example."""
    statuses = sorted({KINDS[code].status for code in codes})
    return {status: _response([code for code in codes if KINDS[code].status == status]) for status in statuses}


def _response(codes: list[str]) -> Json:
    examples = {
        code: {"value": ApiError(code, KINDS[code].example).document().model_dump(exclude_none=True)} for code in codes
    }
    return {
        "model": ErrorDocument,
        "description": "One of: " + ", ".join(f"`{code}`" for code in codes),
        "content": {"application/json": {"examples": examples}},
        "headers": _RETRY_AFTER if KINDS[codes[0]].status in (429, 503) else {},
    }


def describe(app: FastAPI) -> None:
    """Have the document completed by whoever asks for it first: it takes longer than all else at the start."""
    app.openapi = cache(partial(_complete, app.openapi))


def _complete(made_by: Callable[[], Json]) -> Json:
    document = made_by()
    schemas = document["components"]["schemas"]
    for operation in _operations(document):
        _drop_default_error(operation)
        _name_body(operation, schemas)
        _describe_headers(operation)
        _mend_parameters(operation)
    for schema in ("HTTPValidationError", "ValidationError"):
        schemas.pop(schema, None)
    _give_examples(document, Examples(schemas))
    return document


def _operations(document: Json) -> Iterator[Json]:
    for path in document["paths"].values():
        yield from path.values()


def _drop_default_error(operation: Json) -> None:
    """The 422 that FastAPI documents for every parameter: ours answer 400, in the one shape."""
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]


def _name_body(operation: Json, schemas: Json) -> None:
    """Bodies are read by `json_body`, so FastAPI has not put their schemas where references and generators look."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        if "title" in schema:
            schemas.update(schema.pop("$defs", {}))
            schemas[schema["title"]] = schema
            content["schema"] = {"$ref": f"#/components/schemas/{schema['title']}"}


def _describe_headers(operation: Json) -> None:
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    for status, answer in operation["responses"].items():
        found = answer.pop("headers", {})
        if "Idempotency-Key" in names:
            found = found | _KEY_HEADERS
        if "security" in operation and status != "401":
            found = found | _ALLOWANCE
        if found:
            answer["headers"] = found


def _mend_parameters(operation: Json) -> None:
    """One that is not given is left out, not null. Ids are shown where the documentation page takes them from."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        if "anyOf" in schema:
            [given] = [one for one in schema.pop("anyOf") if one != {"type": "null"}]
            schema |= given
        if parameter["in"] == "path":
            parameter["example"] = schema.pop("examples")[0]


def _give_examples(document: Json, examples: Examples) -> None:
    """One of each answer, made of those of its parts; a part without any is an error in ours."""
    for operation in _operations(document):
        for answer in operation["responses"].values():
            for content in answer.get("content", {}).values():
                if "examples" not in content:
                    content["example"] = examples.of(content["schema"])
