"""Invitations: permission, events, links, limits and concurrent changes."""

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core.context import Ctx
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.rate_limits import RateLimit
from shared.tenancy import audit_reader, invitations, members
from tests.conftest import Cast, Person
from tests.support import factories
from tests.support.database import admin_url
from tests.support.http_visitor import browser

# Acme starts with three members on a plan of five seats.


async def list_pending_emails(ctx: Ctx) -> list[str]:
    return [invitation.email for invitation in await invitations.list_pending(ctx)]


async def get_last_action(ctx: Ctx) -> str:
    return (await audit_reader.list_events(ctx, limit=1)).rows[0].action


async def test_invite_normalises_the_email_and_leaves_an_event(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await invitations.invite(ctx, " Zoe@Acme.test ", "member")

    async with cast.adam.ctx() as ctx:
        assert await list_pending_emails(ctx) == ["zoe@acme.test"]
        assert await get_last_action(ctx) == "invitation.created"


async def test_invite_is_refused_for_a_member_or_an_invited_address(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "member")
        for email in ("zoe@acme.test", cast.max.email):
            with pytest.raises(Conflict, match="already a member or invited"):
                await invitations.invite(ctx, email, "member")


async def test_revoke_works_once_and_leaves_an_event(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        zoe = await invitations.invite(ctx, "zoe@acme.test", "member")
    async with cast.adam.ctx() as ctx:
        await invitations.revoke(ctx, zoe.id)

    async with cast.adam.ctx() as ctx:
        assert await list_pending_emails(ctx) == []
        assert await get_last_action(ctx) == "invitation.revoked"
        with pytest.raises(Conflict):
            await invitations.revoke(ctx, zoe.id)


async def test_revoke_of_another_tenants_invitation_is_not_found(cast: Cast) -> None:
    async with cast.adam.ctx() as ctx:
        zoe = await invitations.invite(ctx, "zoe@acme.test", "member")

    async with cast.gil.ctx() as ctx:
        assert await list_pending_emails(ctx) == []
        for unknown in (zoe.id, "inv_unknown"):
            with pytest.raises(NotFound, match="no longer exists"):
                await invitations.revoke(ctx, unknown)


@pytest.mark.parametrize(("inviter", "role"), [("max", "member"), ("adam", "owner"), ("ann", "nonsense")])
async def test_invite_is_refused_for_a_role_above_the_inviter(cast: Cast, inviter: str, role: str) -> None:
    """Refused before anything is read: the answer does not reveal that Ann is a member."""
    person: Person = getattr(cast, inviter)
    with pytest.raises(Refused, match="missing_permission"):
        async with person.ctx() as ctx:
            await invitations.invite(ctx, cast.ann.email, role)


async def test_concurrent_invitations_share_no_last_seat(cast: Cast) -> None:
    both_inside = asyncio.Barrier(2)
    await cast.ann.gets("free")

    async def invite(person: Person, email: str) -> str:
        try:
            async with person.ctx() as ctx:
                await both_inside.wait()
                await invitations.invite(ctx, email, "member")
        except Refused as refusal:
            return refusal.reason
        return "invited"

    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "fourth@acme.test", "member")
    results = await asyncio.gather(invite(cast.ann, "zoe@acme.test"), invite(cast.adam, "yan@acme.test"))
    assert sorted(results) == ["invited", "limit_reached"]


async def test_invitation_link_works_once_and_for_its_address_only(cast: Cast) -> None:
    zoe = await factories.create_account("Zoe")
    async with cast.ann.ctx() as ctx:
        link = invitations.build_link(await invitations.invite(ctx, zoe.user.email, "viewer"))
    token = link.partition("token=")[2]

    with pytest.raises(Refused, match="wrong_email"):
        await invitations.accept(token, cast.gil.user_id)
    assert await invitations.accept(token, zoe.user.id) == cast.ann.slug
    async with cast.ann.ctx() as ctx:
        assert await list_pending_emails(ctx) == []
    with pytest.raises(Conflict, match="already_accepted"):
        await invitations.accept(token, zoe.user.id)
    with pytest.raises(NotFound):
        await invitations.accept(token[:-1] + ("a" if token[-1] != "a" else "b"), zoe.user.id)


async def test_resend_invalidates_the_old_link(cast: Cast) -> None:
    zoe = await factories.create_account("Zoe")
    async with cast.ann.ctx() as ctx:
        invitation = await invitations.invite(ctx, zoe.user.email, "viewer")
        old = invitations.build_link(invitation).partition("token=")[2]
    async with cast.ann.ctx() as ctx:
        new = invitations.build_link(await invitations.resend(ctx, invitation.id)).partition("token=")[2]

    with pytest.raises(Refused, match="invitation_replaced"):
        await invitations.accept(old, zoe.user.id)
    assert await invitations.accept(new, zoe.user.id) == cast.ann.slug


async def test_resend_leaves_an_event(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        invitation = await invitations.invite(ctx, "zoe@acme.test", "viewer")
    async with cast.ann.ctx() as ctx:
        await invitations.resend(ctx, invitation.id)
    async with cast.ann.ctx() as ctx:
        (event,) = (await audit_reader.list_events(ctx, limit=1)).rows
    assert (event.action, event.object_id) == ("invitation.resent", invitation.id)


@pytest.mark.parametrize("change", [invitations.resend, invitations.revoke])
async def test_change_of_an_invitation_is_refused_for_a_member(
    cast: Cast, change: Callable[[Ctx, str], Awaitable[object]]
) -> None:
    async with cast.ann.ctx() as ctx:
        invitation = await invitations.invite(ctx, "zoe@acme.test", "viewer")
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.max.ctx() as ctx:
            await change(ctx, invitation.id)


async def test_removed_member_can_be_invited_again(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=cast.max.email)).rows
        await members.remove(ctx, row.id)
    with pytest.raises(Refused, match="Your access to Acme was removed"):
        async with cast.max.ctx():
            pytest.fail("got in")

    await factories.join_tenant(cast.ann.account, cast.ann.slug, cast.max.account, "viewer")
    async with cast.max.ctx() as ctx:
        assert ctx.role == "viewer"


@pytest.mark.parametrize(
    "email", ["", "no-at-sign", "a" * 10_000 + "@acme.test", "nul\x00@acme.test", "a b@acme.test"]
)
async def test_invite_is_refused_for_an_invalid_address(cast: Cast, email: str) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid):
            await invitations.invite(ctx, email, "member")


