"""Disabling and enabling an account by operators."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from shared.audit import audit_log
from shared.backoffice import user_accounts
from shared.backoffice.reasons import state_reason
from shared.cli import users as command
from shared.core import db
from shared.core.errors import Invalid, NotFound, Refused
from shared.identity import mfa, sign_in, tokens, users
from shared.identity.realms import USER
from shared.tenancy import authentication, entry, members, naming
from tests.conftest import Cast, Person
from tests.support import factories, workers


@pytest.fixture
async def empty_queue(schema: str, cast: Cast) -> AsyncIterator[str]:
    workers.clear_queue(schema)
    yield schema
    workers.clear_queue(schema)


async def knows_password(person: Person) -> bool:
    return await sign_in.check_password(USER, person.email, factories.PASSWORD) is not None


async def test_disabled_account_is_signed_out_and_cannot_sign_in_by_any_way(
    cast: Cast, empty_queue: str
) -> None:
    async with db.transaction() as session:
        challenge = await mfa.start_challenge(session, USER, cast.max.user_id)
        links = {
            lifetime: tokens.build_link(await tokens.issue(session, cast.max.user_id, lifetime))
            for lifetime in tokens.LIFETIMES
        }
    output = await command.disable(cast.max.email.upper(), "signs in from two continents")
    assert cast.max.email in output
    await workers.run_until_done(empty_queue)

    assert await authentication.authenticate(cast.max.cookie, cast.max.slug) is None
    assert not await knows_password(cast.max)
    async with db.transaction() as session:
        assert await mfa.get_challenged_subject(session, USER, challenge) == ""
        for purpose, link in links.items():
            assert await tokens.find_usable(session, purpose, link.partition("token=")[2]) is None
    assert await knows_password(cast.ann)  # and nobody else
    async with cast.ann.ctx() as ctx:
        assert cast.max.email in [row.email for row in (await members.list_members(ctx)).rows]


async def test_enabled_account_has_its_password_and_roles_but_no_session(
    cast: Cast, empty_queue: str
) -> None:
    """Both jobs wait for a worker and run in the order in which they were enqueued."""
    await command.disable(cast.max.email, "stolen, ticket 4471")
    await command.enable(cast.max.email, "it is theirs again")
    await workers.run_until_done(empty_queue)
    assert await authentication.authenticate(cast.max.cookie, cast.max.slug) is None
    assert await knows_password(cast.max)
    async with entry.enter_tenant(await factories.sign_in(cast.max.account.user), cast.max.slug) as ctx:
        assert ctx.role == "member"


async def test_disabling_and_enabling_an_account_are_audited(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await user_accounts.disable(octx, cast.max.email, reason=state_reason(octx, "stolen, ticket 4471"))
        await user_accounts.enable(octx, cast.max.email, reason=state_reason(octx, "theirs, ticket 4471"))
        events = [
            event
            for event in await audit_log.list_operator_events(octx)
            if event.object_id == cast.max.user_id
        ]
    assert [(event.action, event.reason, event.details) for event in events] == [
        ("user.enabled", "theirs, ticket 4471", {"email": cast.max.email}),
        ("user.disabled", "stolen, ticket 4471", {"email": cast.max.email}),
    ]


@pytest.mark.parametrize("act", [user_accounts.disable, user_accounts.enable])
async def test_account_change_is_refused_without_permission_reason_or_account(cast: Cast, act: Any) -> None:
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.sam.octx() as octx:
            await act(octx, cast.max.email, reason=state_reason(octx, "Why not this"))
    with pytest.raises(Invalid, match="reason"):
        async with cast.olga.octx() as octx:
            await act(octx, cast.max.email, reason=state_reason(octx, " "))
    with pytest.raises(NotFound, match="No account has this email address"):
        async with cast.olga.octx() as octx:
            await act(octx, "nobody@acme.test", reason=state_reason(octx, "A stolen account"))


@pytest.mark.parametrize("clean", [users.clean_name, naming.clean_name])
@pytest.mark.parametrize(
    "name",
    [
        "https://evil.example/login?x=",
        "Acme www.evil.example",
        "WWW.Evil.example",
        "x ftp://y",
        "ｗｗｗ．evil",
    ],
)
def test_name_with_a_web_address_is_refused(clean: Callable[[str], str], name: str) -> None:
    with pytest.raises(Invalid, match="web addresses"):
        clean(name)


@pytest.mark.parametrize("name", ["Dr. Nora Lind", "Acme Inc.", "Awww", "Booking.com"])
def test_name_without_a_web_address_is_accepted(name: str) -> None:
    assert users.clean_name(name) == naming.clean_name(name) == name
