"""The first things to do in a new tenant. Items tick themselves off when the thing is done."""

from collections.abc import Sequence

from shared.access import actions, policy
from shared.audit import trail
from shared.core import notices
from shared.core.ctx import Ctx
from shared.core.errors import NotFound
from shared.tenancy import repository
from shared.tenancy.models import ChecklistItem

ITEMS = ("invite_members", "brand", "review_roles")


async def list_items(ctx: Ctx) -> Sequence[ChecklistItem]:
    policy.require(ctx, actions.HOME_READ)
    return await repository.list_checklist(ctx)


async def complete(ctx: Ctx, key: str) -> None:
    """By hand. Ticking twice is ticking once. Raises NotFound for an item that is not on the list."""
    policy.require(ctx, actions.CHECKLIST_WRITE)
    if key not in ITEMS:
        raise NotFound("There is no such item.", "Reload the page.")
    if await repository.complete_item(ctx, key, ctx.actor.name):
        trail.record(ctx, "checklist.completed", key)
        await notices.page(ctx.session, ctx.tenant_id, "checklist")


async def complete_itself(ctx: Ctx, key: str) -> None:
    """Called by the service whose work the item is about; that work has its own line in the trail."""
    if await repository.complete_item(ctx, key, ctx.actor.name):
        await notices.page(ctx.session, ctx.tenant_id, "checklist")


async def add_all(ctx: Ctx) -> None:
    rows = [ChecklistItem(tenant_id=ctx.tenant_id, key=key, position=at) for at, key in enumerate(ITEMS)]
    await repository.insert_missing(ctx, rows)