async def test_invitation_to_a_suspended_tenant_waits_for_its_restoration(cast: Cast) -> None:
    zoe = await factories.create_account("Zoe")
    async with cast.ann.ctx() as ctx:
        link = invitations.build_link(await invitations.invite(ctx, zoe.user.email, "member"))
    token = link.partition("token=")[2]
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, cast.acme, state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
        )
    for verb in (invitations.get_offer(token), invitations.accept(token, zoe.user.id)):
        with pytest.raises(Refused, match="is suspended, so you can’t join") as caught:
            await verb
        assert caught.value.reason == "tenant_suspended"
        assert caught.value.next_step
    page = await browser().get("/invitations/accept", params={"token": token})
    assert page.status_code == 403
    assert "is suspended, so you can’t join" in page.text
    async with cast.olga.octx() as octx:
        await tenant_directory.restore_tenant(
            octx, cast.acme, state_reason(octx, "Paid, ticket 4471", tenant_id=cast.acme)
        )
    assert await invitations.accept(token, zoe.user.id) == cast.ann.slug


async def invite_and_revoke(person: Person, email: str) -> str:
    """The reason of the refusal, "" for none."""
    async with person.ctx() as ctx:
        try:
            invitation = await invitations.invite(ctx, email, "member")
        except Refused as refusal:
            has_words = "Too many invitations" in refusal.detail and "Try again in" in refusal.next_step
            return refusal.reason if has_words else "without words"
        await invitations.revoke(ctx, invitation.id)
    return ""


async def test_address_gets_few_invitations_an_hour_from_all_tenants(cast: Cast) -> None:
    senders = [cast.ann, cast.gil, cast.ann, cast.gil]
    assert [await invite_and_revoke(person, "zoe@acme.test") for person in senders] == [
        *[""] * 3,
        "rate_limited",
    ]
    assert await invite_and_revoke(cast.ann, "yan@acme.test") == ""


async def test_resending_counts_for_the_address_too(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        invitation = await invitations.invite(ctx, "zoe@acme.test", "member")
    for _ in range(2):
        async with cast.ann.ctx() as ctx:
            await invitations.resend(ctx, invitation.id)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Refused, match="rate_limited"):
            await invitations.resend(ctx, invitation.id)


@pytest.mark.parametrize("limit", [RateLimit.INVITE_PERSON, RateLimit.INVITE_NEW_TENANT])
async def test_person_and_new_organisation_have_limits_of_their_own(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, limit: RateLimit
) -> None:
    monkeypatch.setattr(limit, "_value_", ("2/day", "invitations"))
    outcomes = [await invite_and_revoke(cast.ann, f"zoe{number}@acme.test") for number in range(3)]
    assert outcomes == ["", "", "rate_limited"]
    assert await invite_and_revoke(cast.gil, "zoe9@acme.test") == ""


async def test_organisation_older_than_a_day_has_the_ordinary_limit(
    cast: Cast, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RateLimit.INVITE_NEW_TENANT, "_value_", ("2/day", "invitations"))
    with psycopg.connect(admin_url(schema), autocommit=True) as connection:
        connection.execute(
            "update tenant set created_at = now() - interval '25 hours' where id = %s", [cast.acme]
        )
    outcomes = [await invite_and_revoke(cast.ann, f"zoe{number}@acme.test") for number in range(4)]
    assert outcomes == [""] * 4
