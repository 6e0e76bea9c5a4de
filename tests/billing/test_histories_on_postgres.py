"""The same histories through the real inbox and real tables, and what the tenant may use then, at every later time."""

import asyncio
import os
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlmodel import select

from shared.billing import customers, inbox, inbox_repository, prices, providers, repository, sync
from shared.billing.models import PLATFORM, BillingCustomer, BillingEvent
from shared.billing.provider import CustomerState
from shared.core import db
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from tests import factories
from tests.billing import events, histories, seller, truth
from tests.billing.held import GRACE_OF_TESTS, access
from tests.billing.test_inbox import claim
from tests.conftest import Person

SEEDS = int(os.environ.get("SEEDS", "24"))  # more of them by hand


class Told(histories.Seller):
    """As the inbox asks it: slowly, so that looks overtake each other."""

    async def fetch(self, customer_id: str) -> CustomerState:
        seen = CustomerState(customer_id, subscriptions=tuple(self.list_all(customer_id).values()))
        await asyncio.sleep(self.dice.choice((0, 0, 0.002, 0.01)))
        return seen

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        return f"cus_{new_id('x')[-12:]}"


async def _play(tenant_id: str, provider: Told, accounts: Sequence[str], *, loses: bool) -> list[str]:
    """Ids of the webhooks that came."""
    dice, came, waiting = provider.dice, list[str](), set[asyncio.Task[None]]()
    names = {"cus_1": "", "cus_2": ""}
    names["cus_1"] = await customers.ensure(tenant_id, accounts[0])
    names["cus_2"] = await customers.ensure(tenant_id, accounts[1])
    account_of = dict(zip(names.values(), accounts, strict=True))

    def changed() -> str:
        event = provider.change()
        real = names[event.customer]
        provider.state[real] = provider.state[event.customer]
        return real

    late = list[str]()
    for _ in range(dice.randint(3, 7)):
        customer = changed()
        fate = dice.choice(("comes", "comes", "twice", "late", "lost" if loses else "late"))
        if fate == "late":
            late.append(customer)
        elif fate != "lost":
            came += await events.store(customer, 1 + (fate == "twice"), account=account_of[customer])
        for work in await claim(lease=60):
            if dice.random() < 0.25:
                await _dies(work)
            else:
                waiting.add(asyncio.create_task(inbox.settle(work)))
        await asyncio.sleep(0.001)
    for customer in late:
        came += await events.store(customer, account=account_of[customer])
    await asyncio.gather(*waiting)
    await inbox.work_off()
    if loses:
        for customer, account in account_of.items():
            await sync.look(account, customer, tenant_id, cause="reconcile")
    provider.state = {real: provider.state.get(name, {}) for name, real in names.items()}
    return came


async def _dies(work: inbox_repository.Claimed) -> None:
    """Its worker does, and the lease has run out."""
    async with db.transaction() as session:
        await inbox_repository.release(session, work, timedelta(), "", most=99, counts=False)


@pytest.fixture
async def priced(schema: str) -> None:
    for price, plan, kind in (
        (truth.BASIC, "starter", "flat"),
        (truth.PLUS, "pro", "flat"),
        (truth.SEATED, "business", "seat"),
        (truth.EXTRA, "extra_seats", "flat"),
    ):
        await seller.price(price, plan, kind)


@pytest.fixture
async def other_account(schema: str) -> str:
    account = new_id("pac")
    await seller.account(account)
    return account


@pytest.mark.usefixtures("priced")
@pytest.mark.parametrize("loses", [False, True])
async def test_what_a_tenant_may_use_is_what_the_table_says(other_account: str, loses: bool) -> None:
    ann = await factories.account("Ann")
    for seed in range(SEEDS // 2):
        tenant = await factories.tenant(ann, f"Acme {seed}")
        provider = Told(random.Random(seed), now().replace(microsecond=0))
        for account in (PLATFORM, other_account):
            providers.use(account, provider)  # type: ignore[arg-type]
        came = await _play(tenant.id, provider, (PLATFORM, other_account), loses=loses)
        subscriptions = [one for known in provider.state.values() for one in known.values()]
        async with Person(ann, tenant.slug).ctx() as ctx:
            told = [
                one for row in (await ctx.session.exec(select(BillingEvent))).all() for one in row.event_ids
            ]
            assert len(told) == len(set(told)), f"seed {seed}: told twice"
            assert set(told) <= set(came)
            held = (await ctx.session.exec(select(BillingCustomer))).all()
            assert {row.id for row in held} == set(provider.state)
            priced_now = await prices.priced(ctx.session)
            assert await _standing(ctx) == histories.worked_out(provider.state, now(), priced_now), (
                f"seed {seed}"
            )
            for at in truth.turns(subscriptions, now() + GRACE_OF_TESTS):
                has, should = await access(ctx, at), truth.access(subscriptions, at)
                assert has == should, f"seed {seed} at {at}: {has}, should be {should}: {subscriptions}"
        for customer in provider.state:
            assert (await events.statuses(customer)).keys() <= {"done"}


async def _standing(ctx: Ctx) -> dict[str, object] | None:
    row = await repository.get_standing(ctx)
    return (row.course or None) if row else None


@pytest.mark.usefixtures("priced")
async def test_drawn_worlds_give_what_the_table_says_at_every_turn() -> None:
    """Worlds in which more is foreseen than the histories come to: on real rows, and at times that are yet to come."""
    ann = await factories.account("Ann")
    provider = seller.Seller()
    providers.use(PLATFORM, provider)
    for seed in range(SEEDS):
        tenant = await factories.tenant(ann, f"Acme {seed}")
        customer = await customers.ensure(tenant.id)
        drawn = truth.draw(random.Random(seed), now().replace(microsecond=0))
        provider.state[customer] = CustomerState(customer, subscriptions=tuple(drawn))
        await sync.look(PLATFORM, customer, tenant.id, cause="webhook")
        async with Person(ann, tenant.slug).ctx() as ctx:
            for at in truth.turns(drawn, now() + GRACE_OF_TESTS):
                has, should = await access(ctx, at), truth.access(drawn, at)
                assert has == should, f"seed {seed} at {at}: {has}, should be {should}: {drawn}"
