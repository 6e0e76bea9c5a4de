"""A cache key cannot forget the tenant, and a cache may be empty but never wrong."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.cache import Key, Kind, MemoryCache, RedisCache, cache
from shared.core.config import settings
from shared.core.errors import NoTenant

PARTS = st.lists(st.text(max_size=8), max_size=3).map(tuple)


@pytest.mark.parametrize("tenant_id", ["", "acme", "usr_1", "ten_", "ten_a:b", "ten_A", "t:ten_a", "ten_a\n"])
def test_no_key_without_a_tenant(tenant_id: str) -> None:
    with pytest.raises(NoTenant):
        Key(tenant_id, Kind.LOGO)


@pytest.mark.parametrize("kind", Kind)
def test_every_key_begins_with_its_tenant(kind: Kind) -> None:
    assert str(Key("ten_acme", kind, ("x",))).startswith("t:ten_acme:")


@given(
    st.tuples(st.sampled_from(["ten_a", "ten_a_b", "ten_b"]), st.sampled_from(Kind), PARTS),
    st.tuples(st.sampled_from(["ten_a", "ten_a_b", "ten_b"]), st.sampled_from(Kind), PARTS),
)
def test_two_keys_are_one_text_only_when_they_are_one_key(one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    assert (str(Key(*one)) == str(Key(*other))) is (one == other)


async def test_tenants_do_not_share_what_is_kept() -> None:
    kept = MemoryCache()
    await kept.set(Key("ten_a", Kind.LOGO), b"a")
    assert await kept.get(Key("ten_a", Kind.LOGO)) == b"a"
    assert await kept.get(Key("ten_b", Kind.LOGO)) is None
    await kept.delete(Key("ten_a", Kind.LOGO))
    assert await kept.get(Key("ten_a", Kind.LOGO)) is None


async def test_it_is_kept_for_its_time_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, began = MemoryCache(), time.monotonic()
    await kept.set(Key("ten_a", Kind.LOGO), b"a")
    monkeypatch.setattr(time, "monotonic", lambda: began + Kind.LOGO.value - 1)
    assert await kept.get(Key("ten_a", Kind.LOGO)) == b"a"
    monkeypatch.setattr(time, "monotonic", lambda: began + Kind.LOGO.value + 1)
    assert await kept.get(Key("ten_a", Kind.LOGO)) is None


async def test_a_full_one_forgets_the_oldest() -> None:
    kept = MemoryCache(most=2)
    for name in ("ten_a", "ten_b", "ten_b", "ten_c"):
        await kept.set(Key(name, Kind.LOGO), name.encode())
    found = [await kept.get(Key(name, Kind.LOGO)) for name in ("ten_a", "ten_b", "ten_c")]
    assert found == [None, b"ten_b", b"ten_c"]


async def test_an_unreachable_store_is_a_miss_and_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page asks it: waiting for it would stop them all."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    settings.cache_clear()
    kept = cache.__wrapped__()
    assert isinstance(kept, RedisCache)
    began = time.monotonic()
    await kept.set(Key("ten_a", Kind.LOGO), b"a")
    assert await kept.get(Key("ten_a", Kind.LOGO)) is None
    await kept.delete(Key("ten_a", Kind.LOGO))
    assert time.monotonic() - began < 1
    await kept._client.aclose()
    monkeypatch.undo()
    settings.cache_clear()
