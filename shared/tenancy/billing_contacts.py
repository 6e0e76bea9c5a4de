"""Recipients of billing emails: owners and members who may manage billing."""

from collections.abc import Sequence

from shared.access.permissions import Permission
from shared.access.roles import OWNER
from shared.core.context import Ctx
from shared.identity.models import User
from shared.tenancy import member_repository, permission_holders


async def list_contacts(ctx: Ctx) -> Sequence[User]:
    """Owners first, then by the time they joined. For jobs and for services that have checked the permission."""
    return await permission_holders.list_users(ctx, Permission.BILLING_WRITE)


async def list_owner_ids(ctx: Ctx) -> list[str]:
    """User ids of the active owners, for jobs and for services that have checked the permission."""
    return [owner.id for owner in await member_repository.list_users_with_roles(ctx, [OWNER])]


async def get_owner_email(ctx: Ctx) -> str:
    """The email of the first contact, normally an owner; "" when there is none."""
    contacts = await list_contacts(ctx)
    return contacts[0].email if contacts else ""
