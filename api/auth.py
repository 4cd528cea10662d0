"""Who calls: the API key decides the shop, whether it may write, and how often it may call."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader

from api.errors import ApiError
from api.state import StateOf
from db import api_keys
from db.tables import Shop

_HEADER = APIKeyHeader(
    name="Authorization",
    scheme_name="ApiKey",
    auto_error=False,
    description="The API key, alone or as `Bearer <api-key>`.",
)


@dataclass(frozen=True)
class Caller:
    """The shop a key speaks for, and the key as the activity log names it."""

    shop: Shop
    can_write: bool
    name: str


async def _caller(request: Request, state: StateOf, authorization: Annotated[str | None, Security(_HEADER)]) -> Caller:
    if not authorization:
        raise ApiError("unauthorized", "Missing Authorization header")
    scheme, _, rest = authorization.partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" and rest else authorization
    # Asked of the database each time, so that a revoked key is refused at once by every process.
    async with state.sessions() as session:
        found = await api_keys.shop_of_key(session, key)
    if found is None:
        raise ApiError("unauthorized", "Unknown or revoked API key")
    shop, row = found
    request.state.allowance = allowance = await state.rate_limits.count(row.id)
    if allowance is not None and not allowance.granted:
        detail = "Rate limit exceeded. Please retry after a short delay."
        raise ApiError("rate_limited", detail, retry_after=allowance.reset_seconds)
    name = f"API key {row.id}" + (f" ({row.label})" if row.label else "")
    return Caller(shop, can_write=row.scope == "full", name=name)


Reader = Annotated[Caller, Depends(_caller)]


async def _writer(caller: Reader) -> Caller:
    if not caller.can_write:
        raise ApiError("read_only_key", "This API key is read-only and cannot perform write operations")
    return caller


Writer = Annotated[Caller, Depends(_writer)]
