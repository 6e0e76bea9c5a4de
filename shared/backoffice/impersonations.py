"""Act for a member of a tenant: request, begin with a one-use code, end, and read what was done.

Each needs a reason and a ticket. It lasts at most 30 minutes and reads only, unless a second permission and a second reason
allow changes. Operators, oneself, suspended members and tenants that are closed are refused.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from shared.access import actions, policy
from shared.backoffice.reasons import Reason, use_reason
from shared.core import crypto
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import is_id, new_id
from shared.core.paging import Page
from shared.core.stated_reason import clean_stated_reason
from shared.identity import operators
from shared.identity.models import User
from shared.tenancy import entry, impersonation_sessions, impersonations
from shared.tenancy.impersonations import CODE_LIFETIME, MAX_MINUTES, Phase
from shared.tenancy.models import (
    Consent,
    ImpersonationEnd,
    ImpersonationRow,
    MembershipState,
    TenantState,
)

MIN_TICKET_LENGTH, MAX_TICKET_LENGTH = 2, 60
OWN_SESSION_REASON = "Continue a support session"
MAX_WAITING = 5  # requests of one operator that wait for consent in one tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpersonationRequest:
    membership_id: str
    ticket: str
    minutes: int
    can_write: bool = False
    write_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedImpersonation:
    id: str
    # For one use within a minute; "" while an owner has to agree, and where a second operator has just approved it.
    code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpersonationTarget:
    """For whom one is requested, as a second operator sees it."""

    tenant_name: str
    person_name: str


async def check_request(
    octx: OperatorCtx, tenant_id: str, order: ImpersonationRequest, reason: Reason
) -> ImpersonationTarget:
    """Whether it could be requested now. Raises as `request`."""
    policy.require_operator(octx, actions.OP_IMPERSONATE)
    reason_text = use_reason(octx, reason, tenant_id)
    _check_order(order)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        _require_open(ctx)
        person = await _require_person(octx, ctx, order.membership_id)
        return ImpersonationTarget(tenant_name=ctx.tenant_name, person_name=person.name)


async def request(
    octx: OperatorCtx,
    tenant_id: str,
    order: ImpersonationRequest,
    reason: Reason,
    *,
    impersonation_id: str = "",
) -> RequestedImpersonation:
    """With a code, unless the tenant wants to agree first. One that may change something needs a second operator, in whose
    transaction no code is made; the requester then begins it. `impersonation_id`: id of the new one.

    Raises Invalid, NotFound, Refused for people and tenants that are closed to it, Conflict with too many requests.
    """
    policy.require_operator(octx, actions.OP_IMPERSONATE)
    if order.can_write:
        policy.require_operator(octx, actions.OP_IMPERSONATE_WRITE)
    reason_text = use_reason(octx, reason, tenant_id)
    is_approved_by_second = octx.approval is not None and octx.approval.id != ""
    if not is_approved_by_second:
        _require_session(octx)
    ticket, write_reason = _check_order(order)
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        _require_open(ctx)
        person = await _require_person(octx, ctx, order.membership_id)
        needs_consent = await impersonations.is_consent_needed(ctx)
        if await impersonations.count_waiting(ctx, octx.actor_id) >= MAX_WAITING:
            raise Conflict("You have too many open requests here.", "Wait until an owner has answered them.")
        row = ImpersonationRow(
            tenant_id=tenant_id,
            id=impersonation_id if is_id("imp", impersonation_id) else new_id("imp"),
            operator_id=octx.actor_id,
            operator_name=octx.actor.name,
            user_id=person.id,
            user_name=person.name,
            reason=reason_text,
            ticket=ticket,
            minutes=order.minutes,
            can_write=order.can_write,
            write_reason=write_reason,
            consent=Consent.PENDING if needs_consent else Consent.NOT_NEEDED,
        )
        code = "" if needs_consent or is_approved_by_second else _issue_code(octx, row)
        ctx.session.add(row)
        impersonations.record(ctx, "impersonation.requested", row)
        if needs_consent:
            await impersonations.notify_owners(ctx, row, impersonations.REQUESTED)
        await impersonations.publish_change(ctx)
        return RequestedImpersonation(id=row.id, code=code)


async def begin(octx: OperatorCtx, tenant_id: str, impersonation_id: str) -> RequestedImpersonation:
    """A code for one's own request, to which an owner or a second operator has agreed.

    Raises NotFound, Refused, Conflict.
    """
    policy.require_operator(octx, actions.OP_IMPERSONATE)
    _require_session(octx)
    async with _enter_own(octx, tenant_id) as ctx:
        row = await _lock_own(octx, ctx, impersonation_id)
        if row.can_write:  # its row was made with an approval, which doesn't cover the permission of now
            policy.require_operator(octx, actions.OP_IMPERSONATE_WRITE, is_request=True)
        _require_open(ctx)
        if impersonations.find_phase(row) is not Phase.READY or await impersonations.lacks_consent(ctx, row):
            raise Conflict("This support session can’t begin now.", "Start a new one.")
        code = _issue_code(octx, row)
        ctx.session.add(row)
        return RequestedImpersonation(id=row.id, code=code)


async def begin_if_ready(octx: OperatorCtx, tenant_id: str, impersonation_id: str) -> RequestedImpersonation:
    """As `begin`, without a code where an owner has to agree first."""
    policy.require_operator(octx, actions.OP_IMPERSONATE)
    async with _enter_own(octx, tenant_id) as ctx:
        phase = impersonations.find_phase(await _lock_own(octx, ctx, impersonation_id))
    if phase is Phase.WAITING:
        return RequestedImpersonation(id=impersonation_id)
    return await begin(octx, tenant_id, impersonation_id)


async def end(octx: OperatorCtx, tenant_id: str, impersonation_id: str) -> None:
    """End one's own, including one that never began. Raises NotFound."""
    policy.require_operator(octx, actions.OP_IMPERSONATE)
    async with _enter_own(octx, tenant_id) as ctx:
        row = await _lock_own(octx, ctx, impersonation_id)
        cause = ImpersonationEnd.OPERATOR if row.started_at else ImpersonationEnd.UNUSED
        await impersonations.end(ctx, row, cause)


