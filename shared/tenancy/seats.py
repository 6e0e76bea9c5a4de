"""Lock the memberships of a tenant, and check the actor's permissions again under the lock.

Permissions are read without a lock when a person enters. While waiting here they may have been lost: two admins who
remove each other must not both succeed, and a reduced role grants only its remaining permissions.
"""

from shared.access import decision, policy
from shared.access.actions import Action
from shared.access.roles import ROLES
from shared.core.context import Ctx
from shared.tenancy import member_repository, role_repository, service_account_repository, siblings

SEAT_LIMIT = "members"  # the limit of which each member and each open invitation uses one
ACCOUNT_FEATURE = "service_account_seats"  # of plans where each service account uses one too


async def lock_membership(ctx: Ctx, action: Action) -> None:
    """Lock until the transaction ends. Raises Refused when the actor's role or permissions have changed.

    In a test tenant it locks the memberships of the live one, and detaches objects that were loaded before.
    """
    async with siblings.enter_live_tenant(ctx) as live_ctx:
        await _lock_membership(live_ctx, action)


async def _lock_membership(ctx: Ctx, action: Action) -> None:
    await member_repository.lock_members(ctx)
    if ctx.actor.type in ("user", "api_key", "service_account", "external"):
        is_external = ctx.actor.type == "external"
        row = await (
            role_repository.get_existing_role(ctx, ctx.role)
            if is_external
            else role_repository.get_active_role(ctx, ctx.holder_id)
        )
        permissions: frozenset[str] = frozenset()
        if row is not None:
            permissions = ROLES[row.key].permissions if row.builtin else frozenset(row.permissions)
        policy.require_unchanged(ctx, action, row.key if row else "", permissions)


async def reserve(ctx: Ctx, action: Action) -> set[str]:
    """Lock as above and return the addresses that use a seat, to check the limit before adding one."""
    await lock_membership(ctx, action)
    return await member_repository.list_seat_emails(ctx)


async def count(ctx: Ctx) -> int:
    """Seats in use, read without a lock. For services that have checked the permission."""
    used = await member_repository.count_seats(ctx)
    return used + await service_account_repository.count_accounts(ctx) if has_account_seats(ctx) else used


def has_account_seats(ctx: Ctx) -> bool:
    """Whether the plan counts service accounts as seats."""
    return decision.has_feature(ctx, ACCOUNT_FEATURE)
