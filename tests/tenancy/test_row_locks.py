"""Audited services while another transaction of the same tenant holds its row."""

from collections.abc import Awaitable, Callable

import pytest

from shared.core.context import Ctx
from shared.tenancy import invitations, members, roles, tenant_repository, tenants
from tests.conftest import Cast


async def invite(ctx: Ctx) -> None:
    await invitations.invite(ctx, "new@acme.test", "member")


async def create_role(ctx: Ctx) -> None:
    await roles.create(ctx, "Editors", "", {"audit:read"})


async def deactivate_member(ctx: Ctx) -> None:
    (row,) = (await members.list_members(ctx, query="max")).rows
    await members.deactivate(ctx, row.id)


SERVICES = [invite, create_role, deactivate_member]


@pytest.mark.parametrize("service", SERVICES)
async def test_audited_service_runs_while_the_tenants_row_is_held(
    cast: Cast, service: Callable[[Ctx], Awaitable[None]]
) -> None:
    """Its event refers to the tenant, and the holder records an event of its own afterwards: they would deadlock."""
    async with cast.ann.ctx() as holder:
        await tenant_repository.lock_tenant(holder)
        async with cast.ann.ctx() as ctx:
            await service(ctx)
        await tenants.rename(holder, "Acme and sons", version=None)
