"""API keys: limited to their holder, hashed, rotated with an overlap, revoked for the next request."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from shared.api_keys import keys
from shared.api_keys.keys import KeyRequest
from shared.api_keys.models import ApiKey
from shared.core import db, rows
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.tenancy import entry_repository, members, roles, service_accounts
from shared.tenancy.key_checks import InvalidKey
from shared.tenancy.key_entry import authenticate_key, enter_key
from tests.conftest import Cast, Person
from tests.support import api_clients, database

ADDRESS = "203.0.113.9"


async def get_reason(text: str, *, address: str = ADDRESS) -> str:
    try:
        await authenticate_key(text, address=address)
    except (InvalidKey, Refused) as refusal:
        return refusal.reason
    return "works"


async def create_account(person: Person, role: str = "member") -> str:
    async with person.ctx() as ctx:
        return (await service_accounts.create(ctx, "Importer", role)).id


async def find_membership_id(person: Person, by: Person) -> str:
    async with by.ctx() as ctx:
        (row,) = (await members.list_members(ctx, query=person.email)).rows
    return row.id


def expire(key_id: str, column: str) -> None:
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute(f"update api_key set {column} = now() where id = %s", [key_id])  # type: ignore[arg-type]


async def test_database_holds_only_a_hash_of_the_key(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url) as superuser:
        rows = superuser.execute("select api_key::text from api_key").fetchall()
        events = superuser.execute("select audit_event::text from audit_event").fetchall()
    secret = program.text.rpartition("_")[2]
    assert not any(secret in row[0] for row in [*rows, *events])


async def test_key_has_the_permissions_that_scopes_and_holder_share(cast: Cast) -> None:
    program = await api_clients.create_key(cast.adam, "member:read", "role:write")
    membership_id = await find_membership_id(cast.adam, cast.ann)
    async with cast.ann.ctx() as ctx:
        await members.set_role(ctx, membership_id, "viewer", version=None)
    admission = await authenticate_key(program.text, address=ADDRESS)
    assert admission.permissions == {"member:read"}
    async with enter_key(admission) as ctx:
        assert (ctx.actor.type, ctx.actor_id, ctx.person_id) == ("api_key", program.key_id, cast.adam.user_id)


async def test_key_cannot_be_given_scopes_that_its_maker_lacks(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Keymaker", "", ["api_key:read", "api_key:write", "member:read"])
    membership_id = await find_membership_id(cast.max, cast.ann)
    async with cast.ann.ctx() as ctx:
        await members.set_role(ctx, membership_id, role.key, version=None)
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused):
            await keys.create(ctx, KeyRequest(name="Too much", scopes=["settings:write"]))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": " "}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["no:such"]}, "scopes"),
        ({"scopes": ["owner:transfer"]}, "scopes"),
        ({"networks": ["203.0.113.7/24"]}, "networks"),
        ({"networks": ["2001:db8::1"]}, "networks"),
        ({"origins": ["http://app.example.com"]}, "origins"),
        ({"origins": ["https://app.example.com/path"]}, "origins"),
        ({"expires_at": now() - timedelta(days=1)}, "expires_at"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_create_names_the_field_that_is_wrong(
    cast: Cast, changed: dict[str, object], field: str
) -> None:
    values = {"name": "Nightly", "scopes": ["member:read"], **changed}
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Invalid) as refusal:
            await keys.create(ctx, KeyRequest(**values))  # type: ignore[arg-type]
    assert field in refusal.value.fields


async def test_revoked_key_is_refused_on_the_next_request(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    assert await get_reason(program.text) == "works"
    async with cast.adam.ctx() as ctx:
        await keys.revoke(ctx, program.key_id)
    assert await get_reason(program.text) == "key_revoked"
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Conflict):
            await keys.revoke(ctx, program.key_id)


async def test_former_key_works_until_the_overlap_ends(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with cast.ann.ctx() as ctx:
        rotated = await keys.rotate(ctx, program.key_id, overlap=timedelta(hours=1))
    assert [await get_reason(text) for text in (program.text, rotated.text)] == ["works", "works"]
    expire(program.key_id, "previous_ends_at")
    assert [await get_reason(text) for text in (program.text, rotated.text)] == ["key_expired", "works"]


async def test_rotation_without_overlap_ends_the_former_key_at_once(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with cast.ann.ctx() as ctx:
        await keys.rotate(ctx, program.key_id, overlap=timedelta())
    assert await get_reason(program.text) == "invalid_key"


async def test_expired_key_is_refused(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    expire(program.key_id, "expires_at")
    assert await get_reason(program.text) == "key_expired"


async def test_key_works_from_its_networks_only(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, networks=["203.0.113.0/24", "2001:db8:1::/48"])
    addresses = [ADDRESS, "2001:db8:1:2::/64", "198.51.100.1", "2001:db8:2::/64", "unknown"]
    reasons = [await get_reason(program.text, address=address) for address in addresses]
    assert reasons == ["works", "works", *["address_not_allowed"] * 3]


async def test_key_ends_with_the_membership_of_its_holder(cast: Cast) -> None:
    program = await api_clients.create_key(cast.adam, "member:read")
    membership_id = await find_membership_id(cast.adam, cast.ann)
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, membership_id)
    assert await get_reason(program.text) == "key_revoked"


async def test_service_account_survives_its_maker_and_ends_with_its_keys(cast: Cast) -> None:
    service_account_id = await create_account(cast.adam)
    async with cast.adam.ctx() as ctx:
        request = KeyRequest(name="Import", scopes=["member:read"], service_account_id=service_account_id)
        created = await keys.create(ctx, request)
    membership_id = await find_membership_id(cast.adam, cast.ann)
    async with cast.ann.ctx() as ctx:
        await members.remove(ctx, membership_id)
    assert await get_reason(created.text) == "works"
    async with cast.ann.ctx() as ctx:
        await service_accounts.end(ctx, service_account_id)
    assert await get_reason(created.text) == "key_revoked"


async def test_key_of_a_service_account_is_answered_although_it_has_no_address_to_verify(cast: Cast) -> None:
    service_account_id = await create_account(cast.ann)
    async with cast.ann.ctx() as ctx:
        request = KeyRequest(name="Import", scopes=["member:read"], service_account_id=service_account_id)
        created = await keys.create(ctx, request)
    async with api_clients.client(created.text) as client:
        answer = await client.get("/api/v1/members")
    assert answer.status_code == 200, answer.text


async def test_key_of_another_person_can_be_revoked_but_not_taken_over(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "member:read")
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await keys.rotate(ctx, program.key_id)
    async with cast.adam.ctx() as ctx:
        with pytest.raises(Refused):
            await keys.change(
                ctx,
                program.key_id,
                name="Mine",
                scopes=["member:read"],
                networks=[],
                origins=[],
                version=None,
            )
    async with cast.adam.ctx() as ctx:
        await keys.revoke(ctx, program.key_id)
    assert await get_reason(program.text) == "key_revoked"


async def test_key_makes_no_key_that_lives_longer_or_works_from_elsewhere(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        request = KeyRequest(
            name="Short",
            scopes=["api_key:write"],
            networks=["203.0.113.0/24"],
            expires_at=now() + timedelta(days=1),
        )
        created = await keys.create(ctx, request)
    wider, longer = {"networks": ["203.0.0.0/16"]}, {"expires_at": now() + timedelta(days=2)}
    narrower = {"networks": ["203.0.113.0/28"], "expires_at": now() + timedelta(hours=1)}
    for limits, is_allowed in ((narrower, True), ({}, True), (wider, False), (longer, False)):
        values = {"name": "Child", "scopes": ["api_key:write"], **limits}
        async with enter_key(await authenticate_key(created.text, address=ADDRESS)) as ctx:
            try:
                child = (await keys.create(ctx, KeyRequest(**values))).key  # type: ignore[arg-type]
                was_allowed = True
                assert child.networks
                assert child.expires_at is not None
            except Refused:
                was_allowed = False
        assert was_allowed is is_allowed


@pytest.mark.parametrize("limit", ["networks", "expires_at"])
async def test_limited_key_takes_no_text_of_a_key_without_its_limits(cast: Cast, limit: str) -> None:
    limits = {"networks": ["203.0.113.0/24"], "expires_at": now() + timedelta(days=1)}
    async with cast.ann.ctx() as ctx:
        free = await keys.create(ctx, KeyRequest(name="Free", scopes=["api_key:write"]))
        request = KeyRequest(name="Short", scopes=["api_key:write"], **{limit: limits[limit]})  # type: ignore[arg-type]
        limited = await keys.create(ctx, request)
    async with enter_key(await authenticate_key(limited.text, address=ADDRESS)) as ctx:
        own_text = (await keys.rotate(ctx, limited.key.id)).text
    with pytest.raises(Refused, match="live longer"):
        async with enter_key(await authenticate_key(own_text, address=ADDRESS)) as ctx:
            await keys.rotate(ctx, free.key.id)


@pytest.mark.parametrize("verb", ["create", "rotate", "change"])
async def test_right_that_is_lost_meanwhile_makes_no_key(cast: Cast, verb: str) -> None:
    """The actor has entered with rights that somebody takes before the key is made."""
    program = await api_clients.create_key(cast.adam, "member:read")
    membership_id = await find_membership_id(cast.adam, cast.ann)
    async with cast.adam.ctx() as ctx:
        async with cast.ann.ctx() as other:
            await members.set_role(other, membership_id, "viewer", version=None)
        late = keys.change(
            ctx,
            program.key_id,
            name="Late",
            scopes=["member:read"],
            networks=[],
            origins=[],
            version=None,
        )
        calls = {
            "create": keys.create(ctx, KeyRequest(name="Late", scopes=["member:read"])),
            "rotate": keys.rotate(ctx, program.key_id),
            "change": late,
        }
        call = calls.pop(verb)
        for other_call in calls.values():
            other_call.close()
        with pytest.raises(Refused):
            await call


async def test_key_of_another_organisation_is_not_found(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with cast.gil.ctx() as ctx:
        with pytest.raises((NotFound, Refused)):
            await keys.revoke(ctx, program.key_id)
    assert await get_reason(program.text) == "works"


async def test_role_of_a_service_account_is_not_deleted(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Robot", "", ["member:read"])
    await create_account(cast.ann, role.key)
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Refused) as refusal:
            await roles.delete(ctx, role.key)
    assert "1 service account" in refusal.value.detail


async def test_expired_key_takes_no_place(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_KEYS", 2)
    programs = [await api_clients.create_key(cast.ann) for _ in range(2)]
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Conflict):
            await keys.create(ctx, KeyRequest(name="Third", scopes=["member:read"]))
    expire(programs[0].key_id, "expires_at")
    async with cast.ann.ctx() as ctx:
        assert await keys.create(ctx, KeyRequest(name="Third", scopes=["member:read"]))


async def test_use_from_changing_addresses_is_written_once_a_minute(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url, autocommit=True) as superuser:
        for used_ago, address in (("never", ADDRESS), ("10 s", "198.51.100.1"), ("61 s", "198.51.100.2")):
            if used_ago != "never":
                superuser.execute(
                    "update api_key set last_used_at = now() - %s::interval where id = %s",
                    [used_ago, program.key_id],
                )
            await authenticate_key(program.text, address=address)
        row = superuser.execute("select last_used_address from api_key where id = %s", [program.key_id])
        assert row.fetchone() == ("198.51.100.2",)
        version = "select xmin::text from api_key where id = %s"
        before = superuser.execute(version, [program.key_id]).fetchone()
        async with db.transaction(
            tenant_id=cast.acme
        ) as session:  # as of requests that came at the same time
            await entry_repository.note_key_use(session, program.key_id, "198.51.100.3")
        assert superuser.execute(version, [program.key_id]).fetchone() == before


async def test_note_of_a_use_does_not_wait_for_a_change_of_the_key(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with cast.ann.ctx() as ctx:
        await rows.lock(ctx, ApiKey, program.key_id)
        assert await asyncio.wait_for(get_reason(program.text), 2) == "works"


async def test_use_of_a_key_is_noted_once_a_minute(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    await authenticate_key(program.text, address=ADDRESS)
    async with cast.ann.ctx() as ctx:
        first = await keys.get(ctx, program.key_id)
    await authenticate_key(program.text, address=ADDRESS)
    async with cast.ann.ctx() as ctx:
        second = await keys.get(ctx, program.key_id)
    assert first.last_used_at is not None
    assert (second.last_used_at, second.last_used_address) == (first.last_used_at, ADDRESS)
