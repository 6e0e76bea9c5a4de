"""Members: lists, role changes, last owner, seats and concurrent changes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import combinations_with_replacement

import pytest

from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, DomainError, Invalid, NotFound, Refused
from shared.core.paging import Page, encode_cursor
from shared.jobs.mail import build_message
from shared.tenancy import audit_reader, entry, invitations, members, notifications
from shared.tenancy.models import Membership
from tests.conftest import Cast, Person
from tests.support import factories

SORTS = ("name", "role", "seen_at", "created_at")
# Python and the database put some of these into lower case differently, or order them by other rules.
NAMES = (
    "ada",
    "Ada",
    "Åse",
    "İpek",
    "ẞtraß",
    "Zoë",
    "ǅuro",
    "élan",
    "Σίσυφος",
    "山田",
    "🚀 Ro",
    "A_b",
    "A-b",
    "Ωmega",
)


async def find_membership_id(cast: Cast, person: Person) -> str:
    async with cast.ann.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=person.email)).rows
    return row.id


async def create_crowd(cast: Cast) -> None:
    """Memberships stored directly in one transaction; joining is tested elsewhere."""
    accounts = [await factories.create_account("Crowd") for _ in NAMES]
    async with db.transaction(tenant_id=cast.acme) as session:
        for place, (name, account) in enumerate(zip(NAMES, accounts, strict=True)):
            account.user.name = name
            session.add(account.user)
            session.add(
                Membership(
                    tenant_id=cast.acme,
                    user_id=account.user.id,
                    role=("viewer", "member", "billing")[place % 3],
                    seen_at=now() - timedelta(days=place // 3) if place % 4 else None,
                    created_at=now() - timedelta(days=place // 2),
                )
            )


async def create_second_owner(cast: Cast) -> Person:
    """Bob, an owner by invitation of Ann."""
    bob = await factories.create_account("Bob")
    await factories.join_tenant(cast.ann.account, cast.ann.slug, bob, "owner")
    return Person(bob, cast.ann.slug)


async def attempt_change(
    person: Person, act: Callable[[Ctx], Awaitable[None]], barrier: asyncio.Barrier
) -> str:
    """Returns "done" or the reason of the refusal. Both have entered before either acts."""
    try:
        async with person.ctx() as ctx:
            await barrier.wait()
            await act(ctx)
    except DomainError as refusal:
        return refusal.reason
    return "done"


async def list_owner_emails(person: Person) -> set[str]:
    async with person.ctx() as ctx:
        rows = (await members.list_members(ctx, role="owner")).rows
    return {row.email for row in rows if row.state == "active"}


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_members_of_the_own_tenant_are_listed(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        page = await members.list_members(ctx)
    assert [(row.name, row.role) for row in page.rows] == [
        ("Adam", "admin"),
        ("Ann", "owner"),
        ("Max", "member"),
    ]
    async with cast.gil.ctx() as ctx:
        assert [row.email for row in (await members.list_members(ctx)).rows] == [cast.gil.email]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", SORTS)
async def test_pages_of_members_add_up_to_the_whole_list_in_order(
    cast: Cast, sort: str, descending: bool
) -> None:
    await create_crowd(cast)
    async with cast.max.ctx() as ctx:
        whole = await members.list_members(ctx, sort=sort, descending=descending, limit=100)
        pieces, after = [], ""
        for _ in range(len(NAMES) + 4):
            page = await members.list_members(ctx, sort=sort, descending=descending, after=after, limit=3)
            pieces += [row.id for row in page.rows]
            after = page.next_cursor
            if not after:
                break
    assert len(whole.rows) == len(NAMES) + 3
    assert pieces == [row.id for row in whole.rows]


async def test_descending_list_is_the_reverse_of_the_ascending_one(cast: Cast) -> None:
    await create_crowd(cast)
    async with cast.max.ctx() as ctx:
        for sort in SORTS:
            up = [row.id for row in (await members.list_members(ctx, sort=sort, limit=100)).rows]
            down = await members.list_members(ctx, sort=sort, descending=True, limit=100)
            assert [row.id for row in down.rows] == up[::-1]


async def test_members_sorted_by_role_start_with_the_owner(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        page = await members.list_members(ctx, sort="role")
    assert [row.role for row in page.rows] == ["owner", "admin", "member"]


async def test_search_matches_names_and_addresses_literally(cast: Cast) -> None:
    await create_crowd(cast)
    async with cast.max.ctx() as ctx:

        async def search_names(query: str) -> list[str]:
            return [row.name for row in (await members.list_members(ctx, query=query)).rows]

        assert await search_names("  ANN ") == ["Ann"]
        assert await search_names(cast.adam.email.upper()) == ["Adam"]
        assert await search_names("a_b") == ["A_b"]
        assert await search_names("%") == []


async def test_members_are_filtered_by_role(cast: Cast) -> None:
    await create_crowd(cast)
    async with cast.max.ctx() as ctx:
        page = await members.list_members(ctx, role="billing", limit=2)
        next_page = await members.list_members(ctx, role="billing", limit=100, after=page.next_cursor)
    assert {row.role for row in (*page.rows, *next_page.rows)} == {"billing"}
    assert len(page.rows) + len(next_page.rows) == len(NAMES[2::3])


@pytest.mark.parametrize(
    "after",
    [
        "x",
        "mem_unknown",
        "[1e999, 1]",
        '["a"]',
        '["a", 1]',
        "[" * 3000,
        '["a", "\x00"]',
        "\ud800",
    ],
)
async def test_list_with_an_invalid_cursor_is_refused(cast: Cast, after: str) -> None:
    for sort in SORTS:
        with pytest.raises(Invalid):
            async with cast.max.ctx() as ctx:
                await members.list_members(ctx, sort=sort, after=after)


async def test_list_behind_a_cursor_of_another_tenant_shows_the_own_rows(cast: Cast) -> None:
    async with cast.gil.ctx() as ctx:
        (gil,) = (await members.list_members(ctx)).rows
    async with cast.max.ctx() as ctx:
        page = await members.list_members(ctx, after=encode_cursor("b", gil.id))
    assert [row.name for row in page.rows] == ["Max"]


async def test_second_page_does_not_repeat_rows_when_the_last_row_moves(cast: Cast) -> None:
    """The cursor holds the value: the row that it was made of may get another one, or go."""
    await create_crowd(cast)

    async def list_page(after: str) -> Page[members.Member]:
        async with cast.ann.ctx() as ctx:
            return await members.list_members(ctx, sort="seen_at", descending=True, after=after, limit=4)

    first = await list_page("")
    last = first.rows[-1].id
    async with db.transaction(tenant_id=cast.acme) as session:
        membership = await session.get(Membership, (cast.acme, last))
        assert membership is not None
        membership.seen_at = now()
    second = await list_page(first.next_cursor)
    assert not {row.id for row in first.rows} & {row.id for row in second.rows}
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, last)
    assert await list_page(first.next_cursor) == second


@pytest.mark.parametrize(
    ("query", "name"),
    [("İpek", "İpek"), ("i̇pek", "İpek"), ("ZOE\u0308", "Zoë"), ("σίσυφος", "Σίσυφος")],
    ids=["as written", "in lower case", "decomposed", "another alphabet"],
)
async def test_name_is_found_in_every_spelling(cast: Cast, query: str, name: str) -> None:
    await create_crowd(cast)
    async with cast.max.ctx() as ctx:
        assert [row.name for row in (await members.list_members(ctx, query=query)).rows] == [name]


async def test_list_sorted_by_an_unknown_column_is_refused(cast: Cast) -> None:
    async with cast.max.ctx() as ctx:
        with pytest.raises(Invalid, match="can’t be sorted"):
            await members.list_members(ctx, sort="password")


# ── roles ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_role_change_takes_effect_at_once_and_is_audited(cast: Cast) -> None:
    max_id = await find_membership_id(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        await members.set_role(ctx, max_id, "viewer", version=None)
    async with cast.max.ctx() as ctx:
        assert ctx.role == "viewer"
    async with cast.ann.ctx() as ctx:
        event = (await audit_reader.list_events(ctx, limit=1)).rows[0]
    assert (event.action, event.object_id) == ("membership.role_changed", max_id)
    assert (event.before, event.after) == ({"role": "member"}, {"role": "viewer"})
    assert (event.actor_id, event.actor_name, event.details["member"]) == (cast.adam.user_id, "Adam", "Max")


async def test_role_change_to_the_same_role_leaves_no_event(cast: Cast) -> None:
    max_id = await find_membership_id(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        before = (await audit_reader.list_events(ctx, limit=1)).rows[0].id
        await members.set_role(ctx, max_id, "member", version=None)
        assert (await audit_reader.list_events(ctx, limit=1)).rows[0].id == before


@pytest.mark.parametrize(
    ("member_name", "role"), [("ann", "member"), ("max", "owner"), ("max", "billing"), ("max", "king")]
)
async def test_role_change_by_an_admin_is_refused_above_their_permissions(
    cast: Cast, member_name: str, role: str
) -> None:
    target = await find_membership_id(cast, getattr(cast, member_name))
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.adam.ctx() as ctx:
            await members.set_role(ctx, target, role, version=None)


VERBS: dict[str, Callable[[Ctx, str], Awaitable[None]]] = {
    "set_role": lambda ctx, membership_id: members.set_role(ctx, membership_id, "viewer", version=None),
    "deactivate": members.deactivate,
    "reactivate": members.reactivate,
    "remove": members.remove,
    "transfer": lambda ctx, membership_id: members.transfer_ownership(ctx, membership_id, ctx.tenant_name),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_member_changes_are_refused_for_a_member(cast: Cast, verb: str) -> None:
    target = await find_membership_id(cast, cast.adam)
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.max.ctx() as ctx:
            await VERBS[verb](ctx, target)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "transfer"])
async def test_member_changes_of_an_owner_are_refused_for_an_admin(cast: Cast, verb: str) -> None:
    target = await find_membership_id(cast, cast.ann)
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.adam.ctx() as ctx:
            await VERBS[verb](ctx, target)


@pytest.mark.parametrize("verb", VERBS)
async def test_member_changes_of_another_tenant_are_not_found(cast: Cast, verb: str) -> None:
    stranger = await find_membership_id(cast, cast.adam)
    messages = []
    for target in (stranger, "mem_unknown"):
        with pytest.raises(NotFound) as caught:
            async with cast.gil.ctx() as ctx:
                await VERBS[verb](ctx, target)
        messages.append(caught.value.problem_details("req_x"))
    assert messages[0] == messages[1]


async def test_owner_role_cannot_be_assigned(cast: Cast) -> None:
    target = await find_membership_id(cast, cast.max)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid, match="assigned as a role"):
            await members.set_role(ctx, target, "owner", version=None)


# ── the last owner ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", ["set_role", "deactivate", "remove"])
async def test_last_owner_cannot_be_removed_or_demoted(cast: Cast, verb: str) -> None:
    target = await find_membership_id(cast, cast.ann)
    with pytest.raises(Conflict, match="last_owner"):
        async with cast.ann.ctx() as ctx:
            await VERBS[verb](ctx, target)


@pytest.mark.parametrize(
    ("first", "second"), list(combinations_with_replacement(["set_role", "deactivate", "remove"], 2))
)
@pytest.mark.parametrize("themselves", [True, False])
async def test_one_owner_remains_when_two_leave_at_once(
    cast: Cast, first: str, second: str, themselves: bool
) -> None:
    """Each ends their own ownership, or the other's. In the second case the later one is no longer an owner."""
    bob = await create_second_owner(cast)
    ids = [await find_membership_id(cast, cast.ann), await find_membership_id(cast, bob)]
    barrier = asyncio.Barrier(2)
    targets = ids if themselves else ids[::-1]
    results = await asyncio.gather(
        attempt_change(cast.ann, lambda ctx: VERBS[first](ctx, targets[0]), barrier),
        attempt_change(bob, lambda ctx: VERBS[second](ctx, targets[1]), barrier),
    )
    assert sorted(results) == ["done", "last_owner" if themselves else "missing_permission"]
    assert len(await list_owner_emails(cast.max)) == 1


