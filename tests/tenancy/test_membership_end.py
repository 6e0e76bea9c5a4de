"""What somebody promised, and what was promised to them, ends with the membership or the permission."""

import pytest

from shared.access.permissions import Permission as P  # noqa: N817  as in the table of roles
from shared.access.roles import REQUIRED_PERMISSIONS
from shared.core import db
from shared.core.errors import Refused
from shared.identity import users
from shared.tenancy import audit_reader, entry, invitation_repository, invitations, members, roles
from shared.tenancy.models import Invitation, InvitationStatus
from tests.conftest import Cast, Person
from tests.support import factories

INVITER = {P.MEMBER_READ, P.MEMBER_INVITE, P.ROLE_READ}


async def invite(inviter: Person, email: str, role: str = "viewer") -> Invitation:
    async with inviter.ctx() as ctx:
        return await invitations.invite(ctx, email, role)


def token_of(invitation: Invitation) -> str:
    return invitations.build_link(invitation).partition("token=")[2]


async def list_pending_emails(cast: Cast) -> list[str]:
    async with cast.ann.ctx() as ctx:
        return [invitation.email for invitation in await invitations.list_pending(ctx)]


async def find_membership_id(cast: Cast, person: Person) -> str:
    async with cast.ann.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=person.email)).rows
    return row.id


async def make_inviter(cast: Cast, person: Person) -> str:
    """Gives the person a custom role that may invite. Returns its key."""
    membership_id = await find_membership_id(cast, person)
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Recruiter", "Finds people.", INVITER)
        await members.set_role(ctx, membership_id, role.key, version=None)
    return role.key


async def test_removed_member_cannot_return_with_an_invitation_that_was_pending(cast: Cast) -> None:
    membership_id = await find_membership_id(cast, cast.max)
    async with cast.ann.ctx() as ctx:
        await members.deactivate(ctx, membership_id)
    first = await invite(cast.ann, cast.max.email)
    async with cast.ann.ctx() as ctx:
        await members.reactivate(ctx, membership_id)
    assert await list_pending_emails(cast) == []  # closed: this person is active again
    async with cast.ann.ctx() as ctx:
        await members.deactivate(ctx, membership_id)
    second = await invite(cast.ann, cast.max.email)
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, membership_id)
    assert await list_pending_emails(cast) == []
    for invitation in (first, second):
        with pytest.raises(Refused, match="invitation_revoked"):
            await invitations.accept(token_of(invitation), cast.max.user_id)
    with pytest.raises(Refused, match="membership_ended"):
        async with cast.max.ctx():
            pytest.fail("got in")


@pytest.mark.parametrize("end", [members.deactivate, members.remove])
async def test_end_of_a_membership_ends_the_invitations_it_sent(cast: Cast, end: object) -> None:
    zoe = await factories.create_account("Zoe")
    sent = await invite(cast.adam, zoe.user.email)
    membership_id = await find_membership_id(cast, cast.adam)
    async with cast.ann.ctx() as ctx:
        await end(ctx, membership_id)  # type: ignore[operator]
    assert await list_pending_emails(cast) == []
    async with cast.ann.ctx() as ctx:
        events = (await audit_reader.list_events(ctx, limit=2)).rows
    assert "invitation.revoked" in [event.action for event in events]
    with pytest.raises(Refused, match="invitation_revoked"):
        await invitations.accept(token_of(sent), zoe.user.id)


async def test_another_role_ends_the_invitations_that_it_may_not_send(cast: Cast) -> None:
    await invite(cast.adam, "zoe@acme.test")
    await invite(cast.ann, "kim@acme.test")
    membership_id = await find_membership_id(cast, cast.adam)
    async with cast.ann.ctx() as ctx:
        await members.set_role(ctx, membership_id, "member", version=None)
    assert await list_pending_emails(cast) == ["kim@acme.test"]


async def test_narrower_role_ends_the_invitations_above_it_only(cast: Cast) -> None:
    membership_id = await find_membership_id(cast, cast.adam)
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Recruiter", "Finds people.", INVITER)
        own = await roles.create(ctx, "Guest", "Looks.", [P.MEMBER_READ])
    await invite(cast.adam, "boss@acme.test", "admin")
    await invite(cast.adam, "guest@acme.test", own.key)
    async with cast.ann.ctx() as ctx:
        await members.set_role(ctx, membership_id, role.key, version=None)
    assert await list_pending_emails(cast) == ["guest@acme.test"]


async def test_permission_taken_from_a_role_ends_the_invitations_of_its_members(cast: Cast) -> None:
    role = await make_inviter(cast, cast.max)
    async with cast.ann.ctx() as ctx:
        guest = await roles.create(ctx, "Guest", "Looks.", [P.MEMBER_READ])
    await invite(cast.max, "zoe@acme.test", guest.key)
    async with cast.ann.ctx() as ctx:
        await roles.change(
            ctx, role, "Recruiter", "Finds people.", INVITER, version=None
        )  # takes nothing away
    assert await list_pending_emails(cast) == ["zoe@acme.test"]
    async with cast.ann.ctx() as ctx:
        await roles.change(ctx, role, "Recruiter", "Finds people.", REQUIRED_PERMISSIONS, version=None)
    assert await list_pending_emails(cast) == []


async def test_accept_asks_again_whether_the_inviter_may_invite(cast: Cast) -> None:
    """Where no hook has heard of it: the account of the inviter was disabled for the whole platform."""
    zoe = await factories.create_account("Zoe")
    sent = await invite(cast.adam, zoe.user.email)
    async with db.transaction() as session:
        await users.end_access(session, cast.adam.user_id)
    with pytest.raises(Refused, match="invitation_revoked") as caught:
        await invitations.get_offer(token_of(sent))
    assert caught.value.next_step
    with pytest.raises(Refused, match="invitation_revoked"):
        await invitations.accept(token_of(sent), zoe.user.id)
    async with cast.ann.ctx() as ctx:
        again = await invitations.resend(ctx, sent.id)  # vouches for it
    assert await invitations.accept(token_of(again), zoe.user.id) == cast.ann.slug


async def test_reactivation_needs_no_seat_besides_that_of_the_closed_invitation(cast: Cast) -> None:
    """Acme has five seats, and three members."""
    membership_id = await find_membership_id(cast, cast.max)
    async with cast.ann.ctx() as ctx:
        await members.deactivate(ctx, membership_id)
    for email in (cast.max.email, "zoe@acme.test", "kim@acme.test"):
        await invite(cast.ann, email)
    async with cast.ann.ctx() as ctx:
        await members.reactivate(ctx, membership_id)
    assert sorted(await list_pending_emails(cast)) == ["kim@acme.test", "zoe@acme.test"]
    async with entry.enter_tenant(cast.ann.cookie, cast.ann.slug) as ctx:
        closed = await invitation_repository.list_pending_invitations(ctx)
        assert all(invitation.status is InvitationStatus.PENDING for invitation in closed)
