"""What metered use may cost in a billing period: alerts once each, and a cap that holds at once and for all meters."""

import asyncio
import random
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from shared.access.refusal_codes import Reason
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.audit.event_types import AuditAction
from shared.billing.pricing.prices import Tier
from shared.billing.spending import budgets, spend_limits
from shared.billing.spending.costs import MeterPrice
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, Refused
from shared.core.ids import new_id
from shared.metering import allowances, counter_repository, reservations, usage
from shared.metering.quotas import LimitReached
from shared.tenancy import entry, notifications
from tests.conftest import Cast, Person
from tests.support import database
from tests.support.billing import metered_subscription
from tests.support.limits import roll_up, set_limit
from tests.support.sizes import size

EVENTS, CALLS = "usage_events", "api_calls"
INCLUDED = {EVENTS: 5_000_000, CALLS: 100_000}  # of the landed price list; then 5 and 10 cents for each 1,000


@pytest.fixture(autouse=True)
def other_process() -> None:
    reservations.forget_all()


@pytest.fixture
async def subscribed(cast: Cast) -> datetime:
    """Acme pays for events and for calls. Returns when its billing period began."""
    starts_at = now() - timedelta(days=2)
    await metered_subscription.subscribe(cast.acme, starts_at)
    for limit in (EVENTS, CALLS):
        await set_limit(cast, limit, None)
    return starts_at


async def save(person: Person, amount: int, *, is_cap: bool = True) -> None:
    async with person.ctx() as ctx:
        await spend_limits.save(ctx, amount, currency="usd", is_cap=is_cap)


async def use(tenant_id: str, meter: str, quantity: int) -> None:
    async with entry.enter_job(tenant_id, "metering.test", "") as ctx:
        await usage.record(ctx, meter, new_id("key"), quantity=quantity)


async def try_use(tenant_id: str, meter: str, quantity: int) -> bool:
    try:
        await use(tenant_id, meter, quantity)
    except LimitReached:
        return False
    return True


async def get_spent(person: Person) -> int:
    async with person.ctx() as ctx:
        view = await spend_limits.get_view(ctx)
    assert view is not None
    return view.spent


async def list_alerts(person: Person) -> list[int]:
    """Percents of the audit log, the oldest first; each was a notification too."""
    async with person.ctx() as ctx:
        criteria = AuditFilter(action=AuditAction.SPEND_LIMIT_ALERTED)
        events = (await audit_log.list_events(ctx, criteria)).rows
        titles = [row.title for row in await notifications.list_my_notifications(ctx)]
    percents = [event.after["percent"] for event in events][::-1]
    assert [f"{percent} % of your spend limit is reached" for percent in percents] == titles[::-1]
    return percents


async def test_cap_refuses_what_would_cost_more(cast: Cast, subscribed: datetime) -> None:
    await save(cast.ann, 100)
    await use(cast.acme, EVENTS, INCLUDED[EVENTS] + 20_000)
    assert await get_spent(cast.ann) == 100
    with pytest.raises(LimitReached) as refusal:
        await use(cast.acme, EVENTS, 1)
    assert refusal.value.reason == Reason.LIMIT_REACHED
    assert (refusal.value.next_step, refusal.value.facts.resets_at) == (
        "Raise or remove the spend limit in Billing.",
        subscribed + timedelta(days=30),
    )
    await use(cast.acme, CALLS, INCLUDED[CALLS])  # costs nothing
    assert not await try_use(cast.acme, CALLS, 1)
    await save(cast.ann, 110)
    assert await try_use(cast.acme, CALLS, 1)
    assert not await try_use(cast.acme, EVENTS, 1)


async def test_members_are_alerted_once_at_each_share(cast: Cast, subscribed: datetime) -> None:
    await save(cast.ann, 1_000, is_cap=False)
    alerts = list[list[int]]()
    for quantity in (
        INCLUDED[EVENTS],
        100_000,
        10_000,
        50_000,
        40_000,
        100_000,
    ):  # 0, 500, 550, 800, 1,000 and 1,500
        await use(cast.acme, EVENTS, quantity)
        for _ in range(2):
            await roll_up(cast.acme)
        alerts.append(await list_alerts(cast.ann))
    assert alerts == [[], [50], [50], [50, 80], [50, 80, 100], [50, 80, 100]]
    assert await get_spent(cast.ann) == 1_500


async def test_stop_by_a_cap_is_alerted_as_reached(cast: Cast, subscribed: datetime) -> None:
    await save(cast.ann, 100)
    await use(cast.acme, EVENTS, INCLUDED[EVENTS] + 19_000)
    assert not await try_use(cast.acme, EVENTS, 2_000)
    await roll_up(cast.acme)
    assert await list_alerts(cast.ann) == [100]


async def test_cap_holds_when_two_meters_are_used_at_once(cast: Cast, subscribed: datetime) -> None:
    for number in range(size("metering.spend_races")):
        amount = 100 * (number + 1)
        await save(cast.ann, amount)
        for meter in (EVENTS, CALLS) if not number else ():
            await use(cast.acme, meter, INCLUDED[meter])
        meters = [EVENTS, CALLS] * 15  # together 225 more than there is
        results = await asyncio.gather(*(try_use(cast.acme, meter, 1_000) for meter in meters))
        await roll_up(cast.acme)
        assert 0 < sum(results) < len(meters)
        assert amount - 5 < await get_spent(cast.ann) <= amount


