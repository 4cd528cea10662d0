"""How often an API key may call. Counted for each key, and told with every answer to it."""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Any

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from pydantic import SecretStr
from redis.asyncio import ConnectionPool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What a request may lose to a storage that does not answer, before it goes on uncounted.
PATIENCE_SECONDS = 0.25

log = structlog.stdlib.get_logger("api")


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a key has left of the limit that it is closest to."""

    granted: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Until the window gets room again: until its oldest request falls out of it."""

    @property
    def headers(self) -> dict[str, str]:
        """The three fields of draft-ietf-httpapi-ratelimit-headers-06, the last one that has them."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }


class RateLimits:
    """Counts requests in moving windows: in this process, or in a Redis that several processes share."""

    def __init__(self, limits: str, storage_url: SecretStr | None) -> None:
        self._limits = sorted(parse_many(limits), key=RateLimitItem.get_expiry)
        self._pool = None if storage_url is None else _pool(storage_url)
        self._windows = MovingWindowRateLimiter(MemoryStorage() if self._pool is None else _redis(self._pool))

    async def count(self, key_id: int) -> Allowance | None:
        """Count a request. None when the storage is away: better uncounted than unanswered."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._spend(str(key_id))
        except (StorageError, TimeoutError) as error:
            log.warning("requests are not counted, the storage of the rate limits is away", kind=type(error).__name__)
            return None

    async def close(self) -> None:
        """Give up the connections to Redis."""
        if self._pool is not None:
            await self._pool.aclose()  # pyright: ignore[reportUnknownMemberType]

    async def _spend(self, key: str) -> Allowance:
        allowances: list[Allowance] = []
        for limit in self._limits:
            allowances.append(await self._hit(limit, key))
            if not allowances[-1].granted:
                # The shortest window comes first: who is refused there has not used up the longer ones.
                break
        return min(allowances, key=lambda one: (one.granted, one.remaining, -one.reset_seconds))

    async def _hit(self, limit: RateLimitItem, key: str) -> Allowance:
        granted = await self._windows.hit(limit, key)
        window = await self._windows.get_window_stats(limit, key)
        return Allowance(
            granted=granted,
            limit=limit.amount,
            remaining=max(0, window.remaining),
            reset_seconds=max(1, math.ceil(window.reset_time - time.time())),
        )


def _pool(url: SecretStr) -> ConnectionPool:
    return ConnectionPool.from_url(url.get_secret_value())  # pyright: ignore[reportUnknownMemberType]


def _redis(pool: ConnectionPool) -> Storage:
    # The pool is ours, with its address and password; what is left for the storage to know is the scheme.
    options: dict[str, Any] = {"connection_pool": pool}
    return RedisStorage(
        "async+redis://", wrap_exceptions=True, implementation="redispy", key_prefix="pointsaga", **options
    )


class AllowanceHeaders:
    """Tells the key its allowance with every answer, errors included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; the allowance is known by the time it is answered."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def telling(message: Message) -> None:
            allowance = scope.get("state", {}).get("allowance")
            if allowance is not None and message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(allowance.headers)
            await send(message)

        return await self._app(scope, receive, telling)
