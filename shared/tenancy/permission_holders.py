"""The active members whose role has a permission, as recipients of messages."""

from collections.abc import Sequence

from shared.core.context import Ctx
from shared.identity.models import User
from shared.tenancy import member_repository, roles


async def list_users(ctx: Ctx, permission: str) -> Sequence[User]:
    """Owners first, then by the time they joined. For jobs and for services that have checked the permission."""
    role_keys = [role.key for role in await roles.list_roles(ctx) if permission in role.permissions]
    return await member_repository.list_users_with_roles(ctx, role_keys)
