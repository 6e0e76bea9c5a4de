"""SQL of the tenant, its settings and its data key."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import crypto, rows
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.rows import insert_missing
from shared.tenancy.models import FormerSlug, Tenant, TenantKey, TenantSettings

# As text: it is asked with every kept answer, and building it would cost more than running it.
SHARE_KEY = text(
    "select kek_id, wrapped from tenant_key where tenant_id = :tenant_id and id = 'dek' for share"
)


async def add_tenant(session: AsyncSession, tenant: Tenant) -> bool:
    """False when the slug is taken. The transaction stays usable."""
    try:
        async with session.begin_nested():
            session.add(tenant)
            await session.flush()
    except IntegrityError:
        return False
    return True


async def lock_tenant(ctx: Ctx) -> Tenant:
    tenant = await ctx.session.get(
        Tenant, ctx.tenant_id, with_for_update={"key_share": True}, populate_existing=True
    )
    assert tenant is not None  # a Ctx exists only for an existing tenant
    return tenant


async def find_test_tenant(ctx: Ctx) -> Tenant | None:
    """Of a live tenant, which sees it beside its own row."""
    statement = select(Tenant).where(Tenant.live_tenant_id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).first()


async def delete_test_rows(ctx: Ctx, tables: Sequence[str]) -> None:
    """All rows of these tables that the tenant has. The database refuses it for a live tenant."""
    connection = await ctx.session.connection()
    await connection.exec_driver_sql("select delete_test_rows(%s)", (list(tables),))


async def get_version(ctx: Ctx) -> int:
    statement = select(Tenant.version).where(Tenant.id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).one()


async def get_rights_version(ctx: Ctx) -> int:
    statement = select(Tenant.rights_version).where(Tenant.id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).one()


async def set_slug(ctx: Ctx, tenant: Tenant, slug: str) -> bool:
    """False when the slug is taken. The transaction stays usable."""
    try:
        async with ctx.session.begin_nested():
            tenant.slug = slug
            ctx.session.add(tenant)
            await ctx.session.flush()
    except IntegrityError:
        return False
    return True


async def keep_slug(ctx: Ctx, slug: str, kept_until: datetime) -> None:
    """Forgets those whose time is over."""
    await ctx.session.exec(
        delete(FormerSlug)
        .where(col(FormerSlug.tenant_id) == ctx.tenant_id)
        .where(col(FormerSlug.kept_until) <= now())
    )
    ctx.session.add(FormerSlug(tenant_id=ctx.tenant_id, id=slug, kept_until=kept_until))
    await ctx.session.flush()


async def release_slug(ctx: Ctx, slug: str) -> None:
    await ctx.session.exec(
        delete(FormerSlug).where(col(FormerSlug.tenant_id) == ctx.tenant_id).where(col(FormerSlug.id) == slug)
    )


async def list_kept_slugs(ctx: Ctx) -> Sequence[FormerSlug]:
    """Those whose time is not over, the one that ends first at the beginning."""
    statement = (
        select(FormerSlug)
        .where(FormerSlug.tenant_id == ctx.tenant_id)
        .where(FormerSlug.kept_until > now())
        .order_by(col(FormerSlug.kept_until), col(FormerSlug.id))
    )
    return await rows.all(ctx, statement)


async def get_created_at(ctx: Ctx) -> datetime:
    statement = select(Tenant.created_at).where(Tenant.id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).one()


async def get_settings(ctx: Ctx) -> TenantSettings | None:
    return await ctx.session.get(TenantSettings, (ctx.tenant_id, "settings"))


async def get_frame_settings(ctx: Ctx) -> tuple[str, str, datetime | None]:
    """Colour, digest of the logo and the time of the deletion."""
    statement = (
        select(
            func.coalesce(col(TenantSettings.colour), ""),
            func.coalesce(col(TenantSettings.logo_digest), ""),
            col(Tenant.deletion_at),
        )
        .select_from(Tenant)
        .outerjoin(TenantSettings, col(TenantSettings.tenant_id) == col(Tenant.id))
        .where(Tenant.id == ctx.tenant_id)
    )
    colour, logo_digest, deletion_at = (await ctx.session.exec(statement)).one()
    return colour, logo_digest, deletion_at


async def get_deletion_at(ctx: Ctx) -> datetime | None:
    statement = select(Tenant.deletion_at).where(Tenant.id == ctx.tenant_id)
    return (await ctx.session.exec(statement)).one()


async def get_logo_digest(ctx: Ctx) -> str:
    """ "" without a logo."""
    statement = select(TenantSettings.logo_digest).where(TenantSettings.tenant_id == ctx.tenant_id)
    return await rows.one(ctx, statement) or ""


async def lock_settings(ctx: Ctx) -> TenantSettings:
    await insert_missing(ctx, [TenantSettings(tenant_id=ctx.tenant_id)])
    settings = await ctx.session.get(
        TenantSettings,
        (ctx.tenant_id, "settings"),
        with_for_update={"key_share": True},
        populate_existing=True,
    )
    assert settings is not None
    return settings


async def add_key(ctx: Ctx, kek_id: int, wrapped: bytes) -> None:
    await insert_missing(ctx, [TenantKey(tenant_id=ctx.tenant_id, kek_id=kek_id, wrapped=wrapped)])


async def find_key(ctx: Ctx) -> crypto.WrappedKey | None:
    """Shared with others that seal, until the transaction ends. None where the tenant has none yet."""
    connection = await ctx.session.connection()
    row = (await connection.execute(SHARE_KEY, {"tenant_id": ctx.tenant_id})).first()
    return crypto.WrappedKey(row[0], row[1]) if row is not None else None


async def get_key(ctx: Ctx, *, locks: bool = False) -> crypto.WrappedKey:
    """The tenant must have one: `add_key`. `locks`: shared with others that seal, until the transaction ends."""
    row = await ctx.session.get_one(
        TenantKey,
        (ctx.tenant_id, "dek"),
        with_for_update={"read": True} if locks else None,
        populate_existing=True,
    )
    return crypto.WrappedKey(row.kek_id, row.wrapped)
