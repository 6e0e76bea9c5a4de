"""The inbox under worse conditions: floods, dead workers, poison, a customer whose tenant comes to be known."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from shared.billing import customers, inbox, inbox_repository, providers
from shared.billing.inbox_repository import Claimed
from shared.billing.models import PLATFORM, BillingEvent
from shared.billing.provider import CustomerState, KeyRefused, ProviderDown
from shared.core import db
from shared.core.ids import new_id
from tests.billing import events, seller
from tests.billing.test_apply import subscribed
from tests.conftest import Cast


@pytest.fixture
async def stripe(schema: str) -> seller.Seller:
    """The inbox of a test is its own."""
    one = seller.Seller()
    providers.use(PLATFORM, one)
    async with db.transaction("owner") as session:
        await (await session.connection()).execute(text("truncate billing_inbox"))
    await seller.price(seller.PRO_FLAT, "pro")
    return one


@pytest.fixture
def other_account() -> Iterator[str]:
    account = new_id("pac")
    yield account
    providers._known.pop(account, None)


async def bought(cast: Cast, stripe: seller.Seller) -> str:
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(customer, subscriptions=(subscribed(),))
    return customer


async def claim(most: int = 8, lease: float = 60) -> list[Claimed]:
    async with db.transaction() as session:
        return await inbox_repository.claim(session, new_id("clm"), most, timedelta(seconds=lease))


async def rows(customer: str) -> list[tuple[str, int, str]]:
    async with db.transaction() as session:
        found = await (await session.connection()).execute(
            text("select status, attempts, error from billing_inbox where customer_id = :customer"),
            {"customer": customer},
        )
        return [(row[0], row[1], row[2]) for row in found.all()]


async def told(cast: Cast) -> list[str]:
    """Every webhook that some line of the tenant's history names, as often as it does."""
    async with db.transaction(tenant_id=cast.acme) as session:
        return sorted(
            one for row in (await session.exec(select(BillingEvent))).all() for one in row.event_ids
        )


# ── taking turns ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_flood_of_one_account_does_not_hold_up_another(
    stripe: seller.Seller, other_account: str
) -> None:
    await seller.account(other_account)
    for number in range(20):
        await events.store(f"cus_flood{number}", 2)
    await events.store("cus_quiet", account=other_account)
    assert "cus_quiet" in {one.customer_id for one in await claim(most=2)}


async def test_an_account_that_keeps_us_waiting_has_had_its_turns(
    stripe: seller.Seller, other_account: str
) -> None:
    await seller.account(other_account)
    for number in range(8):
        await events.store(f"cus_slow{number}", account=other_account)
    assert len(await claim(most=4)) == 4, "four of its looks hang"
    for number in range(4):
        await events.store(f"cus_quick{number}")
    assert {one.account_id for one in await claim(most=4)} == {PLATFORM}


async def test_a_customer_is_not_looked_at_twice_at_once_by_a_worker(
    cast: Cast, stripe: seller.Seller
) -> None:
    """Or a noisy one takes every place there is, for looks that the next one makes useless."""
    customer = await bought(cast, stripe)
    stripe.gate = asyncio.Event()
    working = asyncio.create_task(inbox.run(at_once=3))
    try:
        for _ in range(6):
            await events.store(customer)
            await asyncio.wait_for(stripe.looked.wait(), 10)
            await asyncio.sleep(0.05)
        assert stripe.looks == 1
        stripe.gate.set()
        await events.settled(customer)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert stripe.looks == 2
    assert len(await told(cast)) == 6


async def test_fifty_workers_take_a_webhook_once(cast: Cast, stripe: seller.Seller) -> None:
    customer = await bought(cast, stripe)
    ids = await events.store(customer, 5)
    taken = [one for found in await asyncio.gather(*(claim() for _ in range(15))) for one in found]
    assert sorted(one for work in taken for one in work.event_ids) == sorted(ids)


# ── workers that die ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_a_dead_worker_held_is_taken_up(cast: Cast, stripe: seller.Seller) -> None:
    customer = await bought(cast, stripe)
    await events.store(customer)
    await claim(lease=0)
    await inbox.work_off()
    assert [row[0] for row in await rows(customer)] == ["done"]


async def test_who_took_too_long_tells_nothing_that_another_one_tells(
    cast: Cast, stripe: seller.Seller
) -> None:
    customer = await bought(cast, stripe)
    ids = await events.store(customer, 2)
    (late,) = await claim(lease=0)
    (prompt,) = await claim()
    await asyncio.gather(inbox.settle(late), inbox.settle(prompt))
    assert await told(cast) == sorted(ids)


async def test_what_kills_its_workers_is_put_aside(cast: Cast, stripe: seller.Seller) -> None:
    """Nobody lives to count those tries but the next one who takes it."""
    customer = await bought(cast, stripe)
    await events.store(customer)
    for _ in range(inbox.DEATHS):
        await claim(lease=0)
    await inbox.work_off()
    ((status, _, error),) = await rows(customer)
    assert (status, stripe.looks) == ("dead", 0)
    assert "workers died" in error


