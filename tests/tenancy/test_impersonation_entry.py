"""An operator acts for a member: what the context is, what it can do, and what ends it."""

from datetime import timedelta
from typing import Any

import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.access import policy
from shared.access.actions import ACTIONS, list_support_permissions
from shared.access.decision import decide
from shared.access.refusal_codes import Reason
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import operators as operator_services
from shared.backoffice.reasons import state_reason
from shared.core import db, log
from shared.core.db import now
from shared.core.errors import NotFound, NotSignedIn, Refused
from shared.identity import realms, sessions
from shared.tenancy import (
    entry,
    impersonation_entry,
    impersonation_sessions,
    members,
    support_access,
    tenants,
)
from shared.tenancy import impersonation_repository as repository
from tests.conftest import Cast
from tests.support import database, factories, support_sessions
from tests.support.support_sessions import SupportSession

OPEN_TO_SUPPORT = {
    *(
        "access:read",
        "audit:read",
        "billing:read",
        "decision:read",
        "export:read",
        "home:read",
        "invitation:read",
    ),
    *("member:read", "report:read", "role:read", "settings:read", "test_mode:read", "usage:read"),
    *("tenant_deletion:read", "webhook:read"),
    *("checklist:write", "settings:write"),
}


async def start(cast: Cast, *, can_write: bool = False, operator: str = "") -> SupportSession:
    membership = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.ann.user_id)
    cookie = operator or cast.olga.cookie
    return await support_sessions.start(cookie, cast.acme, membership, can_write=can_write)


async def has_ended(session: SupportSession) -> bool:
    try:
        async with session.ctx():
            return False
    except NotSignedIn:
        return True


def change(session: SupportSession, **values: Any) -> None:
    """As a superuser, without the trigger that keeps what was stated."""
    columns = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in values)
    statement = sql.SQL("update impersonation set {} where id = %s").format(columns)
    connection = database.connect()
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(statement, [*values.values(), session.id])


# ── what it is ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_support_session_has_the_operator_as_actor_and_the_member_behind(cast: Cast) -> None:
    session = await start(cast)
    async with session.ctx() as ctx:
        assert (ctx.actor.type, ctx.actor.name) == ("operator", "Olga")
        assert ctx.on_behalf_of is not None
        assert (ctx.on_behalf_of.id, ctx.role) == (cast.ann.user_id, "owner")
        assert (ctx.impersonator_id, ctx.person_id) == (ctx.actor.id, "")
        assert ctx.permissions <= list_support_permissions()
        assert len((await members.list_members(ctx)).rows) > 1
        fields = log.bind_logger(ctx, __name__)._context
    assert (fields["actor_id"], fields["on_behalf_of"]) == (ctx.actor.id, cast.ann.user_id)


async def test_actions_open_to_support_are_the_listed_ones() -> None:
    """Secrets, keys, payments, passwords and rights of others are closed, and so is what a module adds later."""
    assert {name for name, action in ACTIONS.items() if action.open_to_support} == OPEN_TO_SUPPORT


@pytest.mark.parametrize("can_write", [False, True])
async def test_every_other_action_is_refused_in_a_support_session(cast: Cast, can_write: bool) -> None:
    session = await start(cast, can_write=can_write)
    async with session.ctx() as ctx:
        allowed = {name for name, action in ACTIONS.items() if decide(ctx, action).allowed}
        with pytest.raises(Refused) as refused:
            policy.require(ctx, ACTIONS["billing:change"])
    writes = {name for name in OPEN_TO_SUPPORT if ACTIONS[name].writes}
    assert allowed == OPEN_TO_SUPPORT - (set() if can_write else writes)
    assert refused.value.reason == Reason.SUPPORT_CLOSED


async def test_support_session_reaches_no_other_tenant(cast: Cast) -> None:
    session = await start(cast)
    with pytest.raises(NotFound):
        async with entry.enter_tenant(f"{session.cookie}; {cast.gil.cookie}", cast.gil.slug):
            pass


