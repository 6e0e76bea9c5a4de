"""Permission to read the audit log, and its limits."""

from datetime import timedelta

import pytest

from shared.access.roles import OPERATOR_ROLES, ROLES
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import tenant_access, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.errors import Invalid, NotFound, Refused
from shared.tenancy import audit_reader, entry, tenants
from tests.conftest import Cast, Operating, Person
from tests.support import factories


@pytest.mark.parametrize("role", ROLES)
async def test_audit_log_is_readable_for_owners_and_admins_only(cast: Cast, role: str) -> None:
    zoe = await factories.create_account("Zoe")
    await factories.join_tenant(cast.ann.account, cast.ann.slug, zoe, role)
    async with Person(zoe, cast.ann.slug).ctx() as ctx:
        for ask in (audit_reader.list_events, audit_reader.verify_audit_log):
            if role in ("owner", "admin"):
                await ask(ctx)
                continue
            with pytest.raises(Refused, match="missing_permission"):
                await ask(ctx)


async def test_audit_log_never_shows_another_tenant(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await tenants.rename(ctx, "Acme Works", version=None)
    async with cast.gil.ctx() as ctx:
        page = await audit_reader.list_events(ctx, AuditFilter(tenant_id=cast.acme), limit=100)
        assert {event.tenant_id for event in page.rows} == {cast.globex}


async def test_event_is_read_as_far_back_as_the_plan_allows_and_never_of_another_tenant(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        event = (await audit_reader.list_events(ctx)).rows[0]
        assert await audit_reader.get_event(ctx, event.id) == event
    async with cast.gil.ctx() as ctx:
        with pytest.raises(NotFound):
            await audit_reader.get_event(ctx, event.id)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Trying it", tenant_id=cast.acme)
        until = now() + timedelta(days=1)
        await tenant_access.override_limit(octx, cast.acme, "retention_days", 0, reason, ends_at=until)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(NotFound):
            await audit_reader.get_event(ctx, event.id)


async def test_audit_log_reaches_back_as_far_as_the_plan_allows(cast: Cast) -> None:
    """Zero days show nothing. Nothing is deleted, so a larger plan shows the events again."""
    until = now() + timedelta(days=1)
    for days, seen in ((0, False), (30, True), (None, True), (1_000_000_000, True)):
        async with cast.olga.octx() as octx:
            await tenant_access.override_limit(
                octx,
                cast.acme,
                "retention_days",
                days,
                state_reason(octx, "Trying it", tenant_id=cast.acme),
                ends_at=until,
            )
        async with cast.ann.ctx() as ctx:
            assert bool((await audit_reader.list_events(ctx)).rows) is seen
            assert (await audit_reader.verify_audit_log(ctx)).is_intact


@pytest.mark.parametrize("role", OPERATOR_ROLES)
async def test_events_of_all_tenants_require_an_operator_role_and_a_reason(role: str, cast: Cast) -> None:
    somebody = Operating(await factories.create_operator("Otto", role))
    if role not in ("owner", "engineer"):
        with pytest.raises(Refused, match="missing_permission"):
            async with somebody.octx() as octx:
                await tenant_directory.list_all_events(
                    octx, state_reason(octx, "looking for a pattern"), AuditFilter()
                )
        return
    async with somebody.octx() as octx:
        for reason in ("", " \n ", "x" * 301):
            with pytest.raises(Invalid):
                await tenant_directory.list_all_events(octx, state_reason(octx, reason), AuditFilter())
    for owner in (cast.ann, cast.gil):  # something new in both tenants: the list begins with the newest
        await owner.gets("pro")
    async with somebody.octx() as octx:
        listing = await tenant_directory.list_all_events(
            octx, state_reason(octx, "looking for a pattern"), AuditFilter(), limit=100
        )
        assert {cast.acme, cast.globex} <= {event.tenant_id for event in listing.page.rows}
        globex_listing = await tenant_directory.list_all_events(
            octx, state_reason(octx, "looking for a pattern"), AuditFilter(tenant_id=cast.globex)
        )
        assert {event.tenant_id for event in globex_listing.page.rows} == {cast.globex}
    async with somebody.octx() as octx:
        operator_events = [
            event for event in await audit_log.list_operator_events(octx) if event.actor_id == octx.actor_id
        ]
    assert [(event.action, event.reason) for event in operator_events] == [
        ("tenants.read_across", "looking for a pattern")
    ]


async def test_reading_across_tenants_is_recorded_with_its_reason(cast: Cast) -> None:
    """The read and its event are in one transaction."""
    async with cast.olga.octx() as octx:
        async with entry.read_across_tenants(octx, "a reason of this test"):
            pass
        reasons = [event.reason for event in await audit_log.list_operator_events(octx, limit=1)]
    assert reasons == ["a reason of this test"]
