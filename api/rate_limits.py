"""Rate limits per API key."""

import asyncio
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from pydantic import SecretStr

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

# Time that a request waits for Redis before it proceeds without being counted.
TIMEOUT_SECONDS = 0.25

log = structlog.stdlib.get_logger("api")


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a key has left of its most restrictive limit."""

    granted: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Seconds until the oldest request leaves the moving window."""

    @property
    def headers(self) -> dict[str, str]:
        """Source: draft-ietf-httpapi-ratelimit-headers-06, the last draft with these three fields."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }


class RateLimits:
    """Counts requests in moving windows, in this process or in a Redis shared by several processes."""

    def __init__(self, limits: str, storage_url: SecretStr | None) -> None:
        self._limits = sorted(parse_many(limits), key=RateLimitItem.get_expiry)
        self._pool = None if storage_url is None else _pool(storage_url)
        self._windows = MovingWindowRateLimiter(MemoryStorage() if self._pool is None else _redis(self._pool))

    async def count(self, key_id: int) -> Allowance | None:
        """Count a request. None: the storage is unavailable, and the request is not limited."""
        try:
            # Memory needs no patience: a busy process would use it up, and stop limiting when it must.
            async with asyncio.timeout(None if self._pool is None else TIMEOUT_SECONDS):
                return await self._count(str(key_id))
        except (StorageError, TimeoutError) as error:
            log.warning("requests are not counted: rate-limit storage unavailable", kind=type(error).__name__)
            return None

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._pool is not None:
            await self._pool.aclose()  # pyright: ignore[reportUnknownMemberType]

    async def _count(self, key: str) -> Allowance:
        allowances: list[Allowance] = []
        for limit in self._limits:
            allowances.append(await self._hit(limit, key))
            if not allowances[-1].granted:
                # The shortest window is first, so that refused requests do not count in the longer ones.
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


def _pool(url: SecretStr) -> "ConnectionPool":
    # Not loaded without Redis: that takes a tenth of a second.
    from redis.asyncio import ConnectionPool

    return ConnectionPool.from_url(url.get_secret_value())  # pyright: ignore[reportUnknownMemberType]


def _redis(pool: "ConnectionPool") -> Storage:
    # The pool has the address and password; the storage reads only the scheme from the URL.
    options: dict[str, Any] = {"connection_pool": pool}
    return RedisStorage(
        "async+redis://", wrap_exceptions=True, implementation="redispy", key_prefix="pointsaga", **options
    )
