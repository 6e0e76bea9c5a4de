"""The lock under which it changes who belongs to a tenant, and a second look at whoever changes it.

Rights are read when somebody enters, without a lock. Who waits here may have lost them in the meantime: two admins
who remove each other must not both succeed, and a role that was cut gives no more than what is left of it.
"""

from shared.access import policy
from shared.access.actions import Action
from shared.access.roles import ROLES
from shared.core.context import Ctx
from shared.tenancy import member_repository, role_repository


async def lock_membership(ctx: Ctx, action: Action) -> None:
    """One change at a time until the transaction ends. Raises Refused for a person who is not what they were."""
    await member_repository.lock_members(ctx)
    if ctx.actor.type == "user":
        row = await role_repository.get_active_role(ctx, ctx.actor_id)
        permissions: frozenset[str] = frozenset()
        if row is not None:
            permissions = ROLES[row.key].permissions if row.builtin else frozenset(row.permissions)
        policy.require_unchanged(ctx, action, row.key if row else "", permissions)


async def reserve(ctx: Ctx, action: Action) -> set[str]:
    """The same, and the addresses that hold a seat: asked for its limit before another one is added."""
    await lock_membership(ctx, action)
    return await member_repository.list_seat_emails(ctx)


async def count(ctx: Ctx) -> int:
    """Seats in use. For services that were asked for their right; unlocked, so a figure and no promise."""
    return len(await member_repository.list_seat_emails(ctx))