# ── poison ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_poison_is_dead_after_its_tries_and_done_once_when_replayed(
    cast: Cast, stripe: seller.Seller
) -> None:
    customer = await bought(cast, stripe)
    (event_id,) = await events.store(customer)
    stripe.fail = ValueError("what nobody foresaw")
    for number in range(inbox.TRIES):
        assert [row[:2] for row in await rows(customer)] == [("pending", number)]
        await inbox.work_off()
        await events.due(customer)
    ((status, attempts, error),) = await rows(customer)
    assert (status, attempts) == ("dead", inbox.TRIES)
    assert "ValueError, see" in error
    await inbox.work_off()
    assert stripe.looks == inbox.TRIES, "nobody tries again"
    stripe.fail = None
    async with db.transaction("operator") as session:
        assert await inbox_repository.replay(session, PLATFORM, event_id)
    await inbox.work_off()
    await inbox.work_off()
    assert [row[0] for row in await rows(customer)] == ["done"]
    assert await told(cast) == [event_id]


async def test_one_poisoned_customer_does_not_hold_up_another(cast: Cast, stripe: seller.Seller) -> None:
    await events.store(
        await customers.ensure(cast.globex)
    )  # of which the provider says nothing: a KeyError of ours
    customer = await bought(cast, stripe)
    await events.store(customer)
    await inbox.work_off()
    assert [row[0] for row in await rows(customer)] == ["done"]


async def test_who_does_not_answer_is_asked_less_and_less_and_nothing_dies_of_it(
    cast: Cast, stripe: seller.Seller
) -> None:
    customer = await bought(cast, stripe)
    await events.store(customer)
    stripe.fail = ProviderDown("no answer")
    for _ in range(inbox.DEATHS + 2):
        await inbox.work_off()
        await events.due(customer)
    assert [row[:2] for row in await rows(customer)] == [("pending", 0)]
    async with db.transaction("owner") as session:
        connection = await session.connection()
        await connection.execute(text("alter table billing_inbox disable trigger keep_received"))
        await connection.execute(
            text("update billing_inbox set received_at = received_at - interval '20 seconds'")
        )
        await connection.execute(text("alter table billing_inbox enable trigger keep_received"))
    await inbox.work_off()
    async with db.transaction() as session:
        found = await (await session.connection()).execute(
            text("select extract(epoch from due_at - clock_timestamp()) from billing_inbox")
        )
        assert 15 < float(found.scalar_one()) <= 30


async def test_our_own_database_being_away_is_no_fault_of_what_came(
    cast: Cast, stripe: seller.Seller
) -> None:
    customer = await bought(cast, stripe)
    await events.store(customer)
    stripe.fail = OperationalError("select 1", {}, Exception("the server closed the connection"))
    for _ in range(inbox.TRIES + 1):
        await inbox.work_off()
        await events.due(customer)
    assert [row[:2] for row in await rows(customer)] == [("pending", 0)]


async def test_a_key_that_is_refused_stops_the_account_and_loses_nothing(
    cast: Cast, stripe: seller.Seller
) -> None:
    customer = await bought(cast, stripe)
    await events.store(customer)
    stripe.fail = KeyRefused("revoked")
    try:
        await inbox.work_off()
        await events.due(customer)
        assert await claim() == []
    finally:
        async with db.transaction("operator") as session:
            await (await session.connection()).execute(text("update provider_account set paused_at = null"))
    stripe.fail = None
    await inbox.work_off()
    assert [row[0] for row in await rows(customer)] == ["done"]


# ── a customer that nobody knows yet ─────────────────────────────────────────────────────────────────────────────


async def test_who_becomes_known_while_we_find_that_nobody_knows_them(
    cast: Cast, stripe: seller.Seller
) -> None:
    """Between the question and the parking; nobody would wake what is parked after that."""
    stripe.next_id = f"cus_{new_id('x')[-8:]}"
    stripe.state[stripe.next_id] = CustomerState(stripe.next_id, subscriptions=(subscribed(),))
    await events.store(stripe.next_id)
    (work,) = await claim()
    await customers.ensure(cast.acme)
    await inbox._back(work, inbox.LONGEST_PARK, "No organisation has this customer", parked=True)
    await inbox.work_off()
    assert [row[0] for row in await rows(stripe.next_id)] == ["done"]


@pytest.mark.parametrize("tries", [inbox.TRIES + 1, inbox.PARKED_TRIES])
async def test_who_becomes_known_late_has_all_tries_before_them(
    cast: Cast, stripe: seller.Seller, tries: int
) -> None:
    stripe.next_id = f"cus_{new_id('x')[-8:]}"
    stripe.state[stripe.next_id] = CustomerState(stripe.next_id, subscriptions=(subscribed(),))
    await events.store(stripe.next_id)
    for _ in range(tries):
        await inbox.work_off()
        await events.due(stripe.next_id, parked_only=True)
    await customers.ensure(cast.acme)
    stripe.fail = ValueError("once")
    await inbox.work_off()
    assert [row[:2] for row in await rows(stripe.next_id)] == [("pending", 1)]
