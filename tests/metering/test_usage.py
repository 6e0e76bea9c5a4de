"""Recording usage: once by tenant, meter and key; each item judged by itself."""

import asyncio
from datetime import timedelta
from typing import Any, LiteralString

import pytest

from shared.core.db import now
from shared.core.errors import Invalid, Refused
from shared.metering import usage, usage_reports
from shared.metering.items import ItemReason
from shared.metering.usage import ItemStatus
from tests.conftest import Cast, Person
from tests.support import database, factories

METER = "usage_events"
WRONG_ITEMS: dict[str, tuple[Any, str, ItemReason]] = {
    "no object": ("text", "", ItemReason.INVALID),
    "unknown meter": ({"meter": "steps"}, "meter", ItemReason.UNKNOWN_METER),
    "meter of the platform": ({"meter": "api_calls"}, "meter", ItemReason.UNKNOWN_METER),
    "meter that is no text": ({"meter": ["usage_events"]}, "meter", ItemReason.UNKNOWN_METER),
    "no key": ({"idempotency_key": None}, "idempotency_key", ItemReason.INVALID),
    "key of ten kilobytes": ({"idempotency_key": "k" * 10_000}, "idempotency_key", ItemReason.INVALID),
    "key with a null character": ({"idempotency_key": "a\0b"}, "idempotency_key", ItemReason.INVALID),
    "no quantity": ({"quantity": None}, "quantity", ItemReason.INVALID),
    "not a number": ({"quantity": float("nan")}, "quantity", ItemReason.INVALID),
    "infinite": ({"quantity": float("inf")}, "quantity", ItemReason.INVALID),
    "too large as a text": ({"quantity": "1e400"}, "quantity", ItemReason.INVALID),
    "too small": ({"quantity": "1e-400"}, "quantity", ItemReason.INVALID),
    "grouped": ({"quantity": "1_000"}, "quantity", ItemReason.INVALID),
    "with spaces": ({"quantity": " 5 "}, "quantity", ItemReason.INVALID),
    "digits of another script": ({"quantity": "٣"}, "quantity", ItemReason.INVALID),
    "negative": ({"quantity": -1}, "quantity", ItemReason.INVALID),
    "true": ({"quantity": True}, "quantity", ItemReason.INVALID),
    "too many decimals": ({"quantity": "0.0000001"}, "quantity", ItemReason.INVALID),
    "year 1970": ({"occurred_at": "1970-01-01T00:00:00Z"}, "occurred_at", ItemReason.TOO_OLD),
    "first year": ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at", ItemReason.TOO_OLD),
    "year 2100": ({"occurred_at": "2100-01-01T00:00:00Z"}, "occurred_at", ItemReason.IN_THE_FUTURE),
    "no zone": ({"occurred_at": "2026-01-01T00:00:00"}, "occurred_at", ItemReason.INVALID),
    "no time": ({"occurred_at": 5}, "occurred_at", ItemReason.INVALID),
    "subject": ({"subject": "usr_1"}, "subject", ItemReason.INVALID),
    "unknown dimension": ({"dimensions": {"colour": "red"}}, "dimensions", ItemReason.INVALID),
    "too many dimensions": (
        {"dimensions": {f"d{number}": "x" for number in range(10_000)}},
        "dimensions",
        ItemReason.INVALID,
    ),
    "nested dimension": ({"dimensions": {"region": {"a": 1}}}, "dimensions", ItemReason.INVALID),
    "unknown field": ({"tenant_id": "ten_globex"}, "tenant_id", ItemReason.INVALID),
}


def build_item(key: str = "k1", **fields: Any) -> dict[str, Any]:
    return {"meter": METER, "idempotency_key": key, "quantity": 1} | fields


async def send(person: Person, *items: Any) -> list[ItemStatus]:
    async with person.ctx() as ctx:
        return [result.status for result in await usage.ingest(ctx, items)]


async def list_quantities(person: Person, meter: str = METER) -> list[int]:
    """Of the events of the last days."""
    since, until = now() - timedelta(days=40), now() + timedelta(hours=1)
    async with person.ctx() as ctx:
        page = await usage_reports.list_events(ctx, meter, since, until=until, limit=100)
    return [int(event.quantity) for event in page.rows]


async def count_events(person: Person, meter: str = METER) -> int:
    return len(await list_quantities(person, meter))


