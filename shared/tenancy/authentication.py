"""Who a session belongs to, and what they may use in the tenant that a request names. Builds no context: `entry` does.

The slug in a URL is untrusted. Session, user, membership and tenant are read at every request and event.
"""

from datetime import datetime, timedelta

from shared.access import actions
from shared.access.roles import OPERATOR_ROLES, Role
from shared.audit import audit_log
from shared.core import connection_shares, db, log, request_ids, tenant_weights
from shared.core.context import Actor, Rights
from shared.core.db import now
from shared.entitlements import rights_cache
from shared.identity import realms, sessions
from shared.identity.models import Operator
from shared.identity.session_proofs import SessionFacts
from shared.tenancy import entry_repository as repository
from shared.tenancy import impersonation_sessions, roles, siblings
from shared.tenancy.admissions import (
    NO_RIGHTS,
    Principal,
    TenantAdmission,
    add_suspension,
    admit_member,
    admit_operator,
    find_ended_refusal,
    get_effective_state,
)
from shared.tenancy.entry_repository import IssuerStanding, KeyStanding, Standing, TenantStanding
from shared.tenancy.impersonation_repository import ImpersonationStanding

SEEN_UPDATE_INTERVAL = timedelta(minutes=5)


async def authenticate(cookies: str, slug: str, *, touches: bool = True) -> Principal | None:
    """The principal of a session at `slug`; None without a live session. For the HTTP guard and before every event.

    One statement reads it. `touches`: a user action, which extends the idle timeout. A valid impersonation wins.
    """
    if support_hash := impersonation_sessions.get_session_hash(cookies):
        async with connection_shares.hold_session_share(support_hash):
            impersonated = await impersonation_sessions.find(support_hash)
        if impersonated is not None:
            return await _authenticate_impersonator(impersonated, slug, session_hash=support_hash)
    token_hash = sessions.get_token_hash(realms.USER, cookies)
    if not token_hash:
        return None
    async with connection_shares.hold_session_share(token_hash):
        async with db.statement_connection() as connection:
            standing = await repository.find_standing(connection, token_hash, slug)
        if standing is None or not await _is_genuine(standing, token_hash):
            return None
        tenant = standing.tenant
        ended = find_ended_refusal(tenant) if tenant is not None else None
        if touches:
            await _touch(standing, tenant if ended is None else None, token_hash)
        if tenant is None:
            if standing.present_slug:
                return Principal(token_hash, standing.user_id, present_slug=standing.present_slug)
            if slug:
                await _record_cross_tenant_attempt(standing.user_id, slug)
            return Principal(token_hash, standing.user_id)
        if ended is not None:
            request_ids.note_tenant(
                tenant.tenant_id, Actor("user", standing.user_id, standing.user_name), NO_RIGHTS
            )
            return Principal(
                token_hash,
                standing.user_id,
                tenant_id=tenant.tenant_id,
                ended_message=ended.detail,
                ended_step=ended.next_step,
            )
        rights = await _get_rights(standing, tenant)
    admission = admit_member(standing, tenant, rights=rights, session_hash=token_hash)
    request_ids.note_tenant(tenant.tenant_id, admission.actor, rights, impersonation=admission.impersonation)
    return Principal(
        token_hash,
        standing.user_id,
        admission.role.permissions,
        tenant.tenant_id,
        rights,
        admission=admission,
    )


async def _authenticate_impersonator(
    standing: ImpersonationStanding, slug: str, *, session_hash: str
) -> Principal:
    """The rights are the member's that support may use too. There is no other tenant in an impersonation."""
    impersonation, tenant = impersonation_sessions.build_impersonation(standing), standing.tenant
    outside = Principal(session_hash, standing.operator_id, impersonation=impersonation)
    if slug not in (tenant.slug, tenant.tenant_id):
        if slug:
            await _record_cross_tenant_attempt(standing.operator_id, slug)
        return outside
    if slug != tenant.slug:
        return Principal(
            session_hash, standing.operator_id, present_slug=tenant.slug, impersonation=impersonation
        )
    rights = await get_rights(tenant, verified=standing.user_verified)
    rights = rights.with_verdicts(actions.list_support_reasons(can_write=standing.can_write))
    role = roles.build_role(tenant.role)
    admission = TenantAdmission(
        tenant.tenant_id,
        tenant.slug,
        tenant.tenant_name,
        get_effective_state(tenant.tenant_state, verified=standing.user_verified),
        Actor("operator", standing.operator_id, standing.operator_name),
        Role(role.key, role.name, role.sentence, role.permissions & actions.list_support_permissions()),
        rights,
        session_hash,
        impersonation=impersonation,
    )
    return Principal(
        session_hash,
        standing.operator_id,
        admission.role.permissions,
        tenant.tenant_id,
        rights,
        admission=admission,
        impersonation=impersonation,
    )


