"""Sign-up: one tenant per request, also when repeated, opened by a verified address."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.errors import Conflict, Invalid, Refused
from shared.core.ids import new_id
from shared.identity import sign_in, tokens, users
from shared.identity.models import User
from shared.identity.realms import USER
from shared.tenancy import audit_reader, members, signups, user_tenants
from shared.tenancy.models import SignUp, Tenant, TenantState
from tests.conftest import Cast, Person
from tests.support import factories

PASSWORD = "seven lanterns over quiet water"


def new_address() -> str:
    return f"zoe.{new_id('x')[-10:]}@harbour.test"


async def load_account(email: str) -> User:
    await factories.run_sign_ups()
    async with db.transaction() as session:
        user = await users.get_by_email(session, email)
    assert user is not None
    return user


async def list_tenants(user_id: str) -> list[Tenant]:
    async with db.transaction(user_id=user_id) as session:
        return [tenant for _, tenant in await user_tenants.list_memberships(session, user_id)]


async def create_verification_token(user_id: str) -> str:
    async with db.transaction() as session:
        return tokens.build_link(await tokens.issue(session, user_id, "verify")).partition("token=")[2]


async def create_tenant(person: User, name: str) -> Tenant:
    async with db.transaction() as session:
        return await signups.create_tenant(session, person, name)


async def test_sign_up_creates_an_owner_who_is_refused_until_verified() -> None:
    email = new_address()
    await signups.sign_up(f" {email.upper()} ", PASSWORD, "Zoe", "Harbour  Ltd")
    user = await load_account(email)
    (tenant,) = await list_tenants(user.id)
    assert (tenant.name, tenant.state) == ("Harbour Ltd", TenantState.PENDING_VERIFICATION)
    zoe = Person(factories.SignedInUser(user, await factories.sign_in(user)), tenant.slug)
    async with zoe.ctx() as ctx:
        assert ctx.role == "owner"
        with pytest.raises(Refused, match="tenant_unverified"):
            await members.list_members(ctx)


async def test_concurrent_equal_sign_ups_create_one_person_and_one_tenant() -> None:
    email, both = new_address(), asyncio.Barrier(2)

    async def sign_up() -> None:
        await both.wait()
        await signups.sign_up(email, PASSWORD, "Zoe", "Harbour")

    await asyncio.gather(sign_up(), sign_up())
    assert len(await list_tenants((await load_account(email)).id)) == 1


async def test_sign_ups_completed_out_of_order_keep_the_last_password_and_every_tenant() -> None:
    email, other = new_address(), "eleven marble staircases turn"
    first = await signups.sign_up(email, other, "Zoe", "Harbour")
    second = await signups.sign_up(email, PASSWORD, "Zoe Lind", "Pier")
    both = asyncio.Barrier(2)

    async def complete_sign_up(sign_up_id: str) -> None:
        async with db.transaction() as session:
            await both.wait()
            await signups.complete_sign_up(session, sign_up_id)

    await asyncio.gather(complete_sign_up(second), complete_sign_up(first))
    await complete_sign_up_again(first)
    user = await load_account(email)
    assert (user.name, user.sign_up_id) == ("Zoe Lind", second)
    assert await sign_in.check_password(USER, email, PASSWORD) is not None
    assert await sign_in.check_password(USER, email, other) is None
    assert sorted(tenant.name for tenant in await list_tenants(user.id)) == ["Harbour", "Pier"]


async def complete_sign_up_again(sign_up_id: str) -> None:
    async with db.transaction() as session:
        await signups.complete_sign_up(session, sign_up_id)


async def test_sign_up_older_than_a_day_is_deleted() -> None:
    email = new_address()
    old = await signups.sign_up(email, PASSWORD, "Zoe", "Harbour")
    async with db.transaction("owner") as session:
        row = await session.get(SignUp, old)
        assert row is not None
        row.created_at -= timedelta(days=1)
    await complete_sign_up_again("sup_any")
    async with db.transaction() as session:
        assert await session.get(SignUp, old) is None
        assert await users.get_by_email(session, email) is None


async def test_concurrent_sign_ups_with_the_same_tenant_name_get_different_slugs() -> None:
    name = f"Harbour {new_id('x')[-8:]}"
    emails = [new_address(), new_address()]
    both = asyncio.Barrier(2)

    async def sign_up(email: str) -> None:
        await both.wait()
        await signups.sign_up(email, PASSWORD, "Zoe", name)

    await asyncio.gather(*(sign_up(email) for email in emails))
    slugs = {(await list_tenants((await load_account(email)).id))[0].slug for email in emails}
    assert len(slugs) == 2


async def test_repeated_sign_up_adds_tenants_by_name() -> None:
    email = new_address()
    for organisation in ("Harbour", "Harbour", "Pier"):
        await signups.sign_up(email, PASSWORD, "Zoe", organisation)
        await factories.run_sign_ups()
    assert sorted(tenant.name for tenant in await list_tenants((await load_account(email)).id)) == [
        "Harbour",
        "Pier",
    ]


async def test_verification_activates_every_waiting_tenant() -> None:
    email = new_address()
    for organisation in ("Harbour", "Pier"):
        await signups.sign_up(email, PASSWORD, "Zoe", organisation)
    user = await load_account(email)
    verification = await signups.verify_email(await create_verification_token(user.id), "")
    assert (verification.email, verification.user_id) == (email, user.id)
    opened = await list_tenants(user.id)
    assert {tenant.state for tenant in opened} == {TenantState.ACTIVE}
    assert verification.slug in {tenant.slug for tenant in opened}
    for tenant in opened:
        zoe = Person(factories.SignedInUser(user, await factories.sign_in(user)), tenant.slug)
        await zoe.gets("starter")
        async with zoe.ctx() as ctx:
            actions = [event.action for event in (await audit_reader.list_events(ctx)).rows]
        assert actions.count("tenant.verified") == 1


async def test_verification_link_opened_twice_at_once_works_once() -> None:
    email = new_address()
    await signups.sign_up(email, PASSWORD, "Zoe", "Harbour")
    token, both = await create_verification_token((await load_account(email)).id), asyncio.Barrier(2)

    async def verify() -> str:
        await both.wait()
        try:
            await signups.verify_email(token, "")
        except Invalid:
            return "used"
        return "verified"

    assert sorted(await asyncio.gather(verify(), verify())) == ["used", "verified"]


async def test_verification_does_not_undo_a_concurrent_suspension(cast: Cast) -> None:
    email = new_address()
    await signups.sign_up(email, PASSWORD, "Zoe", "Harbour")
    user = await load_account(email)
    (tenant,) = await list_tenants(user.id)
    token = await create_verification_token(user.id)
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, tenant.id, state_reason(octx, "Fraud, ticket 4471", tenant_id=tenant.id)
        )
        verifying = asyncio.create_task(signups.verify_email(token, ""))
        await asyncio.sleep(0.3)  # it has read the old state and waits for the row
        assert not verifying.done()
    await verifying
    assert [tenant.state for tenant in await list_tenants(user.id)] == [TenantState.SUSPENDED]


@pytest.mark.parametrize("verified", ["while suspended", "after it was restored"])
async def test_tenant_suspended_before_verification_opens_after_both(cast: Cast, verified: str) -> None:
    email = new_address()
    await signups.sign_up(email, PASSWORD, "Zoe", "Harbour")
    user = await load_account(email)
    (tenant,) = await list_tenants(user.id)
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, tenant.id, state_reason(octx, "Looked odd", tenant_id=tenant.id)
        )
    if verified == "while suspended":
        await signups.verify_email(await create_verification_token(user.id), "")
        assert [tenant.state for tenant in await list_tenants(user.id)] == [TenantState.SUSPENDED]
    async with cast.olga.octx() as octx:
        await tenant_directory.restore_tenant(
            octx, tenant.id, state_reason(octx, "It is fine", tenant_id=tenant.id)
        )
    if verified == "after it was restored":
        assert [tenant.state for tenant in await list_tenants(user.id)] == [TenantState.PENDING_VERIFICATION]
        await signups.verify_email(await create_verification_token(user.id), "")
    assert [tenant.state for tenant in await list_tenants(user.id)] == [TenantState.ACTIVE]


async def test_verification_waits_for_a_concurrent_restoration(cast: Cast) -> None:
    email = new_address()
    await signups.sign_up(email, PASSWORD, "Zoe", "Harbour")
    user = await load_account(email)
    (tenant,) = await list_tenants(user.id)
    token = await create_verification_token(user.id)
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(
            octx, tenant.id, state_reason(octx, "Looked odd", tenant_id=tenant.id)
        )
    async with cast.olga.octx() as octx:
        await tenant_directory.restore_tenant(
            octx, tenant.id, state_reason(octx, "It is fine", tenant_id=tenant.id)
        )
        verifying = asyncio.create_task(signups.verify_email(token, ""))
        await asyncio.sleep(0.3)
        assert not verifying.done()
    await verifying
    assert [tenant.state for tenant in await list_tenants(user.id)] == [TenantState.ACTIVE]


async def test_accepted_invitation_verifies_the_address_for_the_own_tenant(cast: Cast) -> None:
    email = new_address()
    await signups.sign_up(email, PASSWORD, "Zoe", "Harbour")
    user = await load_account(email)
    zoe = factories.SignedInUser(user, await factories.sign_in(user))
    await factories.join_tenant(cast.ann.account, cast.ann.slug, zoe, "member")
    states = {tenant.name: tenant.state for tenant in await list_tenants(user.id)}
    assert states["Harbour"] is TenantState.ACTIVE
    slug = next(tenant.slug for tenant in await list_tenants(user.id) if tenant.name == "Harbour")
    await Person(zoe, slug).gets("starter")
    async with Person(zoe, slug).ctx() as ctx:
        actions = [event.action for event in (await audit_reader.list_events(ctx)).rows]
    assert actions.count("tenant.verified") == 1


async def test_sign_up_with_an_existing_account_creates_no_tenant(cast: Cast) -> None:
    await signups.sign_up(cast.carl.email, PASSWORD, "Carl", "Takeover")
    await factories.run_sign_ups()
    assert await list_tenants(cast.carl.user_id) == []


async def test_sign_up_names_every_invalid_field() -> None:
    with pytest.raises(Invalid) as caught:
        await signups.sign_up("no", PASSWORD, "\x00", "")
    assert set(caught.value.fields) == {"email", "name", "organisation"}


# ── more organisations of one person ─────────────────────────────────────────────────────────────────────────────


async def test_person_is_listed_in_every_tenant_with_their_role(cast: Cast) -> None:
    await factories.join_tenant(cast.gil.account, cast.gil.slug, cast.ann.account, "viewer")
    places = await user_tenants.list_user_tenants(cast.ann.cookie)
    assert {(place.name, place.role.key) for place in places} == {("Acme", "owner"), ("Globex", "viewer")}


async def test_tenant_creation_is_idempotent_per_name(cast: Cast) -> None:
    both = asyncio.Barrier(2)

    async def click_create() -> Any:
        await both.wait()
        return await create_tenant(cast.carl.account.user, "Yard")

    first, second = await asyncio.gather(click_create(), click_create())
    assert first.id == second.id
    other = await create_tenant(cast.carl.account.user, "Yard Two")
    assert {tenant.id for tenant in await list_tenants(cast.carl.user_id)} == {first.id, other.id}


async def test_tenant_creation_with_another_persons_name_makes_a_new_tenant(cast: Cast) -> None:
    name = f"Yard {new_id('x')[-8:]}"
    carls, gils = (
        await create_tenant(cast.carl.account.user, name),
        await create_tenant(cast.gil.account.user, name),
    )
    assert carls.id != gils.id


async def test_tenant_creation_is_refused_for_an_unverified_address() -> None:
    zoe = await factories.create_account("Zoe", verified=False)
    with pytest.raises(Conflict, match="isn’t verified yet"):
        await create_tenant(zoe.user, "Harbour")