async def list_impersonations(
    octx: OperatorCtx, tenant_id: str, reason: Reason, *, after: str = "", limit: int = 50
) -> Page[impersonations.ImpersonationView]:
    """Of all operators in this tenant, newest first. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    async with entry.enter_as_operator(octx, tenant_id, use_reason(octx, reason, tenant_id)) as ctx:
        return await impersonations.list_page(ctx, after=after, limit=limit)


async def get_transcript(
    octx: OperatorCtx, tenant_id: str, impersonation_id: str, reason: Reason
) -> impersonations.Transcript:
    """What was seen and done in a support session. The tenant's audit log has a line for it. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_TENANT_READ)
    async with entry.enter_as_operator(octx, tenant_id, use_reason(octx, reason, tenant_id)) as ctx:
        return await impersonations.build_transcript(ctx, impersonation_id)


def _check_order(order: ImpersonationRequest) -> tuple[str, str]:
    """The ticket, and the reason for changes, as they are stored. Raises Invalid with the field."""
    if not 1 <= order.minutes <= MAX_MINUTES:
        step = f"Choose 1 to {MAX_MINUTES} minutes."
        raise Invalid(
            f"A support session lasts at most {MAX_MINUTES} minutes.", step, fields={"minutes": step}
        )
    ticket = " ".join(order.ticket.split())
    if not MIN_TICKET_LENGTH <= len(ticket) <= MAX_TICKET_LENGTH:
        step = f"Enter its number, with {MIN_TICKET_LENGTH} to {MAX_TICKET_LENGTH} characters."
        raise Invalid("A ticket is required.", step, fields={"ticket": step})
    if not order.can_write:
        return ticket, ""
    try:
        return ticket, clean_stated_reason(order.write_reason)
    except Invalid as problem:
        step = f"Explain why reading isn’t enough. {problem.detail}"
        raise Invalid("Changes need a reason of their own.", step, fields={"write_reason": step}) from problem


def _require_session(octx: OperatorCtx) -> None:
    """An impersonation ends with the session that began it, and a key has none. Raises Refused."""
    if not octx.session_hash:
        raise Refused(
            "Support sessions begin in the admin app.",
            "Sign in there.",
            reason="no_session",
            action=actions.OP_IMPERSONATE.name,
        )


def _require_open(ctx: Ctx) -> None:
    """Raises Refused for a closed tenant."""
    if ctx.tenant_state in (TenantState.SUSPENDED, TenantState.DELETED):
        raise Refused(
            f"{ctx.tenant_name} is {ctx.tenant_state}, so no one can enter it.",
            "Restore the organisation first.",
            reason=f"tenant_{ctx.tenant_state}",
            action=actions.OP_IMPERSONATE.name,
        )


async def _require_person(octx: OperatorCtx, ctx: Ctx, membership_id: str) -> User:
    """Raises NotFound, Refused for oneself, for other operators and for people who can't sign in here."""
    record = await impersonations.find_member(ctx, membership_id)
    if record is None:
        raise NotFound("This member doesn’t exist.", "Choose one from the list of members.")
    membership, user = record
    if (operator := await operators.find_by_email(octx.session, user.email)) is not None:
        raise _refuse_person(
            "This is your own account."
            if operator.id == octx.actor_id
            else f"{user.name} is an operator as well."
        )
    if membership.state is not MembershipState.ACTIVE or user.disabled_at is not None:
        raise _refuse_person(f"{user.name} can’t sign in to this organisation now.")
    return user


def _refuse_person(message: str) -> Refused:
    return Refused(
        message, "Choose an active member.", reason="person_closed", action=actions.OP_IMPERSONATE.name
    )


def _issue_code(octx: OperatorCtx, row: ImpersonationRow) -> str:
    """For one use within a minute. The session will end with this session of the operator."""
    secret = crypto.new_token()
    row.operator_session_hash, row.code_hash = octx.session_hash, crypto.hash_token(secret)
    row.code_expires_at = now() + CODE_LIFETIME
    row.proof = impersonation_sessions.compute_code_proof(row)
    return impersonation_sessions.build_text(row.tenant_id, secret)


@asynccontextmanager
async def _enter_own(octx: OperatorCtx, tenant_id: str) -> AsyncIterator[Ctx]:
    async with entry.enter_live_as_operator(octx, tenant_id, OWN_SESSION_REASON) as ctx:
        yield ctx


async def _lock_own(octx: OperatorCtx, ctx: Ctx, impersonation_id: str) -> ImpersonationRow:
    """Raises NotFound, for those of other operators too."""
    row = await impersonations.lock(ctx, impersonation_id)
    if row.operator_id != octx.actor_id:
        raise impersonations.build_not_found()
    return row