async def test_event_is_counted_once_whatever_time_a_retry_names(cast: Cast) -> None:
    assert await send(cast.ann, build_item()) == [ItemStatus.ACCEPTED]
    shifted = (now() - timedelta(days=29)).isoformat()
    retry = build_item(occurred_at=shifted, quantity=7)
    assert await send(cast.ann, build_item(), retry) == [ItemStatus.REPEATED, ItemStatus.REPEATED]
    assert await count_events(cast.ann) == 1


async def test_same_key_counts_for_another_tenant_and_for_another_meter(cast: Cast) -> None:
    for person in (cast.ann, cast.gil):
        assert await send(person, build_item()) == [ItemStatus.ACCEPTED]
    other = {"meter": "active_users", "idempotency_key": "k1", "subject": "u1"}
    assert await send(cast.ann, other) == [ItemStatus.ACCEPTED]
    assert [await count_events(person) for person in (cast.ann, cast.gil)] == [1, 1]


async def test_event_is_not_counted_when_its_transaction_fails(cast: Cast) -> None:
    async def count_and_fail() -> None:
        async with cast.ann.ctx() as ctx:
            await usage.record(ctx, "api_calls", "call-1")
            await usage.ingest(ctx, [])

    with pytest.raises(Invalid):
        await count_and_fail()
    async with cast.ann.ctx() as ctx:
        assert await usage.record(ctx, "api_calls", "call-1")
        assert not await usage.record(ctx, "api_calls", "call-1")


async def test_batches_with_the_same_keys_at_once_count_each_event_once(cast: Cast) -> None:
    """In opposite orders, while a third one holds the key in the middle: they must not wait for each other."""
    items = [build_item(f"k{number}") for number in range(5)]
    async with cast.ann.ctx() as ctx:
        await usage.ingest(ctx, [items[2]])
        sending = [asyncio.create_task(send(cast.ann, *items[::step])) for step in (1, -1)]
        await wait_for_waiting_statements(len(sending))
    results = await asyncio.gather(*sending)
    assert sum(statuses.count(ItemStatus.ACCEPTED) for statuses in results) == 4
    assert await count_events(cast.ann) == 5


async def wait_for_waiting_statements(count: int) -> None:
    query: LiteralString = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    for _ in range(200):
        row = database.connect().execute(query).fetchone()
        if row is not None and row[0] == count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("they don't wait")


@pytest.mark.parametrize("name", WRONG_ITEMS)
async def test_wrong_item_is_refused_alone(cast: Cast, name: str) -> None:
    change, field, reason = WRONG_ITEMS[name]
    wrong = build_item("wrong") | change if isinstance(change, dict) else change
    async with cast.ann.ctx() as ctx:
        results = await usage.ingest(ctx, [build_item("a"), wrong, build_item("b")])
    assert [result.status for result in results] == [
        ItemStatus.ACCEPTED,
        ItemStatus.REJECTED,
        ItemStatus.ACCEPTED,
    ]
    assert (results[1].field, results[1].reason, bool(results[1].detail)) == (field, reason, True)
    assert await count_events(cast.ann) == 2


async def test_largest_batch_takes_as_many_statements_as_a_small_one(cast: Cast) -> None:
    items = [build_item(f"k{number}") for number in range(usage.MAX_BATCH_SIZE)]
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await usage.ingest(ctx, [*items, build_item("one more")])
        results = await usage.ingest(ctx, items)
    assert {result.status for result in results} == {ItemStatus.ACCEPTED}


async def test_ingest_is_refused_for_a_viewer(cast: Cast) -> None:
    await factories.join_tenant(cast.ann.account, cast.ann.slug, cast.carl.account, "viewer")
    with pytest.raises(Refused) as refusal:
        await send(cast.carl, build_item())
    assert refusal.value.reason == "missing_permission"


async def test_event_is_found_by_its_key(cast: Cast) -> None:
    await send(cast.ann, build_item("order 7", quantity="2.50", dimensions={"region": "eu"}))
    async with cast.ann.ctx() as ctx:
        event = await usage_reports.find_event(ctx, METER, "order 7")
    assert (event.key, str(event.quantity.normalize()), event.dimensions) == (
        "order 7",
        "2.5",
        {"region": "eu"},
    )
    assert event.recorded_by == cast.ann.account.user.id
