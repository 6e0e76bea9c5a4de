"""Custom roles: limited to their maker's permissions, protected while in use, effective at once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.access.permissions import Permission as P  # noqa: N817  as in the table of roles
from shared.access.roles import OWNER_ONLY_PERMISSIONS, REQUIRED_PERMISSIONS, ROLES
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, DomainError, Invalid, NotFound, Refused
from shared.entitlements import assignments
from shared.tenancy import audit_reader, invitations, members, role_repository, roles, user_tenants
from tests.conftest import Cast, Person
from tests.support import factories

INVITER = {
    P.MEMBER_READ,
    P.MEMBER_INVITE,
    P.ROLE_READ,
    "file:read",
    P.USAGE_READ,
}  # viewers have these as well


async def create_role(person: Person, name: str = "Recruiter", *permissions: str) -> str:
    async with person.ctx() as ctx:
        return (await roles.create(ctx, name, "Finds people.", permissions or INVITER)).key


async def find_membership_id(person: Person, by: Person) -> str:
    async with by.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=person.email)).rows
    return row.id


async def assign_role(cast: Cast, role: str, to: Person | None = None, by: Person | None = None) -> None:
    membership_id = await find_membership_id(to or cast.max, cast.ann)
    async with (by or cast.ann).ctx() as ctx:
        await members.set_role(ctx, membership_id, role, version=None)


async def get_refusal_reason(person: Person, act: Callable[[Ctx], Awaitable[object]]) -> str:
    try:
        async with person.ctx() as ctx:
            await act(ctx)
    except DomainError as refusal:
        return refusal.reason
    return "done"


# ── what a role gives ────────────────────────────────────────────────────────────────────────────────────────────


async def test_custom_role_grants_exactly_its_permissions(cast: Cast) -> None:
    role = await create_role(cast.ann)
    await assign_role(cast, role)
    async with cast.max.ctx() as ctx:
        assert (ctx.role, ctx.role_name) == (role, "Recruiter")
        assert ctx.permissions == INVITER | REQUIRED_PERMISSIONS
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
    assert (
        await get_refusal_reason(cast.max, lambda ctx: audit_reader.list_events(ctx)) == "missing_permission"
    )
    async with cast.max.ctx() as ctx:
        assert [
            user_tenant.role.name for user_tenant in await user_tenants.list_user_tenants(cast.max.cookie)
        ] == ["Recruiter"]
        rows = (await members.list_members(ctx, role=role)).rows
    assert [row.name for row in rows] == ["Max"]


async def test_custom_roles_sort_by_name_after_the_builtin_ones(cast: Cast) -> None:
    """Their keys are ids, which sort by time of creation."""
    for name in ("Zookeeper", "auditor"):
        person = await factories.create_account(name)
        await factories.join_tenant(
            cast.ann.account, cast.ann.slug, person, await create_role(cast.ann, name)
        )
    async with cast.ann.ctx() as ctx:
        up = await members.list_members(ctx, sort="role", limit=100)
        first = await members.list_members(ctx, sort="role", limit=4)
        next_page = await members.list_members(ctx, sort="role", limit=4, after=first.next_cursor)
    assert [row.name for row in up.rows] == ["Ann", "Adam", "Max", "auditor", "Zookeeper"]
    assert [row.id for row in (*first.rows, *next_page.rows)] == [row.id for row in up.rows]


async def test_role_change_takes_effect_at_once_and_is_audited(cast: Cast) -> None:
    role = await create_role(cast.ann)
    await assign_role(cast, role)
    async with cast.ann.ctx() as ctx:
        await roles.change(ctx, role, "Greeter", "Says hello.", {P.MEMBER_READ}, version=None)
    async with cast.max.ctx() as ctx:
        assert ctx.role_name == "Greeter"
        assert ctx.permissions == {P.MEMBER_READ, *REQUIRED_PERMISSIONS}
    async with cast.ann.ctx() as ctx:
        event = (await audit_reader.list_events(ctx, limit=1)).rows[0]
    assert (event.action, event.object_id, event.details) == ("role.changed", role, {"role": "Greeter"})
    assert event.before == {
        "name": "Recruiter",
        "sentence": "Finds people.",
        "permissions": sorted({*INVITER, *REQUIRED_PERMISSIONS}),
    }
    assert event.after["permissions"] == sorted({P.MEMBER_READ, *REQUIRED_PERMISSIONS})


async def test_role_change_without_a_difference_leaves_no_event(cast: Cast) -> None:
    role = await create_role(cast.ann)
    async with cast.ann.ctx() as ctx:
        before = (await audit_reader.list_events(ctx, limit=1)).rows[0].id
        await roles.change(ctx, role, " Recruiter ", "Finds people.", INVITER, version=None)
        assert (await audit_reader.list_events(ctx, limit=1)).rows[0].id == before


# ── never more than one may ──────────────────────────────────────────────────────────────────────────────────────


async def test_role_creation_above_the_own_permissions_is_refused(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        held = ctx.permissions
    for above in set(P) - held - OWNER_ONLY_PERMISSIONS:
        assert (
            await get_refusal_reason(
                cast.adam, lambda ctx, permission=above: roles.create(ctx, "More", "", {permission})
            )
            == "missing_permission"
        ), above
    assert await get_refusal_reason(cast.adam, lambda ctx: roles.create(ctx, "As I am", "", held)) == "done"


async def test_role_above_the_own_permissions_cannot_be_changed_deleted_or_assigned(cast: Cast) -> None:
    payer = await create_role(cast.ann, "Payer", P.BILLING_READ)
    max_id = await find_membership_id(cast.max, cast.ann)
    for act in (
        lambda ctx: roles.change(ctx, payer, "Payer", "", {P.MEMBER_READ}, version=None),
        lambda ctx: roles.delete(ctx, payer),
        lambda ctx: members.set_role(ctx, max_id, payer, version=None),
        lambda ctx: invitations.invite(ctx, "zoe@acme.test", payer),
    ):
        assert await get_refusal_reason(cast.adam, act) == "missing_permission"
    await assign_role(cast, payer)
    for act in (
        lambda ctx: members.set_role(ctx, max_id, "viewer", version=None),
        lambda ctx: members.remove(ctx, max_id),
    ):
        assert await get_refusal_reason(cast.adam, act) == "missing_permission"


async def test_role_holder_cannot_extend_their_own_role(cast: Cast) -> None:
    editor = await create_role(cast.ann, "Editor", P.ROLE_READ, P.ROLE_WRITE)
    await assign_role(cast, editor)
    wider = {P.ROLE_READ, P.ROLE_WRITE, P.MEMBER_WRITE}
    for act in (
        lambda ctx: roles.change(ctx, editor, "Editor", "", wider, version=None),
        lambda ctx: roles.create(ctx, "Helper", "", wider),
    ):
        assert await get_refusal_reason(cast.max, act) == "missing_permission"
    assert (
        await get_refusal_reason(cast.max, lambda ctx: roles.create(ctx, "Reader", "", {P.ROLE_READ}))
        == "done"
    )


async def test_ownership_transfer_is_refused_as_permission_of_a_role(cast: Cast) -> None:
    with pytest.raises(Invalid, match="Only owners"):
        await create_role(cast.ann, "Heir", P.OWNER_TRANSFER)
    role = await create_role(cast.ann)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid, match="Only owners"):
            await roles.change(ctx, role, "Heir", "", {P.OWNER_TRANSFER}, version=None)


async def test_role_with_an_unknown_permission_is_refused(cast: Cast) -> None:
    for unknown in ("operator:tenant:read", "member:*", "", "MEMBER_READ"):
        with pytest.raises(Invalid, match="no such permission"):
            await create_role(cast.ann, "Odd", unknown)


async def test_role_changes_are_refused_for_a_member(cast: Cast) -> None:
    role = await create_role(cast.ann)
    for act in (
        lambda ctx: roles.create(ctx, "Mine", "", set()),
        lambda ctx: roles.change(ctx, role, "Mine", "", set(), version=None),
        lambda ctx: roles.delete(ctx, role),
    ):
        assert await get_refusal_reason(cast.max, act) == "missing_permission"


async def test_role_of_another_tenant_gets_the_answer_for_an_unknown_role(cast: Cast) -> None:
    foreign_role, unknown = await create_role(cast.gil, "Theirs"), "rol_unknown"
    max_id = await find_membership_id(cast.max, cast.ann)

    async def collect_refusals(act: Callable[[Ctx, str], Awaitable[object]]) -> list[str]:
        results = []
        for role in (foreign_role, unknown):
            with pytest.raises(DomainError) as caught:
                async with cast.ann.ctx() as ctx:
                    await act(ctx, role)
            results.append(f"{type(caught.value).__name__} {caught.value.detail} {caught.value.next_step}")
        return results

    for act in (
        lambda ctx, role: roles.change(ctx, role, "Ours", "", set(), version=None),
        lambda ctx, role: roles.delete(ctx, role),
        lambda ctx, role: members.set_role(ctx, max_id, role, version=None),
        lambda ctx, role: invitations.invite(ctx, "zoe@acme.test", role),
    ):
        foreign_message, other = await collect_refusals(act)
        assert foreign_message == other
    async with cast.gil.ctx() as ctx:
        assert (await roles.get(ctx, foreign_role)) is not None


@pytest.mark.parametrize("key", ["admin", "owner", "viewer"])
async def test_builtin_role_cannot_be_changed_or_deleted(cast: Cast, key: str) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(NotFound):
            await roles.change(ctx, key, "Mine", "", set(), version=None)
        with pytest.raises(NotFound):
            await roles.delete(ctx, key)


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["Owner", "  ADMIN ", "viewer", "recruiter", " RECRUITER"])
async def test_role_name_is_refused_when_taken_in_any_case(cast: Cast, name: str) -> None:
    await create_role(cast.ann)
    with pytest.raises(Conflict, match="already"):
        await create_role(cast.ann, name)
    other = await create_role(cast.ann, "Other")
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Conflict, match="already"):
            await roles.change(ctx, other, name, "", set(), version=None)


@pytest.mark.parametrize("name", ["Оwner", "Admın", "V1ewer", "Ａｄｍｉｎ"])
async def test_role_name_that_looks_like_a_builtin_one_is_refused(cast: Cast, name: str) -> None:
    with pytest.raises(Conflict, match="looks like the built-in role"):
        await create_role(cast.ann, name)


async def test_role_name_is_free_after_deletion_and_in_other_tenants(cast: Cast) -> None:
    role = await create_role(cast.ann)
    await create_role(cast.gil)
    async with cast.ann.ctx() as ctx:
        await roles.delete(ctx, role)
    assert await create_role(cast.ann) != role


@pytest.mark.parametrize("name", ["", "   ", "x" * 61, "bell\a", "\u2028x\ud800", "Owner\u200b", "\u200b"])
async def test_role_with_an_invalid_name_is_refused(cast: Cast, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        await create_role(cast.ann, name)
    assert "name" in caught.value.fields


# ── plan, limit, downgrade ───────────────────────────────────────────────────────────────────────────────────────


async def test_role_creation_is_refused_without_the_feature(cast: Cast) -> None:
    await cast.gil.gets("starter")
    with pytest.raises(Refused, match="not_in_plan"):
        await create_role(cast.gil)


async def test_role_after_a_downgrade_works_but_cannot_be_changed(cast: Cast) -> None:
    kept, gone = await create_role(cast.ann), await create_role(cast.ann, "Unused")
    await assign_role(cast, kept)
    await cast.ann.gets("starter")
    async with cast.max.ctx() as ctx:
        assert ctx.permissions >= INVITER
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
    for act in (
        lambda ctx: roles.create(ctx, "New", "", set()),
        lambda ctx: roles.change(ctx, kept, "New", "", set(), version=None),
    ):
        assert await get_refusal_reason(cast.ann, act) == "not_in_plan"
    assert await get_refusal_reason(cast.ann, lambda ctx: roles.delete(ctx, gone)) == "done"
    await assign_role(cast, kept, cast.adam)  # and may be given still


async def test_concurrent_creations_share_no_last_role(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await assignments.override_limit(ctx, "roles", 1, "Test", ends_at=now().replace(year=2090))
    barrier = asyncio.Barrier(2)

    async def attempt_creation(person: Person, name: str) -> str:
        async def wait_and_create(ctx: Ctx) -> None:
            await barrier.wait()
            await roles.create(ctx, name, "", {P.MEMBER_READ})

        return await get_refusal_reason(person, wait_and_create)

    results = await asyncio.gather(attempt_creation(cast.ann, "One"), attempt_creation(cast.adam, "Two"))
    assert sorted(results) == ["done", "limit_reached"]


# ── a role that somebody needs stays ─────────────────────────────────────────────────────────────────────────────


async def test_role_in_use_cannot_be_deleted_and_names_the_number(cast: Cast) -> None:
    role = await create_role(cast.ann)
    await assign_role(cast, role)
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", role)
    with pytest.raises(Refused, match="object_state") as caught:
        async with cast.ann.ctx() as ctx:
            await roles.delete(ctx, role)
    assert caught.value.detail == "Assigned to 1 member, 1 pending invitation."

    max_id = await find_membership_id(cast.max, cast.ann)
    async with cast.ann.ctx() as ctx:
        await members.deactivate(ctx, max_id)
        (invitation,) = await invitations.list_pending(ctx)
        await invitations.revoke(ctx, invitation.id)
    with pytest.raises(Refused, match="Assigned to 1 member") as caught:  # who is deactivated may come back
        async with cast.ann.ctx() as ctx:
            await roles.delete(ctx, role)
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, max_id)
        await roles.delete(ctx, role)
        assert role not in {role.key for role in await roles.list_roles(ctx)}
        assert (await audit_reader.list_events(ctx, limit=1)).rows[0].action == "role.deleted"


async def test_deleted_role_cannot_be_assigned_or_deleted_again(cast: Cast) -> None:
    role = await create_role(cast.ann)
    async with cast.ann.ctx() as ctx:
        await roles.delete(ctx, role)
    max_id = await find_membership_id(cast.max, cast.ann)
    for act, expected in (
        (lambda ctx: members.set_role(ctx, max_id, role, version=None), "missing_permission"),
        (lambda ctx: invitations.invite(ctx, "zoe@acme.test", role), "missing_permission"),
        (lambda ctx: roles.change(ctx, role, "Again", "", set(), version=None), "not_found"),
        (lambda ctx: roles.delete(ctx, role), "not_found"),
    ):
        assert await get_refusal_reason(cast.ann, act) == expected


async def test_expired_invitation_does_not_block_role_deletion_and_cannot_be_resent(
    cast: Cast,
) -> None:
    role = await create_role(cast.ann)
    async with cast.ann.ctx() as ctx:
        invitation = await invitations.invite(ctx, "zoe@acme.test", role)
        invitation.expires_at = now()
        ctx.session.add(invitation)
    async with cast.ann.ctx() as ctx:
        await roles.delete(ctx, role)
    with pytest.raises(Conflict, match="role of this invitation"):
        async with cast.ann.ctx() as ctx:
            await invitations.resend(ctx, invitation.id)


@pytest.mark.parametrize("give_by", ["set_role", "invite"])
async def test_role_is_never_deleted_while_it_is_assigned_concurrently(cast: Cast, give_by: str) -> None:
    """Either the role is assigned and stays, or it is deleted and not assigned."""
    max_id = await find_membership_id(cast.max, cast.ann)
    for round_ in range(4):
        role, barrier = await create_role(cast.ann, f"Role {round_}"), asyncio.Barrier(2)

        async def wait_and_assign(ctx: Ctx, role: str = role, barrier: asyncio.Barrier = barrier) -> None:
            await barrier.wait()
            if give_by == "set_role":
                await members.set_role(ctx, max_id, role, version=None)
            else:
                await invitations.invite(ctx, f"{role[-8:]}@acme.test", role)

        async def wait_and_delete(ctx: Ctx, role: str = role, barrier: asyncio.Barrier = barrier) -> None:
            await barrier.wait()
            await roles.delete(ctx, role)

        results = await asyncio.gather(
            get_refusal_reason(cast.adam, wait_and_assign), get_refusal_reason(cast.ann, wait_and_delete)
        )
        assert tuple(results) in {("done", "object_state"), ("missing_permission", "done")}


async def test_invite_is_refused_when_the_inviters_role_was_cut_meanwhile(cast: Cast) -> None:
    """Max has entered with the permission to invite; Ann removes it from his role before he continues."""
    role = await create_role(cast.ann)
    await assign_role(cast, role)
    inside, cut = asyncio.Event(), asyncio.Event()

    async def act_late(ctx: Ctx) -> None:
        inside.set()
        await cut.wait()
        await invitations.invite(ctx, "zoe@acme.test", "viewer")

    async def change_role_first() -> None:
        await inside.wait()
        async with cast.ann.ctx() as ctx:
            await roles.change(ctx, role, "Recruiter", "", {P.MEMBER_READ}, version=None)
        cut.set()

    refused, _ = await asyncio.gather(get_refusal_reason(cast.max, act_late), change_role_first())
    assert refused == "missing_permission"


async def test_role_extended_meanwhile_is_not_assigned_by_an_admin(cast: Cast) -> None:
    """Adam may assign the role as it was when he chose it, not as it has become."""
    role, max_id = await create_role(cast.ann), await find_membership_id(cast.max, cast.ann)
    inside, grown = asyncio.Event(), asyncio.Event()

    async def act_late(ctx: Ctx) -> None:
        kept = await role_repository.get_role(
            ctx, role
        )  # as long as somebody has it, the session answers with it
        assert kept is not None
        inside.set()
        await grown.wait()
        await members.set_role(ctx, max_id, role, version=None)

    async def change_role_first() -> None:
        await inside.wait()
        async with cast.ann.ctx() as ctx:
            await roles.change(ctx, role, "Recruiter", "", {P.BILLING_WRITE}, version=None)
        grown.set()

    refused, _ = await asyncio.gather(get_refusal_reason(cast.adam, act_late), change_role_first())
    assert refused == "missing_permission"


async def test_role_usage_counts_members_and_invitations(cast: Cast) -> None:
    role = await create_role(cast.ann)
    await assign_role(cast, role)
    async with cast.max.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
        usages = {
            usage.role.key: (usage.members, usage.pending_invitations)
            for usage in await roles.list_role_usage(ctx)
        }
    assert usages == dict.fromkeys(ROLES, (0, 0)) | {
        "owner": (1, 0),
        "admin": (1, 0),
        "viewer": (0, 1),
        role: (1, 0),
    }
