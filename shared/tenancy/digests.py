"""Digests: one mail a day with the notifications that a person wants together.

A notification joins a digest in the transaction that adds it, so it is in exactly one. The job closes the digest first;
what is added later joins the next one. A job that dies is run again, and its mail keeps the Message-ID.
"""

from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from shared.access import actions, policy
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Invalid
from shared.core.notification_kinds import MailChoice, NotificationKind, find_by_event
from shared.identity import users
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.tenancy import (
    digest_repository,
    links,
    mail_branding,
    mail_preferences,
    member_repository,
    permission_holders,
)
from shared.tenancy.models import Notification, NotificationDigest

TASK = "tenancy.send_digest"
KIND = "digest"
HOUR = 8  # of the person's day
MAX_ITEMS = 50


def find_due_time(time_zone: str, at: datetime) -> datetime:
    """The first 8:00 after `at` where this person is, in UTC. `time_zone`: "" means UTC."""
    local = at.astimezone(_load_zone(time_zone))
    due = local.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    if due <= local:
        due += timedelta(days=1)  # on the wall clock, also where the clocks change
    return due.astimezone(UTC)


@cache
def list_time_zones() -> list[str]:
    return sorted(available_timezones())


async def choose_my_time_zone(ctx: Ctx, time_zone: str) -> None:
    """For all organisations of the actor. `time_zone`: "" for UTC. Raises Invalid for an unknown one.

    A digest that waits keeps its time.
    """
    policy.require(ctx, actions.NOTIFICATION_READ)
    person_id = policy.require_person(ctx)
    if time_zone and time_zone not in list_time_zones():
        raise Invalid(
            "We don’t know this time zone.",
            "Enter a name such as Europe/Berlin.",
            fields={"time_zone": "Not a time zone"},
        )
    await users.set_time_zone(ctx.session, person_id, time_zone)


async def get_my_time_zone(ctx: Ctx) -> str:
    """ "" for UTC."""
    policy.require(ctx, actions.NOTIFICATION_READ)
    return await digest_repository.get_time_zone(ctx, policy.require_person(ctx))


async def find_open_digest_id(ctx: Ctx, user_id: str) -> str:
    """Of the digest that a new notification of this person joins. Enqueues its job where it is new."""
    time_zone = await digest_repository.get_time_zone(ctx, user_id)
    due_at = now()
    while True:
        due_at = find_due_time(time_zone, due_at)
        is_new = await digest_repository.add_digest(ctx, user_id, due_at)
        digest = await digest_repository.share_digest(ctx, user_id, due_at)
        if is_new:
            await queue.put(ctx, TASK, at=due_at, digest_id=digest.id)
        if digest.closed_at is None:
            return digest.id


async def build_mail(ctx: Ctx, digest_id: str) -> Email | None:
    """Close the digest and return its mail. None where it was sent, or nothing is left to tell this person."""
    digest = await digest_repository.lock_digest(ctx, digest_id)
    if digest is None or digest.sent_at is not None:
        return None
    digest.closed_at = digest.closed_at or now()
    ctx.session.add(digest)
    person = await member_repository.get_active_member(ctx, digest.user_id)
    if person is None:
        return None
    notifications = await _list_wanted(ctx, digest)
    items = [_describe(notification) for notification in notifications[:MAX_ITEMS]]
    if not items:
        return None
    if len(notifications) > MAX_ITEMS:
        items.append("There’s more. Open Notifications to see everything.")
    return Email(
        to=person.email,
        template="digest",
        message_id=digest.id,
        link=links.build_link(ctx.tenant_id, "notifications"),
        values={"name": person.name, "tenant": ctx.tenant_name},
        items=items,
        frame=await mail_branding.build_frame(ctx, KIND, person.id),
    )


async def record_sent(ctx: Ctx, digest_id: str) -> None:
    digest = await digest_repository.lock_digest(ctx, digest_id)
    if digest is not None:
        digest.sent_at = digest.sent_at or now()
        ctx.session.add(digest)


async def _list_wanted(ctx: Ctx, digest: NotificationDigest) -> list[Notification]:
    """Without those that this person has turned off since, or may no longer see."""
    is_wanted_by_kind: dict[str, bool] = {}
    notifications = await digest_repository.list_notifications(ctx, digest, 2 * MAX_ITEMS)
    for notification in notifications:
        if notification.kind not in is_wanted_by_kind:
            kind = find_by_event(notification.kind)
            is_wanted_by_kind[notification.kind] = kind is None or await _is_wanted(ctx, digest.user_id, kind)
    return [notification for notification in notifications if is_wanted_by_kind[notification.kind]]


async def _is_wanted(ctx: Ctx, user_id: str, kind: NotificationKind) -> bool:
    preference = await mail_preferences.get_preference(ctx, user_id, kind)
    if preference.mail is MailChoice.OFF:
        return False
    holders = await permission_holders.list_users(ctx, kind.permission) if kind.permission else []
    return not kind.permission or any(holder.id == user_id for holder in holders)


def _describe(notification: Notification) -> str:
    return f"{notification.title}. {notification.body}".strip()


def _load_zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError):  # a name that a newer list of zones has dropped
        return UTC
