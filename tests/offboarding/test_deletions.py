"""Deleting an organisation: who can, what stops it, the way back, and what is refused afterwards."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from shared.api_keys import keys
from shared.api_keys.keys import KeyRequest
from shared.backoffice import tenant_deletions, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.billing.subscriptions import cancellation, checkout
from shared.core import db, registry
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, Refused
from shared.offboarding import deletion_repository, deletions, rounds
from shared.offboarding.models import TenantDeletion
from shared.tenancy import audit_reader, entry, members, notifications, tenants
from shared.tenancy.key_entry import authenticate_key, enter_key
from shared.tenancy.models import Tenant, TenantState
from tests.billing.test_selling import PRO, start_checkout, subscribe_person
from tests.conftest import Cast, Person
from tests.support.billing import shared_provider
from tests.support.billing.memory_provider import MemoryProvider

ADDRESS = "203.0.113.9"
REASON = "We moved to another organisation"


@pytest.fixture
async def seller() -> AsyncIterator[MemoryProvider]:
    yield await shared_provider.install_provider()
    shared_provider.remove_provider()


async def schedule(person: Person, *, name: str = "") -> deletions.DeletionView:
    async with person.ctx() as ctx:
        return await deletions.schedule(ctx, REASON, name or ctx.tenant_name)


async def schedule_as_operator(cast: Cast, tenant_id: str, *, days: int = 7) -> None:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=tenant_id)
        await tenant_deletions.schedule(octx, tenant_id, reason, grace_days=days)


async def end_grace_period(person: Person) -> None:
    async with person.ctx() as ctx:
        deletion = await deletion_repository.find_open_deletion(ctx)
        assert deletion is not None
        deletion.delete_at = now() - timedelta(seconds=1)
        ctx.session.add(deletion)
        tenant_id = ctx.tenant_id
    await rounds.delete_due(tenant_id)


async def find_deletion(tenant_id: str) -> TenantDeletion | None:
    async with entry.enter_cleaning(tenant_id, "tests", "req_1") as ctx:
        return await deletion_repository.find_open_deletion(ctx)


async def get_tenant(tenant_id: str) -> Tenant:
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await session.get(Tenant, tenant_id)
        assert tenant is not None
        return tenant


async def hash_rows(tenant_id: str) -> list[str]:
    """A hash of the rows of each table of the tenant."""
    async with db.transaction(tenant_id=tenant_id) as session:
        connection = await session.connection()
        hashes = []
        for table in registry.list_erase_order():
            query = f"select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t"
            hashes.append(str((await connection.exec_driver_sql(query)).scalar_one()))
    return hashes


async def test_scheduled_deletion_is_told_to_owners_and_can_be_cancelled(cast: Cast) -> None:
    scheduled = await schedule(cast.ann)
    assert timedelta(days=29) < scheduled.delete_at - now() <= timedelta(days=30)
    async with cast.ann.ctx() as ctx:
        assert (await tenants.get_frame_settings(ctx)).deletion_at == scheduled.delete_at
        await deletions.cancel(ctx)
        assert await deletions.get(ctx) is None
        assert (await tenants.get_frame_settings(ctx)).deletion_at is None
        titles = [notice.title for notice in await notifications.list_my_notifications(ctx)]
        events = [(event.action, event.reason) for event in (await audit_reader.list_events(ctx)).rows]
    assert titles[:2] == [
        f"{ctx.tenant_name} won’t be deleted",
        f"{ctx.tenant_name} will be deleted on {scheduled.delete_at:%-d %B %Y}",
    ]
    assert events[:2] == [("tenant.deletion_canceled", ""), ("tenant.deletion_scheduled", REASON)]


async def test_notice_is_mailed_to_its_owner(cast: Cast) -> None:
    await schedule(cast.ann)
    async with cast.ann.ctx() as ctx:
        (notice, *_) = await notifications.list_my_notifications(ctx)
        mail = await notifications.build_mail(ctx, notice.id)
        assert mail is not None
        assert (mail.to, mail.values["title"]) == (cast.ann.email, notice.title)


@pytest.mark.parametrize("name", ["", "acme", "Acme Ltd"])
async def test_deletion_is_refused_without_the_name(cast: Cast, name: str) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid) as problem:
            await deletions.schedule(ctx, REASON, name)
    assert set(problem.value.fields) == {"confirm"}


async def test_deletion_is_refused_to_admins(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await deletions.schedule(ctx, REASON, ctx.tenant_name)
        with pytest.raises(Refused):
            await deletions.cancel(ctx)


async def test_second_deletion_is_refused(cast: Cast) -> None:
    await schedule(cast.ann)
    with pytest.raises(Conflict):
        await schedule(cast.ann)
    with pytest.raises(Conflict):
        await schedule_as_operator(cast, cast.acme)


async def test_deletion_by_operators_is_cancelled_by_operators_only(cast: Cast) -> None:
    await schedule_as_operator(cast, cast.acme)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Conflict, match="support"):
            await deletions.cancel(ctx)
    async with cast.olga.octx() as octx:
        (listed,) = [
            row for row in await tenant_deletions.list_unfinished(octx) if row.tenant_id == cast.acme
        ]
        assert (listed.is_deleted, listed.deletion.by_operator) == (False, True)
        await tenant_deletions.cancel(octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme))
    assert await find_deletion(cast.acme) is None


@pytest.mark.parametrize("days", [0, 6, 91])
async def test_operator_cannot_choose_another_grace_period(cast: Cast, days: int) -> None:
    with pytest.raises(Invalid):
        await schedule_as_operator(cast, cast.acme, days=days)


async def test_deletion_is_refused_to_support(cast: Cast) -> None:
    async with cast.sam.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        with pytest.raises(Refused):
            await tenant_deletions.schedule(octx, cast.acme, reason, grace_days=30)
        with pytest.raises(Refused):
            await tenant_deletions.cancel(octx, cast.acme, reason)


async def test_tenant_stays_until_the_grace_period_is_over(cast: Cast) -> None:
    await schedule(cast.ann)
    await rounds.delete_due(cast.acme)
    async with cast.adam.ctx() as ctx:
        assert ctx.tenant_state == TenantState.ACTIVE


async def test_nobody_enters_after_the_grace_period_and_others_keep_everything(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        created_key = await keys.create(ctx, KeyRequest(name="Sync", scopes=["member:read"]))
    before = await hash_rows(cast.globex)
    await schedule(cast.ann)
    await end_grace_period(cast.ann)
    assert (await get_tenant(cast.acme)).state is TenantState.DELETED
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused) as refusal:
            await members.list_members(ctx)
        assert refusal.value.reason == "tenant_deleted"
    principal = await authenticate_key(created_key.text, address=ADDRESS)
    async with enter_key(principal) as ctx:
        with pytest.raises(Refused):
            await members.list_members(ctx)
    with pytest.raises(Refused, match="deleted"):
        async with entry.enter_job(cast.acme, "tests", "req_1"):
            pass
    assert await hash_rows(cast.globex) == before
    deletion = await find_deletion(cast.acme)
    assert deletion is not None
    assert (deletion.deleted_at is not None, deletion.erased_at) == (True, None)


async def test_deleted_tenant_is_not_restored_by_anybody(cast: Cast) -> None:
    await schedule(cast.ann)
    await end_grace_period(cast.ann)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        with pytest.raises(Conflict):
            await tenant_deletions.cancel(octx, cast.acme, reason)
        with pytest.raises(Conflict):
            await tenant_directory.restore_tenant(octx, cast.acme, reason)
        with pytest.raises(Conflict):
            await tenant_directory.suspend_tenant(octx, cast.acme, reason)


async def test_due_tenants_are_found_in_turn(cast: Cast) -> None:
    for person in (cast.ann, cast.gil):
        await schedule(person)
        async with person.ctx() as ctx:
            deletion = await deletion_repository.find_open_deletion(ctx)
            assert deletion is not None
            deletion.delete_at = now() - timedelta(seconds=1)
            ctx.session.add(deletion)
    async with db.transaction() as session:
        first = await rounds.find_next(session, "")
        second = await rounds.find_next(session, first)
        assert await rounds.find_next(session, second) == ""
    assert {first, second} == {cast.acme, cast.globex}


async def test_subscription_has_to_end_before_the_deletion(cast: Cast, seller: MemoryProvider) -> None:
    deal = await subscribe_person(seller, cast.gil)
    with pytest.raises(Conflict) as problem:
        await schedule(cast.gil)
    assert problem.value.reason == "subscription_active"
    async with cast.gil.ctx() as ctx:
        canceled = await cancellation.prepare_cancel(ctx)
    assert await cancellation.submit(canceled)
    seller.deals[deal].stops = now() + timedelta(days=5)
    await shared_provider.return_from_provider(cast.gil)
    await schedule(cast.gil)
    async with cast.gil.ctx() as ctx:
        with pytest.raises(Conflict) as problem:
            await cancellation.prepare_resume(ctx)
    assert problem.value.reason == "deletion_scheduled"


async def test_nothing_is_bought_while_a_deletion_is_scheduled(cast: Cast, seller: MemoryProvider) -> None:
    await schedule(cast.gil)
    async with cast.gil.ctx() as ctx:
        with pytest.raises(Conflict) as problem:
            await checkout.prepare(ctx, PRO, "month", seats=3)
    assert problem.value.reason == "deletion_scheduled"


async def test_deletion_waits_for_a_subscription_bought_meanwhile(cast: Cast, seller: MemoryProvider) -> None:
    page = await start_checkout(cast.gil, PRO, "month", seats=3)
    await schedule(cast.gil)
    seller.pay(page)
    await shared_provider.return_from_provider(cast.gil)
    await end_grace_period(cast.gil)
    deletion = await find_deletion(cast.globex)
    assert deletion is not None
    assert (deletion.deleted_at, deletion.is_held) == (None, True)
    assert (await get_tenant(cast.globex)).state is TenantState.ACTIVE
