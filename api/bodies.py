"""Reads JSON request bodies, and reports what is wrong with them."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, from_json

from api.auth import Reader
from api.errors import KINDS, ApiError, ErrorSource

Body = TypeVar("Body", bound=BaseModel)


_JSON_TYPES = ("", "application/json", "application/vnd.api+json")
# What curl and fetch send for a body whose type the caller does not state.
_UNSTATED_TYPES = ("application/x-www-form-urlencoded", "text/plain")


class _Resource(BaseModel, Generic[Body]):
    attributes: Body


class _Document(BaseModel, Generic[Body]):
    data: _Resource[Body]


def json_body(model: type[Body], *, empty: bytes = b"") -> Callable[[Request, Reader], Awaitable[Body]]:
    """A dependency that reads a JSON object after authentication. A dependency on `Writer` must come before it.

    The fields are in the object itself, or in `data.attributes` as in JSON:API. `empty` replaces an empty body.
    """

    async def read(request: Request, _: Reader) -> Body:
        body = await request.body() or empty
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type not in _JSON_TYPES and not (media_type in _UNSTATED_TYPES and _is_object(body)):
            raise ApiError("unsupported_media_type", f"Content-Type must be application/json, not {media_type}")
        try:
            if _is_object(body, with_field="data"):
                return _Document[model].model_validate_json(body, strict=True).data.attributes
            return model.model_validate_json(body, strict=True)
        except ValidationError as error:
            raise _body_error(error.errors(include_url=False)[0]) from None

    return read


def _is_object(body: bytes, *, with_field: str | None = None) -> bool:
    try:
        content: Any = from_json(body)
    except ValueError:
        return False
    return isinstance(content, dict) and (with_field is None or with_field in content)


def _body_error(error: ErrorDetails) -> ApiError:
    if not error["loc"]:
        return ApiError("invalid_json", "" if error["type"] == "json_invalid" else "The body is not a JSON object")
    field = "/".join(str(part) for part in error["loc"])
    source = ErrorSource(pointer=f"/{field}")
    code = f"{error['loc'][-1]}_missing"
    if code in KINDS and (error["type"] in ("missing", "string_type") or _is_blank(error["input"])):
        return ApiError(code, f"{field} is required and must be a non-empty string", source=source)
    return ApiError("invalid_request", f"{field}: {error['msg']}", source=source)


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()
