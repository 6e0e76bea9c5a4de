"""Tasks of no product, for tests of the queue. Each is written to run twice, as ours are."""

from typing import Any

from sqlalchemy import text

from shared.core.context import Ctx
from shared.tenancy import members, notifications, onboarding_checklist

attempts_by_key: dict[str, int] = {}  # in this process, by key


async def notify_user(ctx: Ctx, *, user_id: str, key: str) -> None:
    """An effect that can be counted."""
    await notifications.add(ctx, user_id, "test", key, "", dedupe=key)


async def notify_user_then_fail(ctx: Ctx, *, user_id: str, key: str) -> None:
    """Fails after its effect, twice."""
    attempts_by_key[key] = attempts_by_key.get(key, 0) + 1
    await notify_user(ctx, user_id=user_id, key=key)
    if attempts_by_key[key] < 3:
        raise ZeroDivisionError(key)


async def record_view(ctx: Ctx, *, key: str) -> None:
    """Record what this job sees: its tenant, the members, and the tenant set in the database."""
    connection = await ctx.session.connection()
    database_tenant = await connection.execute(text("select current_setting('app.tenant_id', true)"))
    rows = (await members.list_members(ctx)).rows
    views_by_key[key] = {
        "tenant": ctx.tenant_id,
        "believed": database_tenant.scalar_one(),
        "members": {row.email for row in rows},
        "items": len(await onboarding_checklist.list_items(ctx)),
        "request": ctx.request_id,
    }


views_by_key: dict[str, dict[str, Any]] = {}
TASKS = {"tests.see": record_view, "tests.tell": notify_user, "tests.tell_late": notify_user_then_fail}
