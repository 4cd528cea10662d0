"""Reads JSON request bodies, and reports what is wrong with them."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, from_json

from api.auth import Reader
from api.errors import KINDS, ApiError, ErrorSource

Body = TypeVar("Body", bound=BaseModel)


_JSON_TYPES = ("", "application/json", "application/vnd.api+json")
LINES_TYPES = ("application/jsonl", "application/x-ndjson")
# What curl and fetch send for a body whose type the caller does not state.
_UNSTATED_TYPES = ("application/x-www-form-urlencoded", "text/plain")


class _Member(BaseModel):
    """Part of a JSON:API document. Source: jsonapi.org, format 1.1: the members beside `data` and `attributes`."""

    model_config = ConfigDict(extra="forbid")

    links: Any = None
    meta: Any = None


class _Resource(_Member, Generic[Body]):
    attributes: Body
    type: Any = None
    id: Any = None
    lid: Any = None
    relationships: Any = None


class _Document(_Member, Generic[Body]):
    data: _Resource[Body]
    jsonapi: Any = None
    included: Any = None


def json_body(model: type[Body], *, empty: bytes = b"") -> Callable[[Request, Reader], Awaitable[Body]]:
    """A dependency that reads a JSON object after authentication. A dependency on `Writer` must come before it.

    The fields are in the object itself, or in `data.attributes` as in JSON:API. `empty` replaces an empty body.
    """

    async def read(request: Request, _: Reader) -> Body:
        check_encoding(request)
        body = await request.body() or empty
        media_type = _media_type(request)
        if media_type not in _JSON_TYPES and not (media_type in _UNSTATED_TYPES and _is_object(body)):
            raise ApiError("unsupported_media_type", f"Content-Type must be application/json, not {media_type}")
        try:
            if _is_object(body, with_field="data"):
                return _Document[model].model_validate_json(body, strict=True).data.attributes
            return model.model_validate_json(body, strict=True)
        except ValidationError as error:
            raise _body_error(error.errors(include_url=False)[0]) from None

    return read


async def read_lines(request: Request, *, at_most: int) -> list[bytes]:
    """The lines of a body of JSON Lines, without their ends."""
    check_encoding(request)
    media_type = _media_type(request)
    if media_type not in LINES_TYPES:
        raise ApiError("unsupported_media_type", f"Content-Type must be {' or '.join(LINES_TYPES)}, not {media_type}")
    lines = (await request.body()).splitlines()
    if len(lines) > at_most:
        raise ApiError("payload_too_large", f"The body has more than {at_most} lines")
    return lines


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_encoding(request: Request) -> None:
    """Refuse a compressed body, which would be read as invalid JSON."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise ApiError("unsupported_media_type", "Content-Encoding is not supported: send the body uncompressed")


def _is_object(body: bytes, *, with_field: str | None = None) -> bool:
    try:
        content: Any = from_json(body)
    except ValueError:
        return False
    return isinstance(content, dict) and (with_field is None or with_field in content)


def _body_error(error: ErrorDetails) -> ApiError:
    if not error["loc"] and error["type"] == "value_error":
        # A rule about several fields.
        return ApiError("invalid_request", error["msg"].removeprefix("Value error, "))
    if not error["loc"]:
        return ApiError("invalid_json", "" if error["type"] == "json_invalid" else "The body is not a JSON object")
    field = "/".join(_escaped(part) for part in error["loc"])
    source = ErrorSource(pointer=f"/{field}")
    if error["type"] == "extra_forbidden":
        return ApiError("invalid_request", f"{field}: this request has no such field", source=source)
    code = f"{error['loc'][-1]}_missing"
    is_text = error["type"].startswith("string_")
    if code in KINDS and (error["type"] in ("missing", "string_type") or (is_text and _is_blank(error["input"]))):
        return ApiError(code, f"{field} is required and must be a non-empty string", source=source)
    return ApiError("invalid_request", f"{field}: {error['msg']}", source=source)


def _escaped(part: str | int) -> str:
    """One part of a JSON pointer. Source: RFC 6901, section 3."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()
