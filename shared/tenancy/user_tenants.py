"""The tenants of one person, over all tenants."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.roles import Role
from shared.core import db
from shared.core.context import Ctx
from shared.core.errors import NotSignedIn
from shared.identity import realms, sessions
from shared.tenancy import entry_repository as repository
from shared.tenancy import roles
from shared.tenancy.models import Membership, Tenant


@dataclass(frozen=True, slots=True)
class UserTenant:
    slug: str
    name: str
    role: Role
    state: str  # of the tenant


async def list_memberships(session: AsyncSession, user_id: str) -> Sequence[tuple[Membership, Tenant]]:
    """All memberships of this user, including ended ones. Needs `db.set_user` in the transaction."""
    return await repository.list_memberships(session, user_id)


async def list_user_tenants(cookies: str) -> list[UserTenant]:
    """The tenants of the signed-in person, by name. Raises NotSignedIn."""
    async with db.transaction() as session:
        user_session = await sessions.find(session, realms.USER, cookies)
        if user_session is None:
            raise NotSignedIn
        return await _list_user_tenants(session, user_session.subject_id)


async def list_actor_tenants(ctx: Ctx) -> list[UserTenant]:
    """As `list_user_tenants`, for the person of a context."""
    return await _list_user_tenants(ctx.session, ctx.actor_id)


async def _list_user_tenants(session: AsyncSession, user_id: str) -> list[UserTenant]:
    return [
        UserTenant(slug, name, roles.build_role(role), state)
        for slug, name, state, role in await repository.list_tenants_with_roles(session, user_id)
    ]
