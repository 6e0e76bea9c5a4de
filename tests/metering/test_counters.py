"""Counters of limits: they follow the events, keep nothing that has lapsed, and hold up no other organisation."""

import asyncio

import pytest

from shared.core import db
from shared.metering import corrections, counter_repository, reservations, usage
from shared.metering.models import CorrectionState
from shared.metering.quotas import LimitReached
from shared.metering.usage import ItemStatus
from tests.conftest import Cast, Person
from tests.metering.test_quotas import METER, get_used, lapse_reservations, send_many
from tests.support import database
from tests.support.limits import roll_up, set_limit

ACCEPTED, REJECTED = ItemStatus.ACCEPTED, ItemStatus.REJECTED


@pytest.fixture(autouse=True)
def other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    reservations.forget_all()
    monkeypatch.setattr(reservations, "KNOWN_SECONDS", 0.0, raising=False)


def count_reservations(tenant_id: str) -> int:
    query = "select count(*) from usage_reservation where tenant_id = %s"
    row = database.connect().execute(query, [tenant_id]).fetchone()
    assert row is not None
    return int(row[0])


async def close_correction(person: Person, *items: dict[str, object]) -> str:
    async with person.ctx() as ctx:
        correction_id = (await corrections.open_correction(ctx, "Sent twice")).correction.id
        await corrections.add_items(ctx, correction_id, items)
    async with person.ctx() as ctx:
        assert (await corrections.close(ctx, correction_id)).correction.state is CorrectionState.CLOSED
    return correction_id


def build_void(key: str) -> dict[str, object]:
    return {"kind": "void", "meter": METER, "idempotency_key": key}


def build_add(key: str, quantity: int) -> dict[str, object]:
    return {"kind": "add", "meter": METER, "idempotency_key": key, "quantity": quantity}


async def test_lapsed_reservations_are_deleted_while_use_is_added_up(cast: Cast) -> None:
    """Each event of an organisation that is never busy reserves by itself."""
    await set_limit(cast, METER, 1_000)
    for number in range(3):
        await send_many(cast.ann, 1, f"slow{number}")
    lapse_reservations(cast.acme)
    await send_many(cast.ann, 1, "last")
    await roll_up(cast.acme)
    assert count_reservations(cast.acme) == 1
    assert await get_used(cast.ann) == 4


async def test_what_a_failed_transaction_has_reserved_is_free_after_adding_up(cast: Cast) -> None:
    await set_limit(cast, METER, 10)

    async def record_and_fail() -> None:
        async with cast.ann.ctx() as ctx:
            await usage.record(ctx, METER, "a", quantity=6)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await record_and_fail()
    lapse_reservations(cast.acme)
    await send_many(cast.ann, 1)
    await roll_up(cast.acme)
    row = database.connect().execute(
        "select used, reserved from usage_counter where tenant_id = %s", [cast.acme]
    )
    assert row.fetchone() == (1, 0)


async def test_events_are_admitted_while_a_job_adds_up_their_organisation(cast: Cast) -> None:
    """It may take seconds, and waits here for a window that another session holds."""
    await set_limit(cast, METER, 10)
    await send_many(cast.ann, 1)
    await roll_up(cast.acme)
    await send_many(cast.ann, 1, "more")
    with database.connect().transaction() as held:
        held.connection.execute("select from usage_window where tenant_id = %s for update", [cast.acme])
        adding = asyncio.create_task(roll_up(cast.acme))
        await asyncio.sleep(0.1)
        assert not adding.done()
        assert await asyncio.wait_for(send_many(cast.ann, 1, "meanwhile"), 3) == [ACCEPTED]
    await adding
    assert await get_used(cast.ann) == 3


async def test_locked_counter_leaves_connections_to_other_organisations(cast: Cast) -> None:
    await set_limit(cast, METER, 10)
    await send_many(cast.ann, 1)
    waiting = list[asyncio.Task[None]]()

    async def read() -> None:
        async with counter_repository.open_transaction(cast.acme) as transaction:
            await transaction.lock([row_id])

    with database.connect().transaction() as held:
        row = held.connection.execute(
            "select id from usage_counter where tenant_id = %s for update", [cast.acme]
        ).fetchone()
        assert row is not None
        row_id = str(row[0])
        waiting += [asyncio.create_task(read()) for _ in range(db.MAX_STATEMENT_CONNECTIONS)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(2), db.statement_connection() as connection:
            await connection.execute("select 1")
    await asyncio.gather(*waiting)


async def test_counter_begins_without_voided_events(cast: Cast) -> None:
    """Their hour has a mark, so it is read from its events."""
    assert await send_many(cast.ann, 3) == [ACCEPTED] * 3
    await roll_up(cast.acme)
    await close_correction(cast.ann, build_void("e0"), build_void("e1"))
    await send_many(cast.ann, 1, "more")
    tables = database.connect()
    for table in ("usage_draw", "usage_reservation", "usage_counter"):
        tables.execute(f"delete from {table} where tenant_id = %s", [cast.acme])
    assert await get_used(cast.ann) == 2


async def test_voided_events_are_free_again_under_a_hard_limit(cast: Cast) -> None:
    await set_limit(cast, METER, 3)
    assert await send_many(cast.ann, 4) == [ACCEPTED] * 3 + [REJECTED]
    correction_id = await close_correction(cast.ann, build_void("e0"), build_void("e1"))
    assert await get_used(cast.ann) == 1
    assert await send_many(cast.ann, 3, "more") == [ACCEPTED] * 2 + [REJECTED]
    with pytest.raises(LimitReached):  # what it has freed is used
        async with cast.ann.ctx() as ctx:
            await corrections.revert(ctx, correction_id)
    assert await get_used(cast.ann) == 3


async def test_correction_of_a_program_adds_no_more_than_a_hard_limit_allows(cast: Cast) -> None:
    await set_limit(cast, METER, 5)
    assert await send_many(cast.ann, 1, quantity=2) == [ACCEPTED]
    with pytest.raises(LimitReached) as refusal:
        await close_correction(cast.ann, build_add("large", 4))
    assert (refusal.value.facts.allowed, refusal.value.facts.used) == (5, 2)
    await close_correction(cast.ann, build_add("small", 3))
    assert await get_used(cast.ann) == 5
    assert await send_many(cast.ann, 1, "more") == [REJECTED]


async def test_known_use_is_asked_for_again_after_a_while(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has closed a correction."""
    monkeypatch.setattr(reservations, "KNOWN_SECONDS", 60.0)
    await set_limit(cast, METER, 2)
    assert await send_many(cast.ann, 2) == [ACCEPTED] * 2
    assert await send_many(cast.ann, 1, "more") == [REJECTED]
    await close_correction(cast.ann, build_void("e0"))
    assert await send_many(cast.ann, 1, "more") == [REJECTED]
    monkeypatch.setattr(reservations, "KNOWN_SECONDS", 0.0, raising=False)
    assert await send_many(cast.ann, 1, "more") == [ACCEPTED]
