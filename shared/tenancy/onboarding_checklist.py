"""Checklist of a new tenant. Services complete items automatically."""

from collections.abc import Sequence

from shared.access import actions, policy
from shared.audit import audit_log
from shared.core import live_events
from shared.core import rows as repository
from shared.core.context import Ctx
from shared.core.errors import NotFound
from shared.tenancy import checklist_repository
from shared.tenancy.models import ChecklistItem

ITEM_KEYS = ("invite_members", "brand", "review_roles")


async def list_items(ctx: Ctx) -> Sequence[ChecklistItem]:
    policy.require(ctx, actions.HOME_READ)
    return await checklist_repository.list_checklist(ctx)


async def complete_item(ctx: Ctx, key: str) -> None:
    """Complete an item manually. Idempotent. Raises NotFound for an unknown item."""
    policy.require(ctx, actions.CHECKLIST_WRITE)
    if key not in ITEM_KEYS:
        raise NotFound("There is no such item.", "Reload the page.")
    if await checklist_repository.complete_item(ctx, key, ctx.actor.name):
        audit_log.record(ctx, "checklist.completed", key)
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, "checklist")


async def complete_automatically(ctx: Ctx, key: str) -> None:
    """Complete an item for a service, whose change is already recorded in the audit log."""
    if await checklist_repository.complete_item(ctx, key, ctx.actor.name):
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, "checklist")


async def add_items(ctx: Ctx) -> None:
    rows = [
        ChecklistItem(tenant_id=ctx.tenant_id, key=key, position=position)
        for position, key in enumerate(ITEM_KEYS)
    ]
    await repository.insert_missing(ctx, rows)
