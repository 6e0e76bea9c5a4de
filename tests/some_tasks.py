"""Tasks of no product, for tests of the queue. Each is written to run twice, as ours are."""

from typing import Any

from sqlalchemy import text

from shared.core.ctx import Ctx
from shared.tenancy import checklist, members, notifications

tried: dict[str, int] = {}  # in this process, by key


async def tell(ctx: Ctx, *, user_id: str, key: str) -> None:
    """An effect that can be counted."""
    await notifications.add(ctx, user_id, "test", key, "", dedupe=key)


async def tell_late(ctx: Ctx, *, user_id: str, key: str) -> None:
    """Fails after its effect, twice."""
    tried[key] = tried.get(key, 0) + 1
    await tell(ctx, user_id=user_id, key=key)
    if tried[key] < 3:
        raise ZeroDivisionError(key)


async def see(ctx: Ctx, *, key: str) -> None:
    """Writes down what this job sees: which tenant, whose members, what the database believes."""
    connection = await ctx.session.connection()
    believed = await connection.execute(text("select current_setting('app.tenant_id', true)"))
    rows = (await members.list_members(ctx)).rows
    seen[key] = {
        "tenant": ctx.tenant_id,
        "believed": believed.scalar_one(),
        "members": {row.email for row in rows},
        "items": len(await checklist.list_items(ctx)),
        "request": ctx.request_id,
    }


seen: dict[str, dict[str, Any]] = {}
TASKS = {"tests.see": see, "tests.tell": tell, "tests.tell_late": tell_late}
