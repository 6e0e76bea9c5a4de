"""Service accounts: members without a person, for programs. They have a role, and survive whoever made them.

Like members', their roles are assigned under the membership lock, and only roles within the actor's permissions.
"""

from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.access.roles import OWNER
from shared.audit import audit_log
from shared.core import live_events, rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.ids import new_id
from shared.core.paging import Page, build_page, clamp_limit, map_page
from shared.core.versions import advance_version, require_version
from shared.tenancy import membership_end, roles, seats
from shared.tenancy import service_account_repository as repository
from shared.tenancy.models import ServiceAccount

TOPIC = "api_keys"  # of open pages: accounts and their keys are shown together
MAX_ACCOUNTS = 100  # that have not ended, in one tenant
MAX_NAME_LENGTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountView:
    id: str
    name: str
    role: str  # key
    created_by_name: str
    created_at: datetime
    version: int


async def list_accounts(ctx: Ctx, *, after: str = "", limit: int = 50) -> Page[ServiceAccountView]:
    """Newest first, without ended ones. Raises Invalid for an unknown page."""
    policy.require(ctx, actions.SERVICE_ACCOUNT_READ)
    limit = clamp_limit(limit)
    accounts = await repository.list_accounts(ctx, after=after, limit=limit + 1)
    return map_page(build_page(accounts, limit=limit, cursor_of=repository.get_cursor), _build_view)


async def get(ctx: Ctx, service_account_id: str) -> ServiceAccountView:
    """Raises NotFound for an unknown and for an ended one."""
    policy.require(ctx, actions.SERVICE_ACCOUNT_READ)
    account = await repository.get_account(ctx, service_account_id)
    if account is None or account.ended_at is not None:
        raise _not_found()
    return _build_view(account)


async def create(ctx: Ctx, name: str, role: str) -> ServiceAccountView:
    """Raises Invalid, Conflict above `MAX_ACCOUNTS`, Refused for a role above the actor's permissions, and without a free seat
    where the plan counts service accounts.
    """
    policy.require(ctx, actions.SERVICE_ACCOUNT_WRITE)
    name = _clean_name(name)
    await seats.lock_membership(ctx, actions.SERVICE_ACCOUNT_WRITE)
    await _require_assignable(ctx, role)
    if await repository.count_accounts(ctx) >= MAX_ACCOUNTS:
        raise Conflict(f"{MAX_ACCOUNTS} service accounts are in use.", "Delete one that is no longer needed.")
    if seats.has_account_seats(ctx):
        policy.require(ctx, actions.SERVICE_ACCOUNT_TAKE_SEAT, used=await seats.count(ctx))
    account = ServiceAccount(
        tenant_id=ctx.tenant_id,
        id=new_id("sac"),
        name=name,
        role=role,
        created_by=ctx.actor_id,
        created_by_name=ctx.actor.name,
    )
    ctx.session.add(account)
    audit_log.record(
        ctx,
        "service_account.created",
        account.id,
        after={"name": name, "role": await roles.get_audit_name(ctx, role)},
        account=name,
    )
    await _publish_change(ctx)
    return _build_view(account)


async def change(
    ctx: Ctx, service_account_id: str, *, name: str, role: str, version: int | None
) -> ServiceAccountView:
    """Takes effect on the next request of its keys. `version`: of the account that was read.

    Raises Invalid, NotFound, Refused for a role above the actor's permissions, ChangedMeanwhile.
    """
    policy.require(ctx, actions.SERVICE_ACCOUNT_WRITE)
    name = _clean_name(name)
    await seats.lock_membership(ctx, actions.SERVICE_ACCOUNT_WRITE)
    account = await lock_active(ctx, service_account_id)
    policy.require_grantable(ctx, await roles.get_permissions(ctx, account.role))
    await _require_assignable(ctx, role)
    role_names = await roles.get_name(ctx, account.role), await roles.get_name(ctx, role)
    require_version(
        account, version, "this service account", {"Name": (account.name, name), "Role": role_names}
    )
    if (account.name, account.role) == (name, role):
        return _build_view(account)
    before = {"name": account.name, "role": await roles.get_audit_name(ctx, account.role)}
    account.name, account.role = name, role
    advance_version(account, ctx.actor.name)
    ctx.session.add(account)
    audit_log.record(
        ctx,
        "service_account.changed",
        account.id,
        before=before,
        after={"name": name, "role": await roles.get_audit_name(ctx, role)},
        account=name,
    )
    permissions = await roles.get_permissions(ctx, role) or frozenset[str]()
    await membership_end.end_promises(ctx, [account.id], permissions)
    await _publish_change(ctx)
    return _build_view(account)


async def end(ctx: Ctx, service_account_id: str) -> None:
    """Its keys end with it, on the next request. Raises NotFound, Refused for one above the actor's permissions."""
    policy.require(ctx, actions.SERVICE_ACCOUNT_END)
    await seats.lock_membership(ctx, actions.SERVICE_ACCOUNT_END)
    account = await lock_active(ctx, service_account_id)
    policy.require_grantable(ctx, await roles.get_permissions(ctx, account.role))
    account.ended_at, account.ended_by = now(), ctx.actor.name
    ctx.session.add(account)
    audit_log.record(
        ctx,
        "service_account.ended",
        account.id,
        before={"name": account.name, "role": await roles.get_audit_name(ctx, account.role)},
        account=account.name,
    )
    await membership_end.end_promises(ctx, [account.id])
    await _publish_change(ctx)


async def lock_active(ctx: Ctx, service_account_id: str) -> ServiceAccount:
    """For services that have checked the permission. Raises NotFound for an unknown or ended one."""
    account = await rows.lock(ctx, ServiceAccount, service_account_id)
    if account is None or account.ended_at is not None:
        raise _not_found()
    return account


def _not_found() -> NotFound:
    return NotFound("This service account doesn’t exist.", "Reload the page.")


async def _require_assignable(ctx: Ctx, role: str) -> None:
    """Raises Invalid for the owner's role, Refused for one above the actor's permissions."""
    if role == OWNER:
        text = "A service account can’t be an owner."
        raise Invalid(text, "Choose another role.", fields={"role": text})
    await roles.require_assignable(ctx, role)


def _clean_name(text: str) -> str:
    return clean_line(
        text, noun="name", missing="Enter a name.", max_length=MAX_NAME_LENGTH, fields=("name",)
    )


def _build_view(account: ServiceAccount) -> ServiceAccountView:
    return ServiceAccountView(
        id=account.id,
        name=account.name,
        role=account.role,
        created_by_name=account.created_by_name,
        created_at=account.created_at,
        version=account.version,
    )


async def _publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)