async def test_valid_support_session_wins_over_a_persons_own_session(cast: Cast) -> None:
    session = await start(cast)
    both = f"{cast.adam.cookie}; {session.cookie}"
    async with entry.enter_tenant(both, session.slug) as ctx:
        assert ctx.actor.type == "operator"
    await impersonation_entry.end(session.cookie)
    async with entry.enter_tenant(both, session.slug) as ctx:
        assert ctx.actor.id == cast.adam.user_id


# ── what it writes ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_write_is_refused_by_the_decision_in_a_read_only_session(cast: Cast) -> None:
    session = await start(cast)
    with pytest.raises(Refused) as refused:
        async with session.ctx() as ctx:
            await tenants.rename(ctx, "Acme Two", version=None)
    assert (refused.value.reason, refused.value.action) == (Reason.SUPPORT_READ_ONLY, "settings:write")
    assert refused.value.decision_id


async def test_write_is_refused_by_the_database_in_a_read_only_session(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.access.actions.list_support_reasons", lambda *, can_write: {})
    session = await start(cast)
    with pytest.raises(Refused) as refused:
        async with session.ctx() as ctx:
            await tenants.rename(ctx, "Acme Two", version=None)
    assert refused.value.detail == entry.READ_ONLY_MESSAGE
    async with cast.ann.ctx() as ctx:
        assert ctx.tenant_name == "Acme"
        transcript = await support_access.get_transcript(ctx, session.id)
    assert transcript.events[0].kind == "refused"


async def test_read_only_transaction_is_not_made_writable_again(cast: Cast) -> None:
    session = await start(cast)
    async with session.ctx() as ctx:
        connection = await ctx.session.connection()
        await connection.execute(text("select 1"))
        with pytest.raises(DBAPIError) as refused:
            await connection.execute(text("set transaction read write"))
        await ctx.session.rollback()
    assert "must be set before any query" in str(refused.value)


async def test_change_of_a_writing_session_is_recorded_with_both_identities(cast: Cast) -> None:
    session = await start(cast, can_write=True)
    async with session.ctx() as ctx:
        await tenants.rename(ctx, "Acme", version=None)
        await tenants.set_colour(ctx, "#336699", version=None)
        operator_id = ctx.actor.id
    async with cast.ann.ctx() as ctx:
        (event,) = (await audit_log.list_events(ctx, AuditFilter(action="tenant.branded"))).rows
    assert (event.actor_type, event.actor_id, event.impersonator_id) == ("operator", operator_id, operator_id)
    assert (event.details["on_behalf_of"], event.details["impersonation"]) == (cast.ann.user_id, session.id)


async def test_aside_role_adds_rows_to_three_tables_and_does_nothing_else(cast: Cast) -> None:
    async def run(statement: str) -> None:
        async with db.transaction(tenant_id=cast.acme) as session:
            await repository.become_aside(session)
            await (await session.connection()).execute(text(statement))

    for statement in (
        "select 1 from impersonation_event",
        "update tenant set name = 'Other'",
        "insert into notification (tenant_id) values ('x')",
    ):
        with pytest.raises(DBAPIError) as refused:
            await run(statement)
        assert "permission denied" in str(refused.value)
    granted = database.connect().execute(
        "select c.relname, a.privilege_type from pg_class c, aclexplode(c.relacl) a"
        " where a.grantee = 'bulkhead_aside'::regrole order by 1"
    )
    assert granted.fetchall() == [
        (table, "INSERT") for table in ("audit_event", "decision_record", "impersonation_event")
    ]


async def test_nothing_is_shown_when_the_visit_is_not_recorded(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await start(cast)

    async def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(repository, "add_aside", fail)
    entered = False
    with pytest.raises(OSError, match="disk full"):
        async with session.ctx():
            entered = True
    assert not entered


# ── what ends it ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_support_session_ends_with_its_time(cast: Cast) -> None:
    session = await start(cast)
    async with db.transaction(tenant_id=cast.acme) as transaction:
        row = await repository.find_by_token(
            transaction, cast.acme, impersonation_sessions.get_session_hash(session.cookie).partition(".")[2]
        )
    assert row is not None
    row.expires_at = now() - timedelta(minutes=1)
    row.started_at = row.expires_at - timedelta(minutes=30)
    change(
        session,
        started_at=row.started_at,
        expires_at=row.expires_at,
        proof=impersonation_sessions.compute_session_proof(row),
    )
    assert await has_ended(session)


async def test_support_session_ends_when_the_operator_signs_out(cast: Cast) -> None:
    operator = await factories.create_operator("Oda")
    session = await start(cast, operator=operator)
    assert not await has_ended(session)
    async with db.transaction("operator") as transaction:
        await sessions.end(transaction, realms.OPERATOR, sessions.get_token_hash(realms.OPERATOR, operator))
    assert await has_ended(session)


async def test_writing_session_ends_when_the_operator_loses_the_right_to_change(cast: Cast) -> None:
    operator = await factories.create_operator("Otto", "engineer")
    session = await start(cast, can_write=True, operator=operator)
    async with entry.enter_operator(operator) as octx:
        operator_id = octx.actor_id
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Moves to another team")
        await operator_services.set_role(octx, operator_id, "support", version=None, reason=reason)
    assert await has_ended(session)


async def test_support_session_ends_when_the_member_is_deactivated(cast: Cast) -> None:
    membership = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.max.user_id)
    session = await support_sessions.start(cast.olga.cookie, cast.acme, membership)
    async with cast.ann.ctx() as ctx:
        await members.deactivate(ctx, membership)
    assert await has_ended(session)


async def test_owner_ends_a_support_session(cast: Cast) -> None:
    session = await start(cast)
    async with cast.ann.ctx() as ctx:
        await support_access.end(ctx, session.id)
    assert await has_ended(session)


@pytest.mark.parametrize("column", ["user_id", "can_write", "expires_at", "token_hash"])
async def test_changed_row_of_a_support_session_is_no_session(cast: Cast, column: str) -> None:
    """Write access to the table is not enough: the proof needs a master key."""
    session = await start(cast)
    token_hash = impersonation_sessions.get_session_hash(session.cookie).partition(".")[2]
    other: dict[str, Any] = {
        "user_id": cast.adam.user_id,
        "can_write": True,
        "expires_at": now() + timedelta(minutes=25),
        "token_hash": token_hash,
    }
    values = {column: other[column]}
    if column == "can_write":
        values["write_reason"] = "Because it is possible"
    if column == "token_hash":
        values["proof"] = "0" * 64
    change(session, **values)
    assert await has_ended(session)


# ── its code ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_code_is_accepted_once_and_within_a_minute(cast: Cast) -> None:
    membership = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.adam.user_id)
    requested = await support_sessions.request(cast.olga.cookie, cast.acme, membership)
    await impersonation_entry.accept_code(requested.code)
    late = await support_sessions.request(cast.olga.cookie, cast.acme, membership)
    database.connect().execute(
        "update impersonation set code_expires_at = now() - interval '1 second' where id = %s", [late.id]
    )
    foreign = f"{cast.globex}.{late.code.partition('.')[2]}"
    for code in (requested.code, late.code, foreign, "", "ten_x", "ten_x.y", "x" * 5_000):
        with pytest.raises(Refused) as refused:
            await impersonation_entry.accept_code(code)
        assert refused.value.reason == "code_invalid"


async def test_code_that_no_admin_app_made_is_refused(cast: Cast) -> None:
    membership = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.adam.user_id)
    requested = await support_sessions.request(cast.olga.cookie, cast.acme, membership)
    database.connect().execute(
        "update impersonation set code_hash = %s where id = %s",
        [impersonation_sessions.parse_text(f"{cast.acme}.guessed")[1], requested.id],  # type: ignore[index]
    )
    with pytest.raises(Refused):
        await impersonation_entry.accept_code(f"{cast.acme}.guessed")