@pytest.mark.parametrize("verb", ["deactivate", "remove"])
async def test_one_admin_remains_when_two_remove_each_other(cast: Cast, verb: str) -> None:
    bea = await factories.create_account("Bea")
    await factories.join_tenant(cast.ann.account, cast.ann.slug, bea, "admin")
    other = Person(bea, cast.ann.slug)
    adam, beas = await find_membership_id(cast, cast.adam), await find_membership_id(cast, other)
    barrier = asyncio.Barrier(2)
    results = await asyncio.gather(
        attempt_change(cast.adam, lambda ctx: VERBS[verb](ctx, beas), barrier),
        attempt_change(other, lambda ctx: VERBS[verb](ctx, adam), barrier),
    )
    assert sorted(results) == ["done", "missing_permission"]


async def test_invite_is_refused_for_an_admin_removed_meanwhile(cast: Cast) -> None:
    adam = await find_membership_id(cast, cast.adam)
    inside, gone = asyncio.Event(), asyncio.Event()

    async def invite() -> str:
        try:
            async with cast.adam.ctx() as ctx:
                inside.set()
                await gone.wait()
                await invitations.invite(ctx, "friend@adam.test", "admin")
        except DomainError as refusal:
            return refusal.reason
        return "done"

    inviting = asyncio.create_task(invite())
    await inside.wait()
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, adam)
    gone.set()
    assert await inviting == "missing_permission"


