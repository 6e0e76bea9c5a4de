"""Cache keys include the tenant; a cache may miss but never returns a wrong value."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.cache import CacheKey, CacheKind, MemoryCache, RedisCache, get_cache
from shared.core.config import settings
from shared.core.errors import NoTenant

PARTS = st.lists(st.text(max_size=8), max_size=3).map(tuple)


@pytest.mark.parametrize("tenant_id", ["", "acme", "usr_1", "ten_", "ten_a:b", "ten_A", "t:ten_a", "ten_a\n"])
def test_cache_key_without_a_tenant_raises(tenant_id: str) -> None:
    with pytest.raises(NoTenant):
        CacheKey(tenant_id, CacheKind.LOGO)


@pytest.mark.parametrize("kind", CacheKind)
def test_cache_key_begins_with_its_tenant(kind: CacheKind) -> None:
    assert str(CacheKey("ten_acme", kind, ("x",))).startswith("t:ten_acme:")


@given(
    st.tuples(st.sampled_from(["ten_a", "ten_a_b", "ten_b"]), st.sampled_from(CacheKind), PARTS),
    st.tuples(st.sampled_from(["ten_a", "ten_a_b", "ten_b"]), st.sampled_from(CacheKind), PARTS),
)
def test_cache_keys_have_equal_texts_only_when_equal(key_parts: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    assert (str(CacheKey(*key_parts)) == str(CacheKey(*other))) is (key_parts == other)


async def test_cached_value_is_invisible_to_another_tenant() -> None:
    kept = MemoryCache()
    await kept.set(CacheKey("ten_a", CacheKind.LOGO), b"a")
    assert await kept.get(CacheKey("ten_a", CacheKind.LOGO)) == b"a"
    assert await kept.get(CacheKey("ten_b", CacheKind.LOGO)) is None
    await kept.delete(CacheKey("ten_a", CacheKind.LOGO))
    assert await kept.get(CacheKey("ten_a", CacheKind.LOGO)) is None


async def test_cached_value_expires_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, began = MemoryCache(), time.monotonic()
    await kept.set(CacheKey("ten_a", CacheKind.LOGO), b"a")
    monkeypatch.setattr(time, "monotonic", lambda: began + CacheKind.LOGO.value - 1)
    assert await kept.get(CacheKey("ten_a", CacheKind.LOGO)) == b"a"
    monkeypatch.setattr(time, "monotonic", lambda: began + CacheKind.LOGO.value + 1)
    assert await kept.get(CacheKey("ten_a", CacheKind.LOGO)) is None


async def test_full_cache_drops_the_oldest_entries_by_their_bytes() -> None:
    kept = MemoryCache(max_bytes=10)
    for name in ("ten_a", "ten_b", "ten_b", "ten_c"):
        await kept.set(CacheKey(name, CacheKind.LOGO), name.encode())
    values = [await kept.get(CacheKey(name, CacheKind.LOGO)) for name in ("ten_a", "ten_b", "ten_c")]
    assert values == [None, b"ten_b", b"ten_c"]
    await kept.set(CacheKey("ten_d", CacheKind.LOGO), b"x" * 11)  # too large for it
    assert kept._entries == {}
    assert kept._bytes == 0


async def test_expired_values_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, began = MemoryCache(), time.monotonic()
    for number in range(100):
        await kept.set(CacheKey(f"ten_{number}", CacheKind.LOGO), b"x" * 1_000)
    monkeypatch.setattr(time, "monotonic", lambda: began + CacheKind.LOGO.value + 1)
    await kept.set(CacheKey("ten_new", CacheKind.LOGO), b"x")
    assert kept._bytes == 1


async def test_unreachable_store_is_a_miss_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page asks the store: waiting for it would stop them all."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    settings.cache_clear()
    kept = get_cache.__wrapped__()
    assert isinstance(kept, RedisCache)
    began = time.monotonic()
    await kept.set(CacheKey("ten_a", CacheKind.LOGO), b"a")
    assert await kept.get(CacheKey("ten_a", CacheKind.LOGO)) is None
    await kept.delete(CacheKey("ten_a", CacheKind.LOGO))
    assert time.monotonic() - began < 1
    await kept._client.aclose()
    monkeypatch.undo()
    settings.cache_clear()
