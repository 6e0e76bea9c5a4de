"""Operators who act for a member: their codes, cookies and sessions."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from shared.backoffice import impersonations
from shared.backoffice.impersonations import ImpersonationRequest, RequestedImpersonation
from shared.backoffice.reasons import state_reason
from shared.core.context import Ctx
from shared.tenancy import entry, impersonation_entry, impersonation_sessions, members

REASON, TICKET = "The members list is empty", "4471"
WRITE_REASON = "The name has to be corrected"


@dataclass(frozen=True)
class SupportSession:
    id: str
    tenant_id: str
    slug: str
    cookie: str  # the Cookie header

    def ctx(self) -> AbstractAsyncContextManager[Ctx]:
        return entry.enter_tenant(self.cookie, self.slug)


async def find_membership(owner_cookie: str, slug: str, user_id: str) -> str:
    async with entry.enter_tenant(owner_cookie, slug) as ctx:
        listed = (await members.list_members(ctx)).rows
    return next(member.id for member in listed if member.user_id == user_id)


async def request(
    operator_cookie: str,
    tenant_id: str,
    membership_id: str,
    *,
    reason: str = REASON,
    ticket: str = TICKET,
    minutes: int = 30,
    can_write: bool = False,
    write_reason: str = "",
) -> RequestedImpersonation:
    order = ImpersonationRequest(
        membership_id=membership_id,
        ticket=ticket,
        minutes=minutes,
        can_write=can_write,
        write_reason=write_reason or (WRITE_REASON if can_write else ""),
    )
    async with entry.enter_operator(operator_cookie) as octx:
        return await impersonations.request(
            octx, tenant_id, order, state_reason(octx, reason, tenant_id=tenant_id)
        )


async def start(
    operator_cookie: str, tenant_id: str, membership_id: str, *, can_write: bool = False, minutes: int = 30
) -> SupportSession:
    requested = await request(operator_cookie, tenant_id, membership_id, can_write=can_write, minutes=minutes)
    started = await impersonation_entry.accept_code(requested.code)
    cookie = f"{impersonation_sessions.COOKIE}={started.cookie}"
    return SupportSession(requested.id, tenant_id, started.slug, cookie)