async def test_owner_remains_when_one_transfers_and_one_leaves(cast: Cast) -> None:
    bob = await create_second_owner(cast)
    adam, bobs = await find_membership_id(cast, cast.adam), await find_membership_id(cast, bob)
    barrier = asyncio.Barrier(2)
    results = await asyncio.gather(
        attempt_change(cast.ann, lambda ctx: members.transfer_ownership(ctx, adam, "Acme"), barrier),
        attempt_change(bob, lambda ctx: members.set_role(ctx, bobs, "member", version=None), barrier),
    )
    assert results == ["done", "done"]
    assert await list_owner_emails(cast.max) == {cast.adam.email}


# ── handing over ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_ownership_transfer_requires_the_tenant_name(cast: Cast) -> None:
    adam = await find_membership_id(cast, cast.adam)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid, match="doesn’t match"):
            await members.transfer_ownership(ctx, adam, "acme")
        await members.transfer_ownership(ctx, adam, " Acme ")
    async with cast.adam.ctx() as ctx:
        assert ctx.role == "owner"
        event = (await audit_reader.list_events(ctx, limit=1)).rows[0]
        assert event.action == "ownership.transferred"
        assert (event.before, event.after) == (
            {"owner": "Ann", "role": "admin"},
            {"owner": "Adam", "role": "owner"},
        )
    async with cast.ann.ctx() as ctx:
        assert ctx.role == "admin"


