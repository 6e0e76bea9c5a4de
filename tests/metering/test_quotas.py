"""Monthly limits: hard ones are never exceeded, soft ones warn, and what is reserved is used or given back."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from shared.core.db import now
from shared.core.errors import Refused
from shared.metering import allowances, counter_repository, quotas, reservations, usage
from shared.metering.allowances import Allowance
from shared.metering.counter_repository import CounterState
from shared.metering.items import ItemReason
from shared.metering.months import get_month
from shared.metering.quotas import LimitReached
from shared.metering.usage import ItemResult, ItemStatus
from tests.conftest import Cast, Person
from tests.metering.test_usage import METER, build_item, list_quantities
from tests.support import database
from tests.support.limits import roll_up, set_limit

ACCEPTED, REPEATED, REJECTED = ItemStatus.ACCEPTED, ItemStatus.REPEATED, ItemStatus.REJECTED


@pytest.fixture(autouse=True)
def other_process() -> None:
    reservations.forget_all()


async def send(person: Person, *items: Any) -> list[ItemResult]:
    async with person.ctx() as ctx:
        return await usage.ingest(ctx, items)


async def send_many(person: Person, count: int, name: str = "e", quantity: int = 1) -> list[ItemStatus]:
    items = [build_item(f"{name}{number}", quantity=quantity) for number in range(count)]
    return [result.status for result in await send(person, *items)]


async def get_used(person: Person, meter: str = METER) -> Decimal:
    async with person.ctx() as ctx:
        (quota,) = await quotas.list_quotas(ctx, [meter])
    return quota.used


def lapse_reservations(tenant_id: str) -> None:
    """As after 30 seconds."""
    database.connect().execute(
        "update usage_reservation set expires_at = now() - interval '1 second' where tenant_id = %s",
        [tenant_id],
    )


async def test_batch_above_a_hard_limit_is_accepted_as_far_as_it_fits(cast: Cast) -> None:
    await set_limit(cast, METER, 10)
    sizes = (6, 5, 4, 1)
    results = await send(
        cast.ann, *(build_item(f"e{number}", quantity=size) for number, size in enumerate(sizes))
    )
    assert [result.status for result in results] == [ACCEPTED, REJECTED, ACCEPTED, REJECTED]
    refused = results[3]
    assert (refused.reason, refused.limit and refused.limit.allowed) == (ItemReason.LIMIT_REACHED, 10)
    assert "larger plan" in refused.detail
    await roll_up(cast.acme)
    (again,) = await send(cast.ann, build_item("more"))
    assert again.limit is not None
    assert (again.limit.used, again.limit.resets_at) == (10, allowances.build_month_key(METER, now()).ends_at)
    assert again.detail.startswith("10 of 10 events of this month are used. Wait until 1 ")
    assert sorted(await list_quantities(cast.ann)) == [4, 6]


async def test_record_is_refused_at_a_hard_limit_with_its_facts(cast: Cast) -> None:
    await set_limit(cast, METER, 2)
    async with cast.ann.ctx() as ctx:
        assert await usage.record(ctx, METER, "a", quantity=2)
    async with cast.ann.ctx() as ctx:
        assert not await usage.record(ctx, METER, "a", quantity=2)  # counted before
        with pytest.raises(LimitReached) as refusal:
            await usage.record(ctx, METER, "b")
    problem = refusal.value.problem_details("req_1")
    assert (problem["status"], problem["reason"]) == (402, "limit_reached")
    assert (problem["used"], problem["allowed"]) == ("2", "2")
    assert str(problem["next_step"]).startswith("Wait until 1 ")


async def test_repeated_events_are_no_use_at_the_limit(cast: Cast) -> None:
    await set_limit(cast, METER, 3)
    assert await send_many(cast.ann, 3) == [ACCEPTED] * 3
    assert await send_many(cast.ann, 4) == [REPEATED] * 3 + [REJECTED]
    assert await get_used(cast.ann) == 3


async def test_limit_of_one_organisation_stops_no_other(cast: Cast) -> None:
    await set_limit(cast, METER, 1)
    assert await send_many(cast.ann, 2) == [ACCEPTED, REJECTED]
    assert await send_many(cast.gil, 2) == [ACCEPTED] * 2


async def test_late_event_counts_in_its_own_month(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        months = [
            allowances.list_allowances(ctx.rights, METER, at, None)[0].key
            for at in (datetime(2026, 7, 31, 23, 59, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC))
        ]
    assert [month.id for month in months] == [f"{METER}:2026-07", f"{METER}:2026-08"]
    assert months[0].ends_at == months[1].starts_at
    in_berlin = datetime(2026, 8, 1, 1, 30, tzinfo=timezone(timedelta(hours=2)))  # July in UTC
    assert allowances.build_month_key(METER, in_berlin) == months[0]


async def test_reservation_of_a_failed_transaction_lapses(cast: Cast) -> None:
    await set_limit(cast, METER, 1)

    async def record_and_fail() -> None:
        async with cast.ann.ctx() as ctx:
            await usage.record(ctx, METER, "a")
            raise Refused("No.", "Stop.")

    with pytest.raises(Refused):
        await record_and_fail()
    assert await send_many(cast.ann, 1) == [REJECTED]
    lapse_reservations(cast.acme)
    assert await send_many(cast.ann, 1) == [ACCEPTED]
    lapse_reservations(cast.acme)  # what was drawn stays used
    assert await send_many(cast.ann, 1, "more") == [REJECTED]


async def test_reservation_that_is_being_drawn_does_not_lapse(cast: Cast) -> None:
    await set_limit(cast, METER, 1)
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, METER, "a")
        lapse_reservations(cast.acme)
        assert await send_many(cast.adam, 1) == [REJECTED]
    assert await send_many(cast.adam, 1) == [REJECTED]
    assert await get_used(cast.ann) == 1


async def test_raised_limit_lets_events_go_on_at_once(cast: Cast) -> None:
    await set_limit(cast, METER, 1)
    assert await send_many(cast.ann, 2) == [ACCEPTED, REJECTED]
    await set_limit(cast, METER, 5)
    assert await send_many(cast.ann, 2) == [REPEATED, ACCEPTED]


async def test_counter_begins_with_what_was_recorded_without_one(cast: Cast) -> None:
    """While the limit was unlimited, and before there were counters."""
    assert await send_many(cast.ann, 4) == [ACCEPTED] * 4
    await roll_up(cast.acme)
    database.connect().execute("delete from usage_counter where tenant_id = %s", [cast.acme])
    await set_limit(cast, METER, 5)
    assert await send_many(cast.ann, 2, "more") == [ACCEPTED, REJECTED]
    await roll_up(cast.acme)
    assert await get_used(cast.ann) == 5


async def test_use_of_a_soft_limit_counts_before_it_is_added(cast: Cast) -> None:
    """The limit becomes hard while draws of the soft one wait."""
    await set_limit(cast, METER, 3, hard=False)
    assert await send_many(cast.ann, 2) == [ACCEPTED] * 2
    await set_limit(cast, METER, 3)
    assert await send_many(cast.ann, 2, "more") == [ACCEPTED, REJECTED]
    await roll_up(cast.acme)
    assert await get_used(cast.ann) == 3


async def test_change_of_a_counter_does_not_invalidate_rights(cast: Cast) -> None:
    await set_limit(cast, METER, 100)
    async with cast.ann.ctx() as ctx:
        rights = ctx.rights
    await send_many(cast.ann, 90)
    await roll_up(cast.acme)
    async with cast.ann.ctx() as ctx:
        assert ctx.rights is rights


async def test_hot_counter_is_leased_and_never_exceeds_its_limit(cast: Cast) -> None:
    allowance = build_allowance(2_000)
    await reservations.reserve(cast.acme, allowance, Decimal(1_700))
    reserved_units, is_full = 1_700, False
    while not is_full:
        results = await asyncio.gather(*(try_reserve(cast.acme, allowance) for _ in range(50)))
        reserved_units += sum(results)
        is_full = not all(results)
    assert 2_000 - 15 <= reserved_units <= 2_000  # under it by one block at most


async def test_lease_of_a_killed_process_lapses(cast: Cast) -> None:
    await set_limit(cast, METER, 10_000)
    allowance = build_allowance(10_000)
    for _ in range(20):
        await reserve(cast.acme, allowance)
    reserved = database.connect().execute(
        "select sum(quantity) from usage_reservation where tenant_id = %s", [cast.acme]
    )
    row = reserved.fetchone()
    assert row is not None
    assert row[0] > 100
    reservations.forget_all()  # the process is gone
    lapse_reservations(cast.acme)
    assert await send_many(cast.ann, 1, quantity=10_000) == [ACCEPTED]


def build_allowance(amount: int) -> Allowance:
    return Allowance(key=allowances.build_month_key(METER, now()), amount=Decimal(amount), is_hard=True)


async def reserve(tenant_id: str, allowance: Allowance) -> reservations.Hold:
    hold = await reservations.reserve_leased(tenant_id, allowance, Decimal(1))
    return hold or await reservations.reserve(tenant_id, allowance, Decimal(1))


async def try_reserve(tenant_id: str, allowance: Allowance) -> bool:
    try:
        await reserve(tenant_id, allowance)
    except reservations.Exceeded:
        return False
    return True


@pytest.mark.parametrize(
    ("used", "reserved", "allowed", "size"),
    [
        (0, 0, 1_000_000, 25_000),
        (0, 25_000, 1_000_000, 11_875),  # another process has half of the block
        (0, 0, 10_000, 250),
        (9_400, 0, 10_000, 15),  # shrinks with what remains
        (9_500, 0, 10_000, 0),  # the last 5 %
        (0, 0, 100, 0),  # the last 100
        (0, 0, 2_000, 50),
        (10, 0, 5, 0),
    ],
)
def test_block_shrinks_with_what_remains(used: int, reserved: int, allowed: int, size: int) -> None:
    state = CounterState(
        meter=METER, used=Decimal(used), reserved=Decimal(reserved), claimed=Decimal(used + reserved)
    )
    assert reservations.compute_block(state, Decimal(allowed)).size == size


async def test_soft_limit_reserves_nothing(cast: Cast) -> None:
    """So that its events don't wait for each other."""
    query = "select count(*) from usage_reservation where tenant_id = %s"
    for is_hard, count in ((False, 0), (True, 1)):
        await set_limit(cast, METER, 5, hard=is_hard)
        await send_many(cast.ann, 1, f"hard is {is_hard}")
        assert database.connect().execute(query, [cast.acme]).fetchone() == (count,)


