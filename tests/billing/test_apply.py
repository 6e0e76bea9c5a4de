"""A webhook asks for a look, and what follows from the look is written once, whatever came."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlmodel import select

from shared.billing import customers, inbox, providers, sync
from shared.billing.models import PLATFORM, BillingInvoice, BillingStanding
from shared.billing.provider import CustomerState, Invoice, Line, ProviderDown, Subscription
from shared.core import db
from shared.core.db import now
from shared.core.errors import NotFound
from shared.core.ids import new_id
from tests.billing import events, seller
from tests.conftest import Cast

START = now().replace(microsecond=0) - timedelta(days=3)


@pytest.fixture
async def stripe() -> seller.Seller:
    one = seller.Seller()
    providers.use(PLATFORM, one)
    return one


def subscribed(status: str = "active", **changed: object) -> Subscription:
    line = Line("si_1", seller.PRO_FLAT, "price_x", 1, START, START + timedelta(days=30))
    base = Subscription("sub_1", status, START, lines=(line,), pays=True, currency="usd")
    return replace(base, **changed)  # type: ignore[arg-type]


async def test_a_webhook_gives_what_was_bought(cast: Cast, stripe: seller.Seller) -> None:
    await seller.price(seller.PRO_FLAT, "pro")
    customer = await customers.ensure(await seller.tenant_of(cast.ann))
    stripe.state[customer] = CustomerState(
        customer, method="Visa ending in 4242", subscriptions=(subscribed(),)
    )
    await events.store(customer, 3)
    assert await inbox.work_off() == 1
    async with cast.ann.ctx() as ctx:
        assert (ctx.rights.plan, ctx.rights.billing_status) == ("pro", "active")
    assert await events.statuses(customer) == {"done": 3}


async def test_a_cancelled_one_gives_nothing_more(cast: Cast, stripe: seller.Seller) -> None:
    await seller.price(seller.PRO_FLAT, "pro")
    customer = await customers.ensure(await seller.tenant_of(cast.ann))
    for status, access in (
        ("active", "active"),
        ("past_due", "grace"),
        ("active", "active"),
        ("canceled", "none"),
    ):
        stripe.state[customer] = CustomerState(
            customer, subscriptions=(subscribed(status, failed_since=START),)
        )
        await events.store(customer, 1)
        await inbox.work_off()
        async with cast.ann.ctx() as ctx:
            assert ctx.rights.billing_status == access


async def test_who_is_down_costs_nothing_but_time(cast: Cast, stripe: seller.Seller) -> None:
    await seller.price(seller.PRO_FLAT, "pro")
    customer = await customers.ensure(await seller.tenant_of(cast.ann))
    stripe.state[customer] = CustomerState(customer, subscriptions=(subscribed(),))
    await events.store(customer, 2)
    stripe.fail = ProviderDown("no answer")
    await inbox.work_off()
    assert await events.statuses(customer) == {"pending": 2}
    stripe.fail = None
    await events.due(customer)
    await inbox.work_off()
    assert await events.statuses(customer) == {"done": 2}


async def test_what_nobody_knows_waits_for_who_does(cast: Cast, stripe: seller.Seller) -> None:
    await seller.price(seller.PRO_FLAT, "pro")
    tenant_id = await seller.tenant_of(cast.ann)
    stripe.next_id = f"cus_{new_id('x')[-8:]}"
    stripe.state[stripe.next_id] = CustomerState(stripe.next_id, subscriptions=(subscribed(),))
    await events.store(stripe.next_id, 1)
    await inbox.work_off()
    assert await events.statuses(stripe.next_id) == {"parked": 1}
    await customers.ensure(tenant_id)
    await inbox.work_off()
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.plan == "pro"


async def test_sums_have_as_many_digits_as_there_are(cast: Cast, stripe: seller.Seller) -> None:
    """A thousand dollars are more than 2,147,483,647 of the smallest unit in some currencies."""
    customer = await customers.ensure(await seller.tenant_of(cast.ann))
    bill = Invoice(
        *("in_much", "A-1", "open", "idr", 9_000_000_000, 9_000_000_000, 0, 1, None, START, None, None),
        *("", "", "sub_1"),
    )
    stripe.state[customer] = CustomerState(customer, balance=-3_000_000_000, currency="idr", invoices=(bill,))
    await sync.look(PLATFORM, customer, cast.acme, cause="return")
    async with db.transaction(tenant_id=cast.acme) as session:
        assert (await session.exec(select(BillingInvoice))).one().due == 9_000_000_000
        assert (await session.exec(select(BillingStanding))).one().balance == -3_000_000_000


async def test_what_another_organisation_has_is_not_written(cast: Cast, stripe: seller.Seller) -> None:
    """Nor does it count as a look at that customer."""
    theirs = await customers.ensure(cast.globex)
    await customers.ensure(cast.acme)
    stripe.state[theirs] = CustomerState(theirs, method="Visa ending in 4242", balance=-500, currency="usd")
    before = await _ticket(theirs)
    with pytest.raises(NotFound):
        await sync.look(PLATFORM, theirs, cast.acme, cause="return")
    assert await _ticket(theirs) == before
    async with db.transaction(tenant_id=cast.acme) as session:
        assert (await session.exec(select(BillingStanding))).all() == []
    await sync.look(PLATFORM, theirs, cast.globex, cause="return")
    async with db.transaction(tenant_id=cast.globex) as session:
        assert (await session.exec(select(BillingStanding))).one().method == "Visa ending in 4242"


async def _ticket(customer: str) -> int | None:
    async with db.transaction() as session:
        found = await (await session.connection()).execute(
            text("select ticket from customer_sync where customer_id = :customer"), {"customer": customer}
        )
        return found.scalar_one_or_none()
