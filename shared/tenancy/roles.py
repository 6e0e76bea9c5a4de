"""The roles a tenant has: the built-in ones, whose permissions are in the code, and its own.

Nobody makes, gives or touches a role that may do more than they may, and a role that somebody holds stays.
"""

from collections.abc import Sequence

from shared.access.permissions import Permission
from shared.access.roles import ROLES, Role
from shared.core.ctx import Ctx
from shared.tenancy import repository
from shared.tenancy.models import RoleRow


def of(row: RoleRow) -> Role:
    """What the row means. One that was deleted may do nothing."""
    if row.builtin:
        return ROLES[row.key]
    permissions = frozenset() if row.deleted_at else frozenset(row.permissions) & frozenset(Permission)
    return Role(row.key, row.name, row.sentence, permissions)


async def get(ctx: Ctx, key: str) -> Role | None:
    """None for one that does not exist, or not any more. For services that have asked for their right."""
    if key in ROLES:
        return ROLES[key]
    row = await repository.get_role(ctx, key)
    return of(row) if row is not None and row.deleted_at is None else None


async def permissions(ctx: Ctx, key: str) -> frozenset[str] | None:
    """For `policy.require_grantable`: None where there is no such role. A deleted one may still be taken away."""
    if key in ROLES:
        return ROLES[key].permissions
    row = await repository.get_role(ctx, key)
    return of(row).permissions if row is not None else None


async def name(ctx: Ctx, key: str) -> str:
    row = await repository.get_role(ctx, key)
    return row.name if row is not None else key


async def list_all(ctx: Ctx) -> Sequence[Role]:
    """From the most to the least, then the tenant's own by name. For services and pages that show roles by name."""
    return [*ROLES.values(), *(of(row) for row in await repository.list_own_roles(ctx))]
