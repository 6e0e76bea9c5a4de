"""Many audited changes of one tenant at the same time: none waits for another one that waits for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import cycle, islice

import pytest
from sqlalchemy.exc import OperationalError

from shared.access import decision_records
from shared.billing.subscriptions import checkout, portal
from shared.core import connection_shares, db, transaction_retries
from shared.core.context import Ctx
from shared.tenancy import (
    entry,
    invitations,
    members,
    provisioning,
    signups,
    tasks,
    tenant_repository,
    tenants,
)
from shared.tenancy.models import Tenant
from tests import conftest
from tests.conftest import Person
from tests.support import database, factories
from tests.support.billing import shared_provider
from tests.support.sizes import size

PLAN, SEATS = "plv_business_1", 100
Verb = Callable[[Person, int], Awaitable[None]]
# As the audit log was before migration 0009: one row for each tenant, locked by every event before the tenant's own row.
FORMER_HEAD = """
create function former_head() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('head:' || new.tenant_id, 0));
    return new;
end $$;
create trigger former_head before insert on audit_event for each row execute function former_head();
"""


@pytest.fixture
async def own_database(schema: str) -> AsyncIterator[str]:
    """Deadlocks are found at once there, instead of after a second."""
    async with conftest.own_database(schema, "locks"):
        name = f"{schema}_locks"
        database.connect(name).execute(f"alter database {name} set deadlock_timeout = '10ms'")
        yield name


async def start_checkout(person: Person, number: int) -> None:
    async with person.ctx() as ctx:
        await checkout.prepare(ctx, PLAN, "month", seats=SEATS)


async def open_portal(person: Person, number: int) -> None:
    async with person.ctx() as ctx:
        await portal.prepare(ctx)


async def invite(person: Person, number: int) -> None:
    async with person.ctx() as ctx:
        await invitations.invite(ctx, f"person{number}@harbour.test", "member")


async def change_role(person: Person, number: int) -> None:
    async with person.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query="bea")).rows
        await members.set_role(ctx, row.id, ("admin", "viewer")[number // len(VERBS) % 2], version=None)


async def rename(person: Person, number: int) -> None:
    async with person.ctx() as ctx:
        await tenants.rename(ctx, f"Harbour {number}", version=None)


async def change_address(person: Person, number: int) -> None:
    """A new address is a new key of the tenant's row, so that this waits for every transaction that refers to it."""
    async with person.ctx() as ctx:
        await tenants.change_slug(ctx, ("harbour", "haven")[number // len(VERBS) % 2], version=None)


async def change_branding(person: Person, number: int) -> None:
    async with person.ctx() as ctx:
        await tenants.set_colour(ctx, f"#{number:06x}", version=None)


async def provision(person: Person, number: int) -> None:
    async with entry.enter_job(person.slug, provisioning.TASK_NAME, "") as ctx:
        await tasks.provision(ctx)


VERBS: tuple[Verb, ...] = (
    *(start_checkout, open_portal, invite, change_role, rename, change_address, change_branding, provision),
)


async def run_mix(person: Person, count: int, verbs: tuple[Verb, ...] = VERBS) -> list[BaseException]:
    """What reached the callers of so many changes at once."""
    results = await asyncio.gather(
        *(verb(person, number) for number, verb in enumerate(islice(cycle(verbs), count))),
        return_exceptions=True,
    )
    return [result for result in results if isinstance(result, BaseException)]


@pytest.fixture
async def zoe(own_database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Person]:
    """The owner of an organisation, entered by its id, whose address changes. Bea is a member; most steps are due again."""
    monkeypatch.setattr(connection_shares, "SESSION_SHARE", connection_shares.TENANT_SHARE)
    monkeypatch.setattr(connection_shares, "WAIT_SECONDS", 60.0)  # for the turn of many at once
    account, bea = await factories.create_account("Zoe"), await factories.create_account("Bea")
    tenant = await factories.create_tenant(account, "Harbour")
    await factories.join_tenant(account, tenant.slug, bea, "member")
    await shared_provider.install_provider()
    connection = database.connect(own_database)
    connection.execute("update tenant set created_at = now() - interval '9 days'")  # may invite more people
    connection.execute("update provisioning_step set state = 'waiting' where position > 2")
    yield Person(account, tenant.id)
    shared_provider.remove_provider()
    shared_provider._providers.clear()  # its prices belong to this database


async def test_audited_changes_of_one_tenant_at_once_never_meet(zoe: Person) -> None:
    """Nothing is repeated here: the order alone keeps them apart."""
    assert await run_mix(zoe, size("tenancy.audited_changes")) == []


async def test_audited_changes_meet_with_the_former_lock_and_order(
    zoe: Person, own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_former_locks(own_database, monkeypatch)
    problems = await run_mix(zoe, size("tenancy.audited_changes"))
    assert problems
    assert all(transaction_retries.is_conflict(problem) for problem in problems), problems


async def test_provisioning_locks_the_tenant_before_it_refers_to_it(own_database: str) -> None:
    """A step refers to the tenant and then changes its rights, while a new address waits for all who refer to it."""
    await _change_address_during_provisioning(own_database)


async def test_provisioning_meets_a_change_of_the_address_where_it_locks_late(
    own_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tenant_repository.lock_tenant

    async def lock_unless_provisioning(ctx: Ctx) -> Tenant | None:
        return None if ctx.actor.type == "job" else await lock(ctx)

    monkeypatch.setattr(tenant_repository, "lock_tenant", lock_unless_provisioning)
    with pytest.raises(OperationalError) as caught:
        await _change_address_during_provisioning(own_database)
    assert transaction_retries.is_conflict(caught.value)


async def _change_address_during_provisioning(name: str) -> None:
    zoe = await factories.create_account("Zoe")
    async with db.transaction() as session:
        tenant = await signups.create_tenant(session, zoe.user, "Harbour")
    person = Person(zoe, tenant.id)
    await provision(person, 0)
    is_locked = asyncio.Event()

    async def change_address() -> None:
        async with person.ctx() as ctx:
            await tenants.lock(ctx)
            is_locked.set()
            while not _is_anyone_waiting(name):  # noqa: ASYNC110  Postgres has no signal for it
                await asyncio.sleep(0.01)
            await tenants.change_slug(ctx, "haven", version=None)

    async def run_next_step() -> None:
        await is_locked.wait()
        await provision(person, 1)

    await asyncio.gather(change_address(), run_next_step())


def _is_anyone_waiting(name: str) -> bool:
    row = (
        database.connect(name)
        .execute(
            "select count(*) from pg_stat_activity where datname = %s and wait_event_type = 'Lock'", [name]
        )
        .fetchone()
    )
    return row is not None and row[0] > 0


def _use_former_locks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def lock_tenant(ctx: Ctx) -> Tenant:
        tenant = await ctx.session.get(Tenant, ctx.tenant_id, with_for_update=True, populate_existing=True)
        assert tenant is not None
        return tenant

    database.connect(name).execute(FORMER_HEAD)
    monkeypatch.setattr(tenant_repository, "lock_tenant", lock_tenant)
    # A record of a decision refers to the tenant before the event does, so that nobody waits for it with a locked head.
    monkeypatch.setattr(decision_records, "add_allowed", lambda _: None)
