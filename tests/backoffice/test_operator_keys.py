"""Operators' API keys: limited to their operator, hashed, rotated with an overlap, ended for the next request."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from shared.access import actions, policy
from shared.access.permissions import OperatorPermission
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import operator_key_entry, operator_key_repository, operator_keys, operators
from shared.backoffice.operator_keys import OperatorKeyRequest, OperatorKeyView
from shared.backoffice.reasons import state_reason
from shared.cli import operators as command
from shared.core import db
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.tenancy.key_checks import InvalidKey
from tests.conftest import Cast, Operating
from tests.support import api_clients, database, factories, operator_clients
from tests.support.operator_clients import REASON

ADDRESS = "203.0.113.9"
READ = str(OperatorPermission.TENANT_READ)


async def get_reason(text: str, *, address: str = ADDRESS) -> str:
    try:
        await operator_key_entry.authenticate_operator_key(text, address=address)
    except (InvalidKey, Refused) as refusal:
        return refusal.reason
    return "works"


async def get_operator_id(operating: Operating) -> str:
    async with operating.octx() as octx:
        return octx.actor_id


async def find_key(octx: OperatorCtx, key_id: str) -> OperatorKeyView:
    return next(key for key in (await operator_keys.list_keys(octx)).rows if key.id == key_id)


async def create(role: str) -> Operating:
    return Operating(await factories.create_operator(role.title(), role))


@pytest.fixture
async def owner(schema: str) -> Operating:
    """Of this test alone: others' keys and roles stay as they are."""
    return await create("owner")


@pytest.fixture
async def support(schema: str) -> Operating:
    return await create("support")


async def test_operator_creates_a_key_with_a_code_that_works_once(owner: Operating) -> None:
    request = OperatorKeyRequest(name="Provisioning", scopes=[READ])
    async with owner.octx() as octx:
        code = await operator_clients.enrol(octx)
        created = await operator_keys.create(octx, request, state_reason(octx, REASON), code=code)
        with pytest.raises(Invalid) as refusal:
            await operator_keys.create(octx, request, state_reason(octx, REASON), code=code)
    assert refusal.value.fields.keys() == {"code"}
    assert await get_reason(created.text) == "works"
    async with owner.octx() as octx:
        criteria = AuditFilter(actor=octx.actor_id, action="operator_key.created")
        (event,) = await audit_log.list_operator_events(octx, criteria)
    assert (event.object_id, event.reason) == (created.key.id, REASON)


async def test_wrong_codes_are_counted(owner: Operating) -> None:
    request = OperatorKeyRequest(name="Provisioning", scopes=[READ])
    async with owner.octx() as octx:
        await operator_clients.enrol(octx)
        for _ in range(10):
            with pytest.raises(Invalid):
                await operator_keys.create(octx, request, state_reason(octx, REASON), code="abcdef")
        with pytest.raises(Refused, match="rate_limited"):
            await operator_keys.create(octx, request, state_reason(octx, REASON), code="abcdef")


