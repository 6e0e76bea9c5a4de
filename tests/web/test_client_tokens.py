"""Client tokens in memory: one session cannot push out the tokens of others."""

from shared.web.client_tokens import MAX_TOKENS_PER_SESSION, MemoryClientTokenStore


async def is_live(_: str) -> bool:
    return True


async def test_session_with_many_tabs_loses_its_own_oldest_token() -> None:
    store = MemoryClientTokenStore(is_live, 60, max_tokens=1_000)
    assert await store.claim_token("honest", "another session")
    for number in range(2_000):
        assert await store.claim_token(f"t{number}", "s")
        await store.claim_token("t0", "s") if number == 50 else None
    assert await store.get_holder("honest") == "another session"
    assert await store.get_holder("t1999") == "s"
    assert await store.get_holder("t1") is None
    assert len(store._holders) == MAX_TOKENS_PER_SESSION + 1


async def test_token_moves_to_the_next_session_and_counts_there() -> None:
    ended = set[str]()

    async def is_live_(session_hash: str) -> bool:
        return session_hash not in ended

    store = MemoryClientTokenStore(is_live_, 60)
    assert await store.claim_token("t", "first")
    assert not await store.claim_token("t", "second")
    ended.add("first")
    assert await store.claim_token("t", "second")
    assert store._tokens_by_session == {"second": {"t": None}}


async def test_full_store_forgets_the_oldest_token() -> None:
    store = MemoryClientTokenStore(is_live, 60, max_tokens=2)
    for number in range(3):
        await store.claim_token(f"t{number}", f"s{number}")
    assert [await store.get_holder(f"t{number}") for number in range(3)] == [None, "s1", "s2"]
    assert store._tokens_by_session.keys() == {"s1", "s2"}
