"""A live tenant and its test tenant: from a context of one into the other, in the same transaction.

Actor, role, scopes and decisions are the same in both. Members, roles, plan and state are those of the live tenant.
Objects that were loaded before are detached afterwards.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from shared.access.actions import list_live_only_reasons
from shared.core import db
from shared.core.context import Ctx, Rights
from shared.core.errors import Conflict
from shared.tenancy import tenant_repository
from shared.tenancy.models import Tenant, TenantMode, TenantState

NAME_SUFFIX = " (test)"


def name_test_tenant(live_name: str) -> str:
    return f"{live_name}{NAME_SUFFIX}"


def limit_to_test_mode(rights: Rights) -> Rights:
    """`rights`: of the live tenant. What only it has is refused."""
    return rights.with_verdicts(list_live_only_reasons())


async def find_test_tenant(ctx: Ctx) -> Tenant | None:
    """Of a live tenant; None while test mode is off."""
    return None if ctx.is_test else await tenant_repository.find_test_tenant(ctx)


async def require_test_tenant(ctx: Ctx) -> Tenant:
    """Raises Conflict while test mode is off."""
    tenant = await find_test_tenant(ctx)
    if tenant is None:
        raise Conflict("Test mode is off.", "Turn it on in Settings.", reason="test_mode_off")
    return tenant


async def add_test_tenant(ctx: Ctx, slug: str) -> Tenant | None:
    """For the service that turns test mode on. None where the slug is taken."""
    tenant = Tenant(
        slug=slug,
        name=name_test_tenant(ctx.tenant_name),
        state=TenantState.ACTIVE,
        mode=TenantMode.TEST,
        live_tenant_id=ctx.tenant_id,
        live_tenant_mode=TenantMode.LIVE.value,
    )
    async with _switch_tenant(ctx, tenant.id):
        is_added = await tenant_repository.add_tenant(ctx.session, tenant)
    return tenant if is_added else None


async def delete_rows(test_ctx: Ctx, tables: Sequence[str]) -> None:
    """All rows that the test tenant has in these tables. For the service that has checked the permission."""
    await tenant_repository.delete_test_rows(test_ctx, tables)


@asynccontextmanager
async def enter_test_tenant(ctx: Ctx, tenant: Tenant) -> AsyncIterator[Ctx]:
    """`ctx`: of the live tenant, whose permissions the services have checked. `tenant`: its test tenant."""
    assert tenant.live_tenant_id == ctx.tenant_id
    async with _switch_tenant(ctx, tenant.id):
        yield replace(
            ctx,
            tenant_id=tenant.id,
            slug=tenant.slug,
            tenant_name=name_test_tenant(ctx.tenant_name),
            live_tenant_id=ctx.tenant_id,
            rights=limit_to_test_mode(ctx.rights),
        )


@asynccontextmanager
async def enter_live_tenant(ctx: Ctx) -> AsyncIterator[Ctx]:
    """To read or lock members and roles. The context itself in a live tenant."""
    if not ctx.is_test:
        yield ctx
        return
    async with _switch_tenant(ctx, ctx.live_tenant_id):
        yield replace(ctx, tenant_id=ctx.live_tenant_id, live_tenant_id="")


@asynccontextmanager
async def _switch_tenant(ctx: Ctx, tenant_id: str) -> AsyncIterator[None]:
    await db.set_tenant(ctx.session, tenant_id)
    try:
        yield
    except BaseException:
        # The transaction will be rolled back. Pending rows must not be flushed into another tenant.
        ctx.session.expunge_all()
        raise
    await db.set_tenant(ctx.session, ctx.tenant_id)