async def test_database_holds_only_a_hash_and_hides_it_from_the_app(owner: Operating) -> None:
    program = await operator_clients.create_key(owner.cookie)
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url) as superuser:
        rows = superuser.execute("select operator_key::text from operator_key").fetchall()
        events = superuser.execute("select operator_event::text from operator_event").fetchall()
    secret = program.text.removeprefix("bk_op_")
    assert not any(secret in row[0] for row in [*rows, *events])
    with psycopg.connect(db.login_url("app")) as app:
        for table in ("operator_key", "operator_idempotency_key"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction():
                app.execute(f"select from {table}")  # type: ignore[arg-type]


async def test_key_has_the_permissions_that_scopes_and_role_share(owner: Operating) -> None:
    program = await operator_clients.create_key(owner.cookie, READ, "operator:rights:write")
    async with (await create("owner")).octx() as octx:
        await operators.set_role(
            octx,
            await get_operator_id(owner),
            "support",
            version=None,
            reason=state_reason(octx, REASON),
        )
    admission = await operator_key_entry.authenticate_operator_key(program.text, address=ADDRESS)
    assert admission.operator.permissions == {READ}
    async with operator_key_entry.enter_operator_key(admission) as octx:
        with pytest.raises(Refused, match="missing_permission"):
            policy.require_operator(octx, actions.OP_RIGHTS_WRITE)
        with pytest.raises(Refused, match="missing_scope"):
            policy.require_operator(octx, actions.OP_FLAG_READ)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": " "}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["no:such"]}, "scopes"),
        ({"scopes": ["member:read"]}, "scopes"),
        ({"scopes": ["operator:api_key:write"]}, "scopes"),
        ({"scopes": ["operator:operator:write"]}, "scopes"),
        ({"networks": ["203.0.113.7/24"]}, "networks"),
        ({"expires_at": now() - timedelta(days=1)}, "expires_at"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_wrong_field_is_named(owner: Operating, changed: dict[str, object], field: str) -> None:
    values = {"name": "Provisioning", "scopes": [READ], **changed}
    async with owner.octx() as octx:
        code = await operator_clients.enrol(octx)
        with pytest.raises(Invalid) as refusal:
            await operator_keys.create(
                octx,
                OperatorKeyRequest(**values),  # type: ignore[arg-type]
                state_reason(octx, REASON),
                code=code,
            )
    assert refusal.value.fields.keys() == {field}


async def test_key_cannot_be_given_scopes_that_its_operator_lacks(support: Operating) -> None:
    with pytest.raises(Refused, match="lacks operator:rights:write"):
        await operator_clients.create_key(support.cookie, "operator:rights:write")


async def test_rotated_key_works_until_its_overlap_ends(owner: Operating) -> None:
    program = await operator_clients.create_key(owner.cookie, READ)
    async with owner.octx() as octx:
        code = await operator_clients.enrol(octx)
        rotated = await operator_keys.rotate(
            octx, program.key_id, state_reason(octx, REASON), code=code, overlap=timedelta(hours=1)
        )
    assert [await get_reason(text) for text in (program.text, rotated.text)] == ["works", "works"]
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute("update operator_key set previous_ends_at = now()")
    assert [await get_reason(text) for text in (program.text, rotated.text)] == ["key_expired", "works"]


async def test_rotation_takes_a_code_that_was_not_used(owner: Operating) -> None:
    program = await operator_clients.create_key(owner.cookie, READ)
    async with owner.octx() as octx:
        code = await operator_clients.enrol(octx)
        await operator_keys.rotate(octx, program.key_id, state_reason(octx, REASON), code=code)
        with pytest.raises(Invalid) as refusal:
            await operator_keys.rotate(octx, program.key_id, state_reason(octx, REASON), code=code)
    assert refusal.value.fields.keys() == {"code"}


async def test_key_is_refused_once_revoked_expired_or_from_elsewhere(owner: Operating) -> None:
    revoked = await operator_clients.create_key(owner.cookie, READ)
    expired = await operator_clients.create_key(owner.cookie, READ, expires_at=now() + timedelta(days=1))
    elsewhere = await operator_clients.create_key(owner.cookie, READ, networks=["198.51.100.0/24"])
    async with owner.octx() as octx:
        await operator_keys.revoke(octx, revoked.key_id, state_reason(octx, REASON))
        with pytest.raises(Conflict):
            await operator_keys.revoke(octx, revoked.key_id, state_reason(octx, REASON))
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute("update operator_key set expires_at = now() where id = %s", [expired.key_id])
    reasons = [await get_reason(program.text) for program in (revoked, expired, elsewhere)]
    assert reasons == ["key_revoked", "key_expired", "address_not_allowed"]


async def test_key_ends_with_its_disabled_operator_and_does_not_return(
    owner: Operating, support: Operating
) -> None:
    program = await operator_clients.create_key(support.cookie, READ)
    sam_id = await get_operator_id(support)
    url = database.admin_url(db.engine("app").url.database or "")
    with psycopg.connect(url, autocommit=True) as superuser:  # without the service, which revokes the key
        superuser.execute("update operator set disabled_at = now() where id = %s", [sam_id])
        assert await get_reason(program.text) == "key_holder_ended"
    async with owner.octx() as octx:
        await operators.disable(octx, sam_id, reason=state_reason(octx, REASON))
        await operators.enable(octx, sam_id, reason=state_reason(octx, REASON))
    assert await get_reason(program.text) == "key_revoked"


async def test_key_of_another_operator_is_seen_and_revoked_by_managers_only(owner: Operating) -> None:
    program = await operator_clients.create_key(owner.cookie, READ)
    async with (await create("billing")).octx() as octx:
        assert program.key_id not in {key.id for key in (await operator_keys.list_keys(octx)).rows}
        with pytest.raises(NotFound):
            await operator_keys.revoke(octx, program.key_id, state_reason(octx, REASON))
        with pytest.raises(NotFound):
            await operator_keys.rotate(octx, program.key_id, state_reason(octx, REASON), code="")
    async with (await create("owner")).octx() as octx:
        assert program.key_id in {key.id for key in (await operator_keys.list_keys(octx)).rows}
        await operator_keys.revoke(octx, program.key_id, state_reason(octx, REASON))
    assert await get_reason(program.text) == "key_revoked"


async def test_session_creates_no_key_of_another_operator(owner: Operating) -> None:
    request = OperatorKeyRequest(name="Provisioning", scopes=[READ])
    async with owner.octx() as octx:
        with pytest.raises(Refused, match="Only the command line"):
            await operator_keys.create_for(
                octx, "somebody@bulkhead.test", request, state_reason(octx, REASON)
            )


async def test_keys_of_one_realm_are_unknown_in_the_other(cast: Cast, owner: Operating) -> None:
    tenants_key = await api_clients.create_key(cast.ann)
    operators_key = await operator_clients.create_key(owner.cookie)
    async with operator_clients.client(tenants_key.text) as client:
        at_operators = await client.get("/api/operator/v1/me")
    async with api_clients.client(operators_key.text) as client:
        at_tenants = await client.get("/api/v1/me")
    for answer in (at_operators, at_tenants):
        assert (answer.status_code, answer.json()["reason"]) == (401, "invalid_key")


async def test_command_line_creates_and_revokes_a_key(owner: Operating) -> None:
    async with owner.octx() as octx:
        email = (await operator_clients.get_operator(octx)).email
    text = await command.create_key(
        email, [READ], name="Terraform", days=30, networks=[], reason="New pipeline, ticket 4471"
    )
    key_text = text.split()[-1]
    assert await get_reason(key_text) == "works"
    key_id = text.split()[0]
    async with owner.octx() as octx:
        key = await find_key(octx, key_id)
    assert (key.name, key.scopes, key.created_by_name) == ("Terraform", (READ,), "command line")
    await command.revoke_key(key_id, reason="Pipeline gone, ticket 4472")
    assert await get_reason(key_text) == "key_revoked"


async def test_note_of_a_use_does_not_wait_for_a_change_of_the_key(owner: Operating) -> None:
    program = await operator_clients.create_key(owner.cookie)
    async with owner.octx() as octx:
        await operator_key_repository.lock_key(octx.session, program.key_id)
        assert await asyncio.wait_for(get_reason(program.text), 2) == "works"


async def test_use_of_a_key_is_noted_once_a_minute(owner: Operating) -> None:
    program = await operator_clients.create_key(owner.cookie)
    uses = []
    for _ in range(2):
        assert await get_reason(program.text) == "works"
        async with owner.octx() as octx:
            key = await find_key(octx, program.key_id)
        uses.append((key.last_used_at, key.last_used_address))
    assert uses[0] == uses[1]
    assert uses[0][1] == ADDRESS
