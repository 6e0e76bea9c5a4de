"""Bind each tab's client token to a session. Reflex itself gives a tab's state to every client that sends its token.

A token belongs to the first session that connects with it, until that session has ended.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from redis.asyncio import Redis

MAX_TOKENS_PER_SESSION = 100  # in memory; the oldest tab of the same session loses its token
IsLive = Callable[[str], Awaitable[bool]]  # session hash -> whether the session is live


class ClientTokenStore(Protocol):
    async def get_holder(self, token: str) -> str | None: ...
    async def claim_token(self, token: str, session_hash: str) -> bool: ...


class MemoryClientTokenStore:
    """Tokens of one process, in memory."""

    def __init__(self, is_live: IsLive, seconds: float, max_tokens: int = 100_000) -> None:
        self._is_live, self._seconds, self._max_tokens = is_live, seconds, max_tokens
        self._holders: dict[str, tuple[float, str]] = {}
        self._tokens_by_session: dict[str, dict[str, None]] = {}  # oldest first

    async def get_holder(self, token: str) -> str | None:
        until, session_hash = self._holders.get(token, (0.0, ""))
        return session_hash if until > time.monotonic() else None

    async def claim_token(self, token: str, session_hash: str) -> bool:
        current = await self.get_holder(token)
        if current not in (None, session_hash) and await self._is_live(current or ""):
            return False
        if await self.get_holder(token) != current:
            return False  # another request claimed it meanwhile
        self._forget(token)
        if len(self._holders) >= self._max_tokens:
            self._forget(next(iter(self._holders)))
        self._holders[token] = (time.monotonic() + self._seconds, session_hash)
        own_tokens = self._tokens_by_session.setdefault(session_hash, {})
        own_tokens[token] = None
        if len(own_tokens) > MAX_TOKENS_PER_SESSION:
            self._forget(next(iter(own_tokens)))
        return True

    def _forget(self, token: str) -> None:
        _, session_hash = self._holders.pop(token, (0.0, ""))
        own_tokens = self._tokens_by_session.get(session_hash, {})
        own_tokens.pop(token, None)
        if not own_tokens:
            self._tokens_by_session.pop(session_hash, None)


class RedisClientTokenStore:
    """Tokens shared by several processes. Raises when Redis is unreachable, so no socket is opened then."""

    # Replaces only the holder whose session had ended, so that two claimants cannot both succeed.
    _CLAIM_SCRIPT = """
    local now = redis.call('get', KEYS[1])
    if now == false or now == ARGV[1] or now == ARGV[2] then
        redis.call('set', KEYS[1], ARGV[1], 'EX', ARGV[3])
        return 1
    end
    return 0
    """

    def __init__(self, url: str, is_live: IsLive, seconds: float) -> None:
        self._redis = Redis.from_url(url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2)
        self._claim_script = self._redis.register_script(self._CLAIM_SCRIPT)
        self._is_live, self._seconds = is_live, int(seconds)

    async def get_holder(self, token: str) -> str | None:
        session_hash: str | None = await self._redis.get(_redis_key(token))
        return session_hash

    async def claim_token(self, token: str, session_hash: str) -> bool:
        current = await self.get_holder(token)
        if current not in (None, session_hash) and await self._is_live(current or ""):
            return False
        result = await self._claim_script(
            keys=[_redis_key(token)], args=[session_hash, current or "", self._seconds]
        )
        return bool(result)


def _redis_key(token: str) -> str:
    return f"reflex-token:{token}"
