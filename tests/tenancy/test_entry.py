"""Every way to enter a tenant, and its refusals."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from shared.access.roles import OPERATOR_ROLES, ROLES
from shared.backoffice import tenant_directory
from shared.core import db
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import DomainError, Invalid, NotFound, NotSignedIn, Refused
from shared.tenancy import audit_reader, authentication, entry, members, user_tenants
from shared.tenancy.models import Tenant, TenantState
from tests.conftest import Cast
from tests.support import factories, session_rows
from tests.support.round_trips import recorded_round_trips

SIDEWAYS = ["", "nothing-here", "\x00", "\ud800", "a/b", "x" * 10_000, "ACME", "%", "ten_acme"]


async def set_state(tenant_id: str, state: TenantState) -> None:
    async with db.transaction(tenant_id=tenant_id) as session:
        tenant = await session.get(Tenant, tenant_id)
        assert tenant is not None
        tenant.state = state


async def count_attempts(user_id: str) -> int:
    async with db.transaction("operator") as session:
        connection = await session.connection()
        counted = text("select coalesce(sum(count), 0) from security_event where actor_id = :id")
        return int((await connection.execute(counted, {"id": user_id})).scalar_one())


# ── a session ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_member_enters_with_the_permissions_of_their_role(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        assert (ctx.tenant_id, ctx.slug, ctx.tenant_name, ctx.tenant_state) == (
            cast.acme,
            cast.adam.slug,
            "Acme",
            "active",
        )
        assert (ctx.actor.type, ctx.actor.id, ctx.actor.name) == ("user", cast.adam.user_id, "Adam")
        assert (ctx.role, ctx.permissions) == ("admin", ROLES["admin"].permissions)
        assert ctx.request_id.startswith("req_")


async def test_entry_of_a_recently_seen_member_takes_few_statements(cast: Cast) -> None:
    """One to authenticate; a transaction adds BEGIN, the scope of the tenant, and COMMIT."""

    async def enter() -> None:
        async with cast.adam.ctx() as ctx:
            await ctx.session.connection()

    async def authenticate() -> None:
        assert await authentication.authenticate(cast.adam.cookie, cast.adam.slug) is not None

    async with recorded_round_trips() as round_trips:
        await authenticate()  # writes when the member was seen, and fills the rights cache
        for act, count in ((authenticate, 1), (enter, 4)):
            round_trips.start()
            await act()
            assert len(round_trips.list_statements()) == count


async def test_context_is_immutable_and_hides_its_session(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx, cast.olga.octx() as octx:
        for context in (ctx, octx):
            for name in ("role", "permissions", "session"):
                with pytest.raises(dataclasses.FrozenInstanceError):
                    setattr(context, name, "owner")
            assert context.session_hash
            assert context.session_hash not in repr(context)
        with pytest.raises(TypeError):
            ctx.rights.limits["members"] = None  # type: ignore[index]


async def test_person_has_a_separate_role_in_each_tenant(cast: Cast) -> None:
    await factories.join_tenant(cast.gil.account, cast.gil.slug, cast.ann.account, "viewer")
    async with cast.ann.ctx() as acme, cast.ann.ctx(cast.gil.slug) as globex:
        assert (acme.role, globex.role) == ("owner", "viewer")
        assert acme.tenant_id != globex.tenant_id


@pytest.mark.parametrize("slug", SIDEWAYS)
async def test_unknown_tenant_and_foreign_tenant_get_the_same_answer(cast: Cast, slug: str) -> None:
    messages = []
    for wish in (slug or "-", cast.ann.slug):
        with pytest.raises(NotFound) as caught:
            async with entry.enter_tenant(cast.gil.cookie, wish):
                pytest.fail("got in")
        messages.append(caught.value.problem_details("req_x"))
    assert messages[0] == messages[1]
    assert await count_attempts(cast.gil.user_id) == 2


@pytest.mark.parametrize("slug", SIDEWAYS)
async def test_authentication_for_a_foreign_tenant_grants_no_permission(cast: Cast, slug: str) -> None:
    principal = await authentication.authenticate(cast.gil.cookie, slug)
    assert principal is not None
    assert (principal.user_id, principal.tenant_id, principal.permissions) == (
        cast.gil.user_id,
        "",
        frozenset(),
    )


async def test_entry_is_refused_without_a_live_session(cast: Cast) -> None:
    name = cast.ann.cookie.partition("=")[0]
    for cookie in ("", "theme=dark", f"{name}=", f"{name}=made-up", cast.ann.cookie[:-1]):
        assert await authentication.authenticate(cookie, cast.ann.slug) is None
        with pytest.raises(NotSignedIn):
            async with entry.enter_tenant(cookie, cast.ann.slug):
                pytest.fail("got in")
        with pytest.raises(NotSignedIn):
            await user_tenants.list_user_tenants(cookie)


async def test_former_member_reads_who_ended_the_membership_and_when(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=cast.max.email)).rows
        await members.remove(ctx, row.id)
    with pytest.raises(
        Refused, match=r"membership_ended: Your access to Acme was removed by Adam on \d+ \w+ \d{4}\."
    ) as caught:
        async with cast.max.ctx():
            pytest.fail("got in")
    assert "owner of Acme" in caught.value.next_step
    principal = await authentication.authenticate(cast.max.cookie, cast.max.slug)
    assert principal is not None
    assert (principal.permissions, principal.ended_message) == (frozenset(), caught.value.detail)
    assert await user_tenants.list_user_tenants(cast.max.cookie) == []
    assert await count_attempts(cast.max.user_id) == 0  # they know the place: this is no attempt


async def test_member_with_an_unverified_address_is_refused(cast: Cast) -> None:
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text('update "user" set email_verified_at = null where id = :id'), {"id": cast.max.user_id}
        )
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused, match="tenant_unverified"):
            await members.list_members(ctx)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (TenantState.PENDING_VERIFICATION, "tenant_unverified"),
        (TenantState.SUSPENDED, "tenant_suspended"),
        (TenantState.DELETED, "tenant_deleted"),
    ],
)
async def test_owner_is_refused_by_the_state_of_the_tenant(
    cast: Cast, state: TenantState, reason: str
) -> None:
    await set_state(cast.acme, state)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Refused, match=reason) as caught:
            await members.list_members(ctx)
    assert caught.value.next_step
    async with cast.gil.ctx() as ctx:
        await members.list_members(ctx)


# ── the other realm ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_session_of_one_realm_is_refused_in_the_other(cast: Cast) -> None:
    assert await authentication.authenticate(cast.olga.cookie, cast.ann.slug) is None
    with pytest.raises(NotSignedIn):
        async with entry.enter_tenant(cast.olga.cookie, cast.ann.slug):
            pytest.fail("got in")
    assert await authentication.authenticate_operator(cast.ann.cookie) is None
    with pytest.raises(NotSignedIn):
        async with entry.enter_operator(cast.ann.cookie):
            pytest.fail("got in")


async def test_token_of_one_realm_is_refused_under_the_others_cookie_name(cast: Cast) -> None:
    user, operator = cast.ann.cookie, cast.olga.cookie
    swapped = user.partition("=")[0] + "=" + operator.partition("=")[2]
    assert await authentication.authenticate(swapped, cast.ann.slug) is None
    swapped = operator.partition("=")[0] + "=" + user.partition("=")[2]
    assert await authentication.authenticate_operator(swapped) is None


@pytest.mark.parametrize("role", OPERATOR_ROLES)
async def test_operator_enters_with_the_permissions_of_their_role_and_no_tenant(
    role: str, cast: Cast
) -> None:
    cookie = await factories.create_operator("Otto", role)
    async with entry.enter_operator(cookie) as octx:
        assert (octx.role, octx.permissions) == (role, OPERATOR_ROLES[role].permissions)
        assert not hasattr(octx, "tenant_id")
    assert (await authentication.authenticate_operator(cookie)) is not None


# ── the idle clock ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("realm", ["user", "operator"])
async def test_authentication_without_touch_leaves_the_idle_time(cast: Cast, realm: str) -> None:
    cookie = cast.ann.cookie if realm == "user" else await factories.create_operator("Otto")

    async def authenticate_again(*, touches: bool) -> None:
        if realm == "user":
            assert await authentication.authenticate(cookie, cast.ann.slug, touches=touches)
        else:
            assert await authentication.authenticate_operator(cookie, touches=touches)

    long_ago = session_rows.age_session(cookie, "last_seen_at", timedelta(minutes=5))
    await authenticate_again(touches=False)
    assert session_rows.read_times(cookie).last_seen_at == long_ago
    await authenticate_again(touches=True)
    assert session_rows.read_times(cookie).last_seen_at > long_ago


# ── a job ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_job_enters_under_its_own_name(cast: Cast) -> None:
    async with entry.enter_job(cast.acme, "tenancy.provision", "req_of_the_cause") as ctx:
        assert (ctx.tenant_id, ctx.actor.type, ctx.actor.id) == (cast.acme, "job", "tenancy.provision")
        assert (ctx.request_id, ctx.session_hash) == ("req_of_the_cause", "")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (TenantState.SUSPENDED, "tenant_suspended"),
        (TenantState.DELETED, "tenant_deleted"),
        (None, "tenant_deleted"),
    ],
)
async def test_job_is_refused_when_its_tenant_may_not_work(
    cast: Cast, state: TenantState | None, reason: str
) -> None:
    if state:
        await set_state(cast.acme, state)
    with pytest.raises(Refused, match=reason):
        async with entry.enter_job(cast.acme if state else "ten_unknown", "any", "req_x"):
            pytest.fail("got in")


# ── an invitation, a founder ─────────────────────────────────────────────────────────────────────────────────────


async def test_invitation_context_has_no_permission(cast: Cast) -> None:
    async with entry.enter_invitation(cast.acme, entry.Actor("user", cast.carl.user_id, "Carl")) as ctx:
        assert (ctx.role, ctx.permissions) == ("", frozenset())
        for ask in (members.list_members, audit_reader.list_events):
            with pytest.raises(Refused, match="missing_permission"):
                await ask(ctx)


async def test_invitation_of_a_deleted_tenant_is_not_found(cast: Cast) -> None:
    await set_state(cast.acme, TenantState.DELETED)
    for tenant_id in (cast.acme, "ten_unknown"):
        with pytest.raises(NotFound, match="no longer exists"):
            async with entry.enter_invitation(tenant_id, entry.Actor("user", cast.carl.user_id, "Carl")):
                pytest.fail("got in")


# ── an operator inside a tenant, and across them ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 301, "\x00", "\ud800"])
async def test_operator_visit_without_a_reason_is_refused(cast: Cast, reason: str) -> None:
    for door in (
        lambda octx: entry.enter_as_operator(octx, cast.acme, reason),
        lambda octx: entry.read_across_tenants(octx, reason),
    ):
        with pytest.raises(Invalid):
            async with cast.olga.octx() as octx, door(octx):
                await octx.session.flush()


async def test_operator_visit_is_recorded_once_per_reason(cast: Cast) -> None:
    for reason in ("ticket 7", "ticket  7 ", "ticket 8"):
        async with cast.sam.octx() as octx, entry.enter_as_operator(octx, cast.acme, reason) as ctx:
            assert (ctx.actor.type, ctx.actor.name, ctx.role) == ("operator", "Sam", "operator:support")
            await members.list_members(ctx)
    async with cast.adam.ctx() as ctx:
        looked = [
            event for event in (await audit_reader.list_events(ctx)).rows if event.action == "operator.looked"
        ]
    assert [(event.reason, event.actor_name, event.actor_type) for event in looked] == [
        ("ticket 8", "Sam", "operator"),
        ("ticket 7", "Sam", "operator"),
    ]


async def test_operator_visit_cannot_change_the_tenant(cast: Cast) -> None:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "ticket 7") as ctx:
        (row,) = (await members.list_members(ctx, query=cast.max.email)).rows
        with pytest.raises(Refused, match="missing_permission"):
            await members.remove(ctx, row.id)


async def test_tenant_context_is_closed_after_an_operator_visit(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        async with entry.enter_as_operator(octx, cast.acme, "ticket 7") as ctx:
            await members.list_members(ctx)
        with pytest.raises(Exception, match="without a tenant"):
            await members.list_members(ctx)


async def test_operator_visit_to_an_unknown_tenant_is_not_found(cast: Cast) -> None:
    for unknown in ("ten_unknown", "", "x"):
        with pytest.raises(NotFound, match="This tenant doesn’t exist"):
            async with cast.olga.octx() as octx, entry.enter_as_operator(octx, unknown, "ticket 7"):
                pytest.fail("got in")


async def test_tenant_and_operator_contexts_are_unrelated_types() -> None:
    """The type checker refuses one for the other; at run time a service fails for lack of a tenant."""
    assert not issubclass(OperatorCtx, Ctx)
    assert not issubclass(Ctx, OperatorCtx)


async def test_operator_directory_is_refused_for_a_tenant_context(cast: Cast) -> None:
    calls: list[Any] = [
        tenant_directory.get_overview,
        tenant_directory.search_tenants,
        tenant_directory.list_jobs,
    ]
    async with cast.ann.ctx() as ctx:
        for call in calls:
            with pytest.raises(DomainError):
                await call(ctx)