async def test_refusal_of_a_late_event_names_its_month_and_no_time_that_is_over(cast: Cast) -> None:
    await set_limit(cast, METER, 1)
    late_at = get_month(now()) - timedelta(hours=1)
    items = [build_item(key, occurred_at=late_at.isoformat()) for key in ("a", "b")]
    assert [result.status for result in await send(cast.ann, *items[:1])] == [ACCEPTED]
    (refused,) = await send(cast.ann, items[1])
    assert (
        f"of {late_at:%B} are used. Ask" in refused.detail
        or f"of {late_at:%B} are used. Choose" in refused.detail
    )
    assert "Wait" not in refused.detail
    (refused_now, _) = await send(cast.ann, build_item("c", quantity=2), build_item("d"))
    assert "of this month are used. Wait until" in refused_now.detail


async def test_use_at_once_leaves_what_others_have_reserved(cast: Cast) -> None:
    allowance = build_allowance(2)
    await reservations.reserve(cast.acme, allowance, Decimal(1))
    await reservations.reserve(cast.acme, allowance, Decimal(1), is_used=True)
    with pytest.raises(reservations.Exceeded):
        await reservations.reserve(cast.acme, allowance, Decimal(1), is_used=True)


def test_lease_is_used_for_less_time_than_it_is_reserved() -> None:
    assert reservations.LEASE_USE_SECONDS + 5 < counter_repository.RESERVATION_SECONDS


async def test_spent_lease_is_ended_when_nothing_of_it_is_on_its_way(cast: Cast) -> None:
    allowance = build_allowance(10_000)
    holds = list[reservations.Hold]()
    while not any(hold.lease for hold in holds):
        holds.append(await reserve(cast.acme, allowance))
    for is_open in (True, False):
        counter = reservations._counters[cast.acme, allowance.key.id]
        if counter.lease is not None:
            counter.spent.append(counter.lease)
            counter.lease = None
        assert bool(counter.pop_spent()) is not is_open
        for hold in holds:
            hold.close()
