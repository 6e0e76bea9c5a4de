"""Which session holds a tab's client token. Reflex gives a tab's state to whoever brings its token; we do not.

A token belongs to the first session that connects with it, until that session has ended.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from redis.asyncio import Redis

IsLive = Callable[[str], Awaitable[bool]]  # session hash -> is there still such a session


class Owners(Protocol):
    async def holder(self, token: str) -> str | None: ...
    async def claim(self, token: str, session_hash: str) -> bool: ...


class MemoryOwners:
    """For one process."""

    def __init__(self, is_live: IsLive, seconds: float, most: int = 100_000) -> None:
        self._is_live, self._seconds, self._most = is_live, seconds, most
        self._held: dict[str, tuple[float, str]] = {}

    async def holder(self, token: str) -> str | None:
        until, session_hash = self._held.get(token, (0.0, ""))
        return session_hash if until > time.monotonic() else None

    async def claim(self, token: str, session_hash: str) -> bool:
        current = await self.holder(token)
        if current not in (None, session_hash) and await self._is_live(current or ""):
            return False
        if await self.holder(token) != current:
            return False  # somebody else was quicker while we asked
        if len(self._held) >= self._most:
            self._held.pop(next(iter(self._held)))
        self._held.pop(token, None)
        self._held[token] = (time.monotonic() + self._seconds, session_hash)
        return True


class RedisOwners:
    """For several. An unreachable Redis raises: no socket is better than somebody else's."""

    # Takes the token only from the holder that was found dead, so that two claimants cannot both succeed.
    _TAKE = """
    local now = redis.call('get', KEYS[1])
    if now == false or now == ARGV[1] or now == ARGV[2] then
        redis.call('set', KEYS[1], ARGV[1], 'EX', ARGV[3])
        return 1
    end
    return 0
    """

    def __init__(self, url: str, is_live: IsLive, seconds: float) -> None:
        self._redis = Redis.from_url(url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2)
        self._take = self._redis.register_script(self._TAKE)
        self._is_live, self._seconds = is_live, int(seconds)

    async def holder(self, token: str) -> str | None:
        held: str | None = await self._redis.get(_key(token))
        return held

    async def claim(self, token: str, session_hash: str) -> bool:
        current = await self.holder(token)
        if current not in (None, session_hash) and await self._is_live(current or ""):
            return False
        taken = await self._take(keys=[_key(token)], args=[session_hash, current or "", self._seconds])
        return bool(taken)


def _key(token: str) -> str:
    return f"reflex-token:{token}"
