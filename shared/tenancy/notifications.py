"""Notifications of a member. `dedupe` prevents duplicates when a job runs twice.

What a member chose for the kind decides whether it is shown in the app and when it is mailed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.access import actions, policy
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.errors import NotFound
from shared.core.notification_kinds import MailChoice, find_by_event
from shared.core.paging import Page, build_page, clamp_limit
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.tenancy import (
    digests,
    links,
    mail_branding,
    mail_preferences,
    member_repository,
    notification_repository,
    permission_holders,
)
from shared.tenancy.models import Notification

MAX_LISTED = 50
MAIL_TASK, PAGE = "tenancy.send_notice", "notifications"


@dataclass(frozen=True, slots=True)
class InboxStatus:
    """For the frame of every page."""

    unread: int
    mail_problem: str  # jobs.models.SuppressionCause of the actor's address, "" for none


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
    return (await get_inbox_status(ctx)).unread


async def get_inbox_status(ctx: Ctx) -> InboxStatus:
    """The actor's own, by one statement."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    unread, mail_problem = await notification_repository.get_inbox_status(ctx, policy.require_person(ctx))
    return InboxStatus(unread, mail_problem)


async def mark_read(ctx: Ctx, notification_id: str) -> None:
    """Raises NotFound, including for another member's notification."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    person_id = policy.require_person(ctx)
    if not await notification_repository.mark_read(ctx, person_id, notification_id):
        raise NotFound("There is no such notification.", "Reload the page.")
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, f"person:{person_id}")


async def mark_all_read(ctx: Ctx) -> None:
    """The actor's own."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    person_id = policy.require_person(ctx)
    await notification_repository.mark_all_read(ctx, person_id)
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, f"person:{person_id}")


async def add(
    ctx: Ctx, user_id: str, kind: str, title: str, body: str, *, href: str = "", dedupe: str
) -> str:
    """Notify a member. Returns the id, "" when `dedupe` already exists. For services and jobs.

    `kind`: an event of a declared kind. Its mail is enqueued here where the kind has no template of its own, and joins
    the digest where the member wants that. There are no notifications in a test tenant.
    """
    if ctx.is_test:
        return ""
    declared = find_by_event(kind)
    preference = await mail_preferences.get_preference(ctx, user_id, declared) if declared else None
    row = Notification(
        tenant_id=ctx.tenant_id, user_id=user_id, kind=kind, title=title, body=body, href=href, dedupe=dedupe
    )
    row.in_app = preference is None or preference.in_app
    if preference and preference.mail is MailChoice.DIGEST:
        row.digest_id = await digests.find_open_digest_id(ctx, user_id)
    if not await notification_repository.add_notification(ctx, row):
        return ""
    if row.in_app:
        await live_events.refresh_pages(ctx.session, ctx.tenant_id, f"person:{user_id}")
    if declared and declared.is_mailed_as_notice and preference and preference.mail is MailChoice.NOW:
        await queue.put(ctx, MAIL_TASK, notification_id=row.id)
    return row.id


async def get_notification(ctx: Ctx, notification_id: str) -> Notification | None:
    """A notification of any member. For jobs that also send it by email."""
    return await notification_repository.get_notification(ctx, notification_id)


async def build_mail(ctx: Ctx, notification_id: str) -> Email | None:
    """The mail of a kind without a template of its own.

    None when the person has left, has turned it off since, or isn't told any more.
    """
    notification = await notification_repository.get_notification(ctx, notification_id)
    kind = find_by_event(notification.kind) if notification else None
    if notification is None or kind is None or not kind.is_mailed_as_notice:
        return None
    person = await member_repository.get_active_member(ctx, notification.user_id)
    if person is None or await mail_preferences.is_mail_declined(ctx, person.id, kind.key):
        return None
    if kind.permission:
        holders = await permission_holders.list_users(ctx, kind.permission)
        if all(holder.id != person.id for holder in holders):
            return None
    page = links.get_page(notification.href)
    return Email(
        to=person.email,
        template="notice",
        message_id=notification.id,
        link=links.build_link(ctx.tenant_id, page if page.replace("-", "").isalpha() else PAGE),  # or a file
        values={
            "name": person.name,
            "tenant": ctx.tenant_name,
            "title": notification.title,
            "body": notification.body,
        },
        frame=await mail_branding.build_frame(ctx, kind.key, person.id),
    )
