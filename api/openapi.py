"""What OpenAPI says of errors."""

from typing import Any

from fastapi import FastAPI

from api.errors import KINDS, ErrorDocument

_RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}}}

KEY_HEADERS = {
    "Idempotency-Key": {
        "description": "The key this request goes by; send it again to repeat the request safely.",
        "schema": {"type": "string"},
    },
    "Idempotency-Replayed": {
        "description": "`true` when this answer had been given before.",
        "schema": {"type": "string", "const": "true"},
    },
}

_ERRORS = "#/components/schemas/ErrorDocument"
_ALLOWANCE = {
    "RateLimit-Limit": "Requests that the key has in the limit's window.",
    "RateLimit-Remaining": "Those that are left.",
    "RateLimit-Reset": "Seconds until there is room for more.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of an endpoint, with the codes that each status can have."""
    return {status: _response(status) for status in statuses}


def _response(status: int) -> dict[str, Any]:
    codes = [code for code, kind in KINDS.items() if kind.status == status]
    described = {"model": ErrorDocument, "description": "One of: " + ", ".join(f"`{code}`" for code in codes)}
    return {**described, "headers": _RETRY_AFTER} if status in (429, 503) else described


def drop_default_errors(app: FastAPI) -> None:
    """Take out the 422 that FastAPI documents for every parameter: ours answer 400, in the one shape."""
    document = app.openapi()
    for path in document["paths"].values():
        for operation in path.values():
            content = operation["responses"].get("422", {}).get("content", {})
            if "HTTPValidationError" in str(content):
                del operation["responses"]["422"]
    for schema in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(schema, None)


def describe_rate_limits(app: FastAPI) -> None:
    """Give every endpoint that takes a key its 429, and all answers to a known key their headers."""
    too_many = _response(429) | {"content": {"application/json": {"schema": {"$ref": _ERRORS}}}}
    del too_many["model"]
    headers = {name: {"description": text, "schema": {"type": "integer"}} for name, text in _ALLOWANCE.items()}
    for path in app.openapi()["paths"].values():
        for operation in path.values():
            if "security" in operation:
                answers = operation["responses"]
                answers["429"] = too_many
                for status in answers.keys() - {"401"}:
                    answers[status] = answers[status] | {"headers": answers[status].get("headers", {}) | headers}
