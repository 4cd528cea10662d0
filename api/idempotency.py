"""The `Idempotency-Key` header of requests, and the responses to requests that have one."""

from http import HTTPStatus
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, Header, Request, Response

from api.errors import RETRY_AFTER_SECONDS, ApiError, ErrorSource
from services.idempotency import Reply

_HEADER = "Idempotency-Key"


async def _key(
    request: Request,
    given: Annotated[
        str | None,
        Header(
            alias=_HEADER,
            description="Identifies the request: 1 to 255 printable characters. Generated if it is missing.",
            min_length=1,
            max_length=255,
            pattern=r"^[\x21-\x7e\xa0-\xff][\x20-\x7e\xa0-\xff]*$",
            examples=["order-17"],
        ),
    ] = None,
) -> str:
    """The client's key, or a new one. It is kept with the request, so that error responses have it too."""
    if len(request.headers.getlist(_HEADER)) > 1:
        detail = f"{_HEADER} is given more than once"
        raise ApiError("invalid_request", detail, source=ErrorSource(header=_HEADER))
    request.state.idempotency_key = key = given or str(uuid4())
    return key


Key = Annotated[str, Depends(_key)]


async def _key_is_made(request: Request) -> bool:
    return _HEADER not in request.headers


KeyIsMade = Annotated[bool, Depends(_key_is_made)]
"""Whether the client sent no key."""


def headers(key: str, *, replayed: bool = False) -> dict[str, str]:
    """Headers of the response to a request with this key."""
    return {_HEADER: key} | ({"Idempotency-Replayed": "true"} if replayed else {})


def response(key: str, reply: Reply) -> Response:
    """The decided answer, byte for byte."""
    status, named = reply.answer.status, headers(key, replayed=reply.replayed)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        named["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return Response(reply.answer.body, status, named, media_type="application/json")
