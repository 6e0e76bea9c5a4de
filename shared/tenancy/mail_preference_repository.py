"""SQL of email preferences."""

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from shared.core.context import Ctx
from shared.tenancy.models import MailPreference


async def list_declined_mail_kinds(ctx: Ctx, user_id: str) -> set[str]:
    """Kinds of email that this person has turned off."""
    statement = (
        select(MailPreference.kind)
        .where(MailPreference.tenant_id == ctx.tenant_id)
        .where(MailPreference.user_id == user_id)
        .where(col(MailPreference.enabled).is_(False))
    )
    return set((await ctx.session.exec(statement)).all())


async def save_mail_preference(ctx: Ctx, user_id: str, kind: str, enabled: bool) -> None:
    row = MailPreference(tenant_id=ctx.tenant_id, user_id=user_id, kind=kind, enabled=enabled)
    statement = insert(MailPreference).values(row.model_dump())
    statement = statement.on_conflict_do_update(
        index_elements=["tenant_id", "user_id", "kind"],
        set_={"enabled": enabled, "changed_at": row.changed_at},
    )
    connection = await ctx.session.connection()
    await connection.execute(statement)
