"""A cache whose keys cannot forget the tenant. In memory for one process, in Redis for several.

A kind has one time to live, declared here. An unreachable Redis is a miss, never an error: a cache may be empty.
"""

import json
import time
from dataclasses import dataclass
from enum import Enum
from functools import cache as once
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from shared.core.config import settings
from shared.core.errors import NoTenant
from shared.core.ids import is_id

MAX_MEMORY_BYTES = 64 * 2**20


class CacheKind(Enum):
    """name = seconds to live."""

    LOGO = 300


@dataclass(frozen=True, slots=True)
class CacheKey:
    """`t:{tenant}:{kind}:{parts}`. Raises NoTenant without a tenant id."""

    tenant_id: str
    kind: CacheKind
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_id("ten", self.tenant_id):
            raise NoTenant("a cache key needs a tenant")

    def __str__(self) -> str:
        # JSON keeps ("a:b", "c") and ("a", "b:c") apart.
        return f"t:{self.tenant_id}:{self.kind.name.lower()}:{json.dumps(self.parts)}"


class Cache(Protocol):
    async def get(self, key: CacheKey) -> bytes | None: ...
    async def set(self, key: CacheKey, value: bytes) -> None: ...
    async def delete(self, key: CacheKey) -> None: ...


class MemoryCache:
    """Bounded by the bytes of its values. The oldest entries go first, which are also the first to expire."""

    def __init__(self, max_bytes: int = MAX_MEMORY_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._entries = dict[str, tuple[float, bytes]]()

    async def get(self, key: CacheKey) -> bytes | None:
        expires_at, value = self._entries.get(str(key), (0.0, b""))
        return value if expires_at > time.monotonic() else None

    async def set(self, key: CacheKey, value: bytes) -> None:
        self._remove(str(key))
        self._entries[str(key)] = (time.monotonic() + key.kind.value, value)
        self._bytes += len(value)
        self._remove_expired()
        while self._bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    async def delete(self, key: CacheKey) -> None:
        self._remove(str(key))

    def _remove_expired(self) -> None:
        now = time.monotonic()
        while self._entries and next(iter(self._entries.values()))[0] <= now:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: str) -> None:
        _, value = self._entries.pop(key, (0.0, b""))
        self._bytes -= len(value)


class RedisCache:
    """Raises nothing while Redis is unreachable: `get` misses, `set` and `delete` do nothing."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def get(self, key: CacheKey) -> bytes | None:
        try:
            value: bytes | None = await self._client.get(str(key))
        except (OSError, RedisError):
            return None
        return value

    async def set(self, key: CacheKey, value: bytes) -> None:
        try:
            await self._client.set(str(key), value, ex=key.kind.value)
        except (OSError, RedisError):
            return

    async def delete(self, key: CacheKey) -> None:
        try:
            await self._client.delete(str(key))
        except (OSError, RedisError):
            return


@once
def get_cache() -> Cache:
    redis_url = settings().redis_url
    if redis_url is None:
        return MemoryCache()
    no_retry = Retry(NoBackoff(), 0)  # the library would try for seconds, and a miss is good enough
    url = redis_url.get_secret_value()
    return RedisCache(Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=no_retry))