async def test_ownership_transfer_requires_another_active_member(cast: Cast) -> None:
    ann, max_ = await find_membership_id(cast, cast.ann), await find_membership_id(cast, cast.max)
    async with cast.ann.ctx() as ctx:
        await members.deactivate(ctx, max_)
    for heir in (ann, max_):
        with pytest.raises(Conflict, match="another active member"):
            async with cast.ann.ctx() as ctx:
                await members.transfer_ownership(ctx, heir, "Acme")


async def test_concurrent_ownership_transfers_succeed_once(cast: Cast) -> None:
    """The second waited with the permissions of an owner and has lost them when it continues."""
    adam, max_ = await find_membership_id(cast, cast.adam), await find_membership_id(cast, cast.max)
    barrier = asyncio.Barrier(2)
    results = await asyncio.gather(
        *(
            attempt_change(
                cast.ann, lambda ctx, heir=heir: members.transfer_ownership(ctx, heir, "Acme"), barrier
            )
            for heir in (adam, max_)
        )
    )
    assert sorted(results) == ["done", "missing_permission"]
    assert len(await list_owner_emails(cast.ann)) == 1


# ── leaving and coming back ──────────────────────────────────────────────────────────────────────────────────────


async def test_deactivated_member_is_locked_out_until_reactivated(cast: Cast) -> None:
    max_ = await find_membership_id(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        await members.deactivate(ctx, max_)
        await members.deactivate(ctx, max_)  # twice is once
    with pytest.raises(Refused, match="Your access to Acme was deactivated by Adam on"):
        async with cast.max.ctx():
            pytest.fail("got in")
    async with cast.adam.ctx() as ctx:
        await members.reactivate(ctx, max_)
        await members.reactivate(ctx, max_)
        actions = [event.action for event in (await audit_reader.list_events(ctx, limit=2)).rows]
    assert actions == ["membership.reactivated", "membership.deactivated"]
    async with cast.max.ctx() as ctx:
        assert ctx.role == "member"


async def test_removed_member_leaves_the_list_and_cannot_be_reactivated(cast: Cast) -> None:
    max_ = await find_membership_id(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        await members.remove(ctx, max_)
        assert cast.max.email not in [row.email for row in (await members.list_members(ctx)).rows]
    for verb in ("reactivate", "deactivate", "remove", "set_role"):
        with pytest.raises(NotFound, match="no longer a member"):
            async with cast.adam.ctx() as ctx:
                await VERBS[verb](ctx, max_)
    with pytest.raises(Refused, match="Your access to Acme was removed by Adam on"):
        async with cast.max.ctx():
            pytest.fail("got in")


async def test_departure_is_announced_once_by_mail(cast: Cast) -> None:
    max_ = await find_membership_id(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        await members.deactivate(ctx, max_)
    async with db.transaction() as session:
        connection = await session.connection()
        rows = await connection.exec_driver_sql(
            "select args->>'membership_id' from procrastinate_jobs where task_name = 'tenancy.send_access_ended'"
            " and args->>'tenant_id' = %s",
            (cast.acme,),
        )
        assert rows.scalars().all() == [max_]


# ── seats: five in the free plan, of which Acme uses three ───────────────────────────────────────────────────────


async def test_seats_count_active_members_and_pending_invitations(cast: Cast) -> None:
    max_ = await find_membership_id(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        assert await members.count_seats(ctx) == 3
        await invitations.invite(ctx, "zoe@acme.test", "member")
        assert await members.count_seats(ctx) == 4
        await members.deactivate(ctx, max_)
        assert await members.count_seats(ctx) == 3


async def test_reactivation_is_refused_when_no_seat_is_left(cast: Cast) -> None:
    await cast.ann.gets("free")
    max_ = await find_membership_id(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        await members.deactivate(ctx, max_)
        for name in ("yan", "zoe", "xia"):
            await invitations.invite(ctx, f"{name}@acme.test", "viewer")
    with pytest.raises(Refused, match="limit_reached") as caught:
        async with cast.adam.ctx() as ctx:
            await members.reactivate(ctx, max_)
    assert "All 5 seats are in use." in caught.value.detail


async def test_concurrent_invitation_and_reactivation_share_no_last_seat(cast: Cast) -> None:
    await cast.ann.gets("free")
    max_ = await find_membership_id(cast, cast.max)
    async with cast.adam.ctx() as ctx:
        await members.deactivate(ctx, max_)
        for name in ("yan", "zoe"):
            await invitations.invite(ctx, f"{name}@acme.test", "viewer")

    async def invite(ctx: Ctx) -> None:
        await invitations.invite(ctx, "last@acme.test", "viewer")

    barrier = asyncio.Barrier(2)
    results = await asyncio.gather(
        attempt_change(cast.ann, invite, barrier),
        attempt_change(cast.adam, lambda ctx: members.reactivate(ctx, max_), barrier),
    )
    assert sorted(results) == ["done", "limit_reached"]
    async with cast.ann.ctx() as ctx:
        assert await members.count_seats(ctx) == 5


async def test_demoted_admin_cannot_remove_members(cast: Cast) -> None:
    """Permissions are read when the transaction begins, so the next transaction has the new ones."""
    adam, max_ = await find_membership_id(cast, cast.adam), await find_membership_id(cast, cast.max)
    async with cast.ann.ctx() as ctx:
        await members.set_role(ctx, adam, "member", version=None)
    with pytest.raises(Refused):
        async with entry.enter_tenant(cast.adam.cookie, cast.adam.slug) as ctx:
            await members.remove(ctx, max_)


async def test_role_reduction_is_allowed_while_billing_is_read_only(cast: Cast) -> None:
    """Otherwise a role in use could not be deleted while nothing else may change."""
    max_ = await find_membership_id(cast, cast.max)
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, cast.acme, "read_only", state_reason(octx, "Did not pay", tenant_id=cast.acme)
        )
    async with cast.ann.ctx() as ctx:
        await members.set_role(ctx, max_, "viewer", version=None)
    with pytest.raises(Refused, match="billing_read_only"):
        async with cast.ann.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")


async def leave(person: Person) -> None:
    async with person.ctx() as ctx:
        await members.leave(ctx, await members.get_own_membership_id(ctx))


async def test_leave_ends_the_access_of_the_member_and_says_so(cast: Cast) -> None:
    await leave(cast.max)
    with pytest.raises(Refused) as refusal:
        await leave(cast.max)
    assert refusal.value.reason == "membership_ended"
    assert refusal.value.detail.startswith("You left Acme on ")
    async with cast.ann.ctx() as ctx:
        (event,) = [
            event for event in (await audit_reader.list_events(ctx)).rows if event.action == "membership.left"
        ]
        assert (event.actor_id, event.after) == (cast.max.user_id, {"state": "removed"})
        assert next(row.title for row in await notifications.list_my_notifications(ctx)) == "Max left Acme"


async def test_leave_is_refused_to_the_last_owner_with_the_next_step(cast: Cast) -> None:
    with pytest.raises(Conflict) as refusal:
        await leave(cast.ann)
    assert refusal.value.reason == "last_owner"
    assert "Transfer ownership" in refusal.value.next_step
    async with cast.ann.ctx() as ctx:
        await members.get_own_membership_id(ctx)  # still a member


async def test_leave_is_refused_for_the_confirmation_of_another_membership(cast: Cast) -> None:
    other = await find_membership_id(cast, cast.adam)
    with pytest.raises(Invalid):
        async with cast.max.ctx() as ctx:
            await members.leave(ctx, other)
    async with cast.max.ctx():
        pass


async def test_leave_ends_the_invitations_that_the_member_sent(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await invitations.invite(ctx, "zoe@harbour.test", "member")
    await leave(cast.adam)
    async with cast.ann.ctx() as ctx:
        assert await invitations.list_pending(ctx) == []


async def test_leave_frees_the_seat_and_a_new_invitation_lets_the_person_return(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        seats_before = await members.count_seats(ctx)
    await leave(cast.max)
    async with cast.ann.ctx() as ctx:
        assert await members.count_seats(ctx) == seats_before - 1
    await factories.join_tenant(cast.ann.account, cast.ann.slug, cast.max.account, "viewer")
    async with cast.max.ctx() as ctx:
        assert ctx.role == "viewer"
    membership_id = await find_membership_id(cast, cast.max)
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, membership_id)
    with pytest.raises(Refused, match="was removed by Ann"):
        async with cast.max.ctx():
            pass


async def test_mail_after_leaving_says_that_the_person_left(cast: Cast) -> None:
    membership_id = await find_membership_id(cast, cast.max)
    await leave(cast.max)
    async with entry.enter_job(cast.acme, members.ACCESS_ENDED_TASK, "req_1") as ctx:
        email = await members.build_access_ended_mail(ctx, membership_id)
    assert email is not None
    assert "You left Acme" in build_message(email).as_string()


async def test_leaving_does_not_replace_an_end_that_was_first(cast: Cast) -> None:
    """The person was admitted before an admin deactivated them, which can be undone."""
    max_id = await find_membership_id(cast, cast.max)
    async with cast.max.ctx() as ctx:
        async with cast.adam.ctx() as other:
            await members.deactivate(other, max_id)
        with pytest.raises(Refused, match="missing_permission"):
            await members.leave(ctx, max_id)
    async with cast.adam.ctx() as ctx:
        await members.reactivate(ctx, max_id)
