"""Who is written to about money: owners, and whoever may pay."""

from collections.abc import Sequence

from shared.access.permissions import Permission
from shared.core.ctx import Ctx
from shared.identity.models import User
from shared.tenancy import repository, roles


async def list_payers(ctx: Ctx) -> Sequence[User]:
    """Owners first, then by the time they joined. For jobs, and services that were asked for their right."""
    keys = [role.key for role in await roles.list_all(ctx) if Permission.BILLING_WRITE in role.permissions]
    return await repository.list_people_with(ctx, keys)


async def first_address(ctx: Ctx) -> str:
    """Of an owner; "" for an organisation that has none any more."""
    people = await list_payers(ctx)
    return people[0].email if people else ""
