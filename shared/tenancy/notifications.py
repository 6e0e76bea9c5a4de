"""Notifications of a member. `dedupe` prevents duplicates when a job runs twice."""

from collections.abc import Sequence

from shared.access import actions, policy
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.errors import NotFound
from shared.core.paging import Page, build_page, clamp_limit
from shared.tenancy import notification_repository
from shared.tenancy.models import Notification

MAX_LISTED = 50


async def list_my_notifications(ctx: Ctx) -> Sequence[Notification]:
    """Newest first."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    return await notification_repository.list_notifications(ctx, policy.require_person(ctx), MAX_LISTED)


async def list_page(ctx: Ctx, *, after: str = "", limit: int = 50) -> Page[Notification]:
    """One's own, newest first. Raises Invalid for an unknown page, Refused for what is no person."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    limit = clamp_limit(limit)
    notifications = await notification_repository.list_notifications(
        ctx, policy.require_person(ctx), limit + 1, after=after
    )
    return build_page(notifications, limit=limit, cursor_of=notification_repository.get_cursor)


async def count_unread(ctx: Ctx) -> int:
    policy.require(ctx, actions.NOTIFICATION_READ)
    return await notification_repository.count_unread(ctx, policy.require_person(ctx))


async def mark_read(ctx: Ctx, notification_id: str) -> None:
    """Raises NotFound, including for another member's notification."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    person_id = policy.require_person(ctx)
    if not await notification_repository.mark_read(ctx, person_id, notification_id):
        raise NotFound("There is no such notification.", "Reload the page.")
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, f"person:{person_id}")


async def add(
    ctx: Ctx, user_id: str, kind: str, title: str, body: str, *, href: str = "", dedupe: str
) -> str:
    """Notify a member. Returns the id, "" when `dedupe` already exists. For services and jobs.

    There are no notifications in a test tenant.
    """
    if ctx.is_test:
        return ""
    row = Notification(
        tenant_id=ctx.tenant_id, user_id=user_id, kind=kind, title=title, body=body, href=href, dedupe=dedupe
    )
    added = await notification_repository.add_notification(ctx, row)
    if added:
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, f"person:{user_id}")
    return row.id if added else ""


async def get_notification(ctx: Ctx, notification_id: str) -> Notification | None:
    """A notification of any member. For jobs that also send it by email."""
    return await notification_repository.get_notification(ctx, notification_id)
