"""Begin an impersonation with the code of the admin app, and end it.

The browser posts the code once, within a minute. It gets a cookie of its own name, never a session of a member.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core import crypto, db
from shared.core.context import Actor, Impersonation
from shared.core.db import now
from shared.core.errors import Refused
from shared.jobs import queue
from shared.tenancy import entry, impersonation_sessions, impersonations
from shared.tenancy import impersonation_repository as repository
from shared.tenancy.impersonations import Phase
from shared.tenancy.models import ImpersonationEnd, ImpersonationRow

NEW_CODE_STEP = "Start the support session again in the admin app."


@dataclass(frozen=True, slots=True)
class StartedImpersonation:
    cookie: str
    slug: str
    expires_at: datetime


async def accept_code(code: str) -> StartedImpersonation:
    """Raises Refused (code_invalid) for an unknown, used or late one, and where the session can't begin any more."""
    claim = impersonation_sessions.parse_text(code)
    if claim is None:
        raise _build_invalid()
    tenant_id, code_hash = claim
    async with db.transaction(tenant_id=tenant_id) as session:
        impersonation = await repository.find_by_code(session, tenant_id, code_hash)
    if impersonation is None:
        raise _build_invalid()
    operator = Actor("operator", impersonation.operator_id, impersonation.operator_name)
    token = crypto.new_token()
    async with entry.enter_impersonator(tenant_id, operator, _describe(impersonation)) as ctx:
        row = await impersonations.lock(ctx, impersonation.id)
        if not _is_acceptable(row, code_hash) or await impersonations.lacks_consent(ctx, row):
            raise _build_invalid()
        row.started_at = now()
        row.expires_at = row.started_at + timedelta(minutes=row.minutes)
        row.token_hash, row.code_hash, row.code_expires_at = crypto.hash_token(token), "", None
        row.proof = impersonation_sessions.compute_session_proof(row)
        ctx.session.add(row)
        impersonations.record(ctx, "impersonation.started", row)
        await impersonations.notify_owners(ctx, row, impersonations.STARTED)
        await queue.put(ctx, impersonations.CLOSE_TASK, at=row.expires_at, impersonation_id=row.id)
        await impersonations.publish_change(ctx)
        expires_at = row.expires_at
    cookie = impersonation_sessions.build_text(tenant_id, token)
    standing = await impersonation_sessions.find(
        impersonation_sessions.build_text(tenant_id, crypto.hash_token(token))
    )
    if standing is None:  # the member, the tenant or the operator's right went in the meantime
        await end(f"{impersonation_sessions.COOKIE}={cookie}")
        raise _build_invalid()
    return StartedImpersonation(cookie, standing.tenant.slug, expires_at)


async def end(cookies: str) -> str:
    """End the impersonation of these cookies, whether or not it is valid still. Returns its tenant, "" without one."""
    tenant_id, separator, token_hash = impersonation_sessions.get_session_hash(cookies).partition(
        impersonation_sessions.SEPARATOR
    )
    if not separator:
        return ""
    async with db.transaction(tenant_id=tenant_id) as session:
        impersonation = await repository.find_by_token(session, tenant_id, token_hash)
    if impersonation is None:
        return ""
    operator = Actor("operator", impersonation.operator_id, impersonation.operator_name)
    async with entry.enter_impersonator(tenant_id, operator, _describe(impersonation)) as ctx:
        row = await impersonations.lock(ctx, impersonation.id)
        await impersonations.end(ctx, row, ImpersonationEnd.OPERATOR)
    return tenant_id


def _is_acceptable(row: ImpersonationRow, code_hash: str) -> bool:
    is_in_time = row.code_expires_at is not None and row.code_expires_at > now()
    is_ready = impersonations.find_phase(row) is Phase.READY
    return (
        row.code_hash == code_hash and is_in_time and is_ready and impersonation_sessions.is_code_genuine(row)
    )


def _describe(row: ImpersonationRow) -> Impersonation:
    return Impersonation(
        id=row.id,
        person=Actor("user", row.user_id, row.user_name),
        operator_session_hash=row.operator_session_hash,
        can_write=row.can_write,
        expires_at=row.expires_at or now(),
    )


def _build_invalid() -> Refused:
    return Refused("This code is no longer valid.", NEW_CODE_STEP, reason="code_invalid")
