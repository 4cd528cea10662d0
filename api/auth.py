"""Authentication: the API key decides the shop, what the caller may do, and the rate limit."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyHeader
from structlog.contextvars import bind_contextvars

from api.errors import ApiError
from api.schemas.documents import format_time
from api.state import StateOf
from db import api_keys
from db.tables import Shop
from domain.api_keys import KeyScope

_HEADER = APIKeyHeader(
    name="Authorization",
    scheme_name="ApiKey",
    auto_error=False,
    description="The API key, alone or as `Bearer <api-key>`.",
)


@dataclass(frozen=True)
class Caller:
    """An API key and its shop. `name`: the key in the activity log."""

    shop: Shop
    scope: KeyScope
    name: str


async def _caller(request: Request, state: StateOf, authorization: Annotated[str | None, Security(_HEADER)]) -> Caller:
    if not authorization:
        raise ApiError("unauthorized")
    scheme, _, rest = authorization.partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" and rest else authorization
    # Not cached, so that every process refuses a revoked key at once.
    async with state.sessions() as session:
        found = await api_keys.find_key(session, key)
    if found is None:
        raise ApiError("unauthorized", "Unknown or revoked API key")
    shop, row = found.shop, found.row
    bind_contextvars(shop=shop.domain)
    if found.expired_at is not None:
        raise ApiError("unauthorized", f"This API key expired at {format_time(found.expired_at)}")
    request.state.allowance = allowance = await state.rate_limits.count(row.id)
    if allowance is not None and not allowance.granted:
        raise ApiError("rate_limited", retry_after=allowance.reset_seconds)
    if found.is_first_use:
        async with state.sessions.begin() as session:
            await api_keys.record_use(session, row.id)
    name = f"API key {row.id}" + (f" ({row.label})" if row.label else "")
    return Caller(shop, scope=KeyScope(row.scope), name=name)


Reader = Annotated[Caller, Depends(_caller)]


async def _writer(caller: Reader) -> Caller:
    if not caller.scope.can_write:
        raise ApiError("read_only_key")
    return caller


Writer = Annotated[Caller, Depends(_writer)]


async def _admin(caller: Reader) -> Caller:
    if caller.scope is not KeyScope.ADMIN:
        raise ApiError("admin_key_required")
    return caller


Admin = Annotated[Caller, Depends(_admin)]
