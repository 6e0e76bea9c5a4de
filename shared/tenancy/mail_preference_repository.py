"""SQL of notification preferences."""

from collections.abc import Mapping

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.context import Ctx
from shared.core.db import now
from shared.core.ids import new_id
from shared.tenancy.models import MailPreference


async def list_mail_preferences(ctx: Ctx, user_id: str) -> Mapping[str, MailPreference]:
    """By kind; of kinds for which this person chose nothing there is none."""
    statement = (
        select(MailPreference)
        .where(MailPreference.tenant_id == ctx.tenant_id)
        .where(MailPreference.user_id == user_id)
        .execution_options(populate_existing=True)
    )
    return {row.kind: row for row in (await ctx.session.exec(statement)).all()}


async def find_mail_preference(ctx: Ctx, user_id: str, kind: str) -> MailPreference | None:
    statement = (
        select(MailPreference)
        .where(MailPreference.tenant_id == ctx.tenant_id)
        .where(MailPreference.user_id == user_id)
        .where(MailPreference.kind == kind)
        .execution_options(populate_existing=True)
    )
    return (await ctx.session.exec(statement)).first()


async def save_mail_preference(
    ctx: Ctx, user_id: str, kind: str, *, enabled: bool, digest: bool, in_app: bool
) -> None:
    await _save(ctx.session, ctx.tenant_id, user_id, kind=kind, enabled=enabled, digest=digest, in_app=in_app)


async def set_mail_enabled(
    session: AsyncSession, tenant_id: str, user_id: str, *, kind: str, enabled: bool
) -> None:
    """Whether this person gets the mails of the kind; what else they chose stays. Needs a transaction of the tenant."""
    await _save(session, tenant_id, user_id, kind=kind, enabled=enabled)


async def set_digest_enabled(session: AsyncSession, tenant_id: str, user_id: str, *, enabled: bool) -> None:
    """As `set_mail_enabled`, for all kinds that this person gets in the digest."""
    await session.exec(
        update(MailPreference)
        .where(col(MailPreference.tenant_id) == tenant_id)
        .where(col(MailPreference.user_id) == user_id)
        .where(col(MailPreference.digest).is_(True))
        .values(enabled=enabled, changed_at=now())
    )


async def _save(session: AsyncSession, tenant_id: str, user_id: str, *, kind: str, **choices: bool) -> None:
    values = {"tenant_id": tenant_id, "id": new_id("mch"), "user_id": user_id, "kind": kind}
    changes = {**choices, "changed_at": now()}
    statement = insert(MailPreference).values(**values, **changes)
    statement = statement.on_conflict_do_update(index_elements=["tenant_id", "user_id", "kind"], set_=changes)
    connection = await session.connection()
    await connection.execute(statement)