async def test_use_before_the_limit_was_set_counts(cast: Cast, subscribed: datetime) -> None:
    """Added up already, or not."""
    await use(cast.acme, EVENTS, INCLUDED[EVENTS])
    await roll_up(cast.acme)
    await use(cast.acme, EVENTS, 20_000)
    await save(cast.ann, 100)
    assert not await try_use(cast.acme, EVENTS, 1)
    await roll_up(cast.acme)
    assert await get_spent(cast.ann) == 100


async def test_removed_limit_stops_nothing(cast: Cast, subscribed: datetime) -> None:
    await save(cast.ann, 1)
    assert not await try_use(cast.acme, EVENTS, INCLUDED[EVENTS] + 1_000)
    async with cast.ann.ctx() as ctx:
        await spend_limits.remove(ctx)
    assert await try_use(cast.acme, EVENTS, INCLUDED[EVENTS] + 1_000)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Conflict):
            await spend_limits.remove(ctx)


async def test_limit_is_refused_with_a_wrong_amount_or_without_right_or_prices(
    cast: Cast, subscribed: datetime
) -> None:
    for amount in (0, -1, 10**12):
        with pytest.raises(Invalid):
            await save(cast.ann, amount)
    with pytest.raises(Refused):
        await save(cast.max, 100)
    with pytest.raises(Conflict):
        await save(cast.gil, 100)


async def test_change_holds_in_other_processes_after_seconds(
    cast: Cast, subscribed: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await allowances.find_budget(cast.acme) is None
    with monkeypatch.context() as patch:
        patch.setattr(budgets, "forget", lambda _: None)  # the change is made elsewhere
        await save(cast.ann, 100)
    assert await allowances.find_budget(cast.acme) is None
    monkeypatch.setattr(budgets.time, "monotonic", lambda: 10**9)
    assert await allowances.find_budget(cast.acme) is not None
    budgets.forget(cast.acme)


def test_room_is_the_largest_quantity_that_costs_no_more() -> None:
    generator = random.Random(4471)
    for _ in range(300):
        tops = sorted(generator.sample(range(1, 30), 2))
        price = MeterPrice(
            tiers=[Tier(top, generator.randint(0, 5), generator.choice((0, 0, 3))) for top in (*tops, None)],
            is_volume=generator.random() < 0.5,
            per_unit=10,
        )
        amount = generator.randint(0, 100)
        costs = [price.get_cost(Decimal(units * 10)) for units in range(1, 200)]
        expected = next((units for units, cost in enumerate(costs) if cost > amount), None)
        room = price.get_room(amount)
        assert (room == expected * 10) if expected is not None else room >= 1_990, (price, amount)
        assert price.get_cost(Decimal(1)) == price.get_cost(Decimal(10))


async def test_use_while_there_was_no_limit_counts_when_it_is_set_again(
    cast: Cast, subscribed: datetime
) -> None:
    await save(cast.ann, 1_000)
    await use(cast.acme, EVENTS, INCLUDED[EVENTS])
    await roll_up(cast.acme)
    async with cast.ann.ctx() as ctx:
        await spend_limits.remove(ctx)
    await use(cast.acme, EVENTS, 20_000)
    await roll_up(cast.acme)
    assert await get_spent(cast.ann) == 100, "the page shows what is billed"
    await use(cast.acme, EVENTS, 1_000)  # is added up later
    await save(cast.ann, 110)
    assert await get_spent(cast.ann) == 105
    assert await try_use(cast.acme, EVENTS, 1_000)
    assert not await try_use(cast.acme, EVENTS, 1)
    await roll_up(cast.acme)
    assert await get_spent(cast.ann) == 110


async def test_counters_that_another_process_has_just_made_are_locked_too(
    cast: Cast, subscribed: datetime
) -> None:
    """The transaction that makes the counters of a period locks them; one that waited for it locks them next."""
    await save(cast.ann, 100)
    budget = await allowances.find_budget(cast.acme)
    assert budget is not None
    keys = {key.id: key for key in budget.list_keys()}
    allowance = allowances.Allowance(key=next(iter(keys.values())), is_hard=True, budget=budget)
    is_locked, ends = asyncio.Event(), asyncio.Event()

    async def wait_and_hold() -> None:
        async with counter_repository.open_transaction(cast.acme) as transaction:
            await reservations.find_allowed(transaction, allowance)
            is_locked.set()
            await ends.wait()

    async with counter_repository.open_transaction(cast.acme) as transaction:
        await reservations.find_allowed(transaction, allowance)
        waiting = asyncio.create_task(wait_and_hold())
        await asyncio.sleep(0.05)
    await is_locked.wait()
    free_after_waiting = list_free_counters(cast.acme)
    ends.set()
    await waiting
    async with counter_repository.open_transaction(cast.acme) as transaction:
        await reservations.find_allowed(transaction, allowance)
        free = list_free_counters(cast.acme)
    assert (free_after_waiting, free) == ([], [])
    assert len(list_free_counters(cast.acme)) == len(keys)


def list_free_counters(tenant_id: str) -> list[str]:
    """That nobody has locked."""
    query = "select id from usage_counter where tenant_id = %s for update skip locked"
    return [row[0] for row in database.connect().execute(query, [tenant_id]).fetchall()]


async def test_raised_limit_is_alerted_again(cast: Cast, subscribed: datetime) -> None:
    await save(cast.ann, 100)
    await use(cast.acme, EVENTS, INCLUDED[EVENTS] + 20_000)
    await roll_up(cast.acme)
    await save(cast.ann, 200)
    await use(cast.acme, EVENTS, 1_000)
    await roll_up(cast.acme)
    assert await list_alerts(cast.ann) == [100, 50]