async def _get_rights(standing: Standing, tenant: TenantStanding) -> Rights:
    return await get_rights(tenant, verified=standing.user_verified)


async def get_rights(tenant: TenantStanding | KeyStanding | IssuerStanding, *, verified: bool) -> Rights:
    """What the tenant may use. `verified`: whether the person's address is."""
    state = get_effective_state(tenant.tenant_state, verified=verified)
    live_tenant_id = "" if isinstance(tenant, IssuerStanding) else tenant.live_tenant_id
    facts = live_tenant_id or tenant.tenant_id, tenant.rights_version, tenant.epoch, state
    rights = rights_cache.find_rights(*facts)
    if rights is None:
        async with db.transaction(tenant_id=facts[0]) as session:
            rights = await rights_cache.get_rights(session, *facts)
    rights = siblings.limit_to_test_mode(rights) if live_tenant_id else rights
    if not live_tenant_id:  # a test tenant has the smallest weight
        tenant_weights.note_plan(tenant.tenant_id, rights.plan)
    return add_suspension(rights, tenant.suspension_message)


async def _is_genuine(standing: Standing, token_hash: str) -> bool:
    facts = SessionFacts(standing.session_id, token_hash, standing.user_id, standing.session_factors)
    return await sessions.is_genuine(realms.USER, facts, standing.session_proof)


async def _touch(standing: Standing, tenant: TenantStanding | None, token_hash: str) -> None:
    """Note that the session and the active member were seen, where that was long ago."""
    touches_session = sessions.is_touch_due(standing.session_seen_at)
    touches_membership = tenant is not None and _is_seen_outdated(tenant.seen_at)
    if not touches_session and not touches_membership:
        return
    tenant_id = (tenant.live_tenant_id or tenant.tenant_id) if tenant is not None else ""
    async with db.transaction(tenant_id=tenant_id) as session:
        if touches_session:
            await sessions.touch_by_hash(session, realms.USER, token_hash)
        if tenant is not None and touches_membership:
            await repository.touch_membership(session, tenant_id, standing.user_id, SEEN_UPDATE_INTERVAL)


def _is_seen_outdated(seen_at: datetime | None) -> bool:
    return seen_at is None or seen_at < now() - SEEN_UPDATE_INTERVAL


async def _record_cross_tenant_attempt(user_id: str, slug: str) -> None:
    """Record the attempt in its own transaction, because the caller raises and rolls back."""
    request_id = request_ids.current()
    log.get_logger(__name__).warning(
        "cross_tenant_attempt", tenant_id="-", actor_id=user_id, request_id=request_id
    )
    async with db.transaction() as session:
        subject = slug if slug.isascii() and slug.isprintable() else "unprintable"
        await audit_log.record_security_event(session, "cross_tenant_attempt", user_id, subject, request_id)


async def authenticate_operator(cookies: str, *, touches: bool = True) -> Principal | None:
    async with db.transaction("operator") as session:
        operator_session = await sessions.find(session, realms.OPERATOR, cookies)
        if operator_session is None or operator_session.person.disabled_at is not None:
            return None
        operator: Operator = operator_session.person
        if touches:
            await sessions.touch(session, realms.OPERATOR, operator_session)
        return Principal(
            operator_session.session_hash,
            operator.id,
            OPERATOR_ROLES[operator.role].permissions,
            admission=admit_operator(operator, operator_session.session_hash),
        )


async def is_session_live(session_hash: str) -> bool:
    """Whether this session of a member, or of an operator who acts for one, is valid now."""
    if impersonation_sessions.is_session_hash(session_hash):
        return await impersonation_sessions.find(session_hash) is not None
    async with db.transaction() as session:
        return await sessions.is_live(session, realms.USER, session_hash)


def get_claimed_hash(cookies: str) -> str:
    """The hash of the session that a Cookie header names, valid or not; "" without one."""
    return impersonation_sessions.get_session_hash(cookies) or sessions.get_token_hash(realms.USER, cookies)
