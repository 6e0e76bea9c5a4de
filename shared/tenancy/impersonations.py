"""What the two realms and the jobs share about impersonations: their states, their ends, and what owners are told.

The callers check permissions. `impersonation_entry` begins one, `support_access` is for owners, `backoffice.impersonations` for
operators.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.access.permissions import Permission
from shared.audit import audit_log
from shared.core import live_events
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import NotFound
from shared.core.paging import Page, build_page, clamp_limit, map_page
from shared.core.plurals import plural
from shared.identity.models import User
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.tenancy import impersonation_repository as repository
from shared.tenancy import (
    impersonation_sessions,
    links,
    mail_branding,
    notifications,
    permission_holders,
    tenant_repository,
)
from shared.tenancy.models import (
    Consent,
    ImpersonationEnd,
    ImpersonationEvent,
    ImpersonationRow,
    Membership,
)
from shared.tenancy.notification_kinds import SUPPORT

MAX_MINUTES = 30
CODE_LIFETIME = timedelta(seconds=60)
REQUEST_LIFETIME = timedelta(
    hours=24
)  # from the request on; a request that waits for consent can be used so long
CLOSE_TASK, MAIL_TASK = "tenancy.close_impersonation", "tenancy.send_support_notice"
REQUESTED, STARTED = "support.requested", "support.started"  # kinds of notifications
PAGE, TOPIC = "support", "support"
MAX_EVENTS = 200  # of one transcript that are shown


class Phase(StrEnum):
    """What an impersonation is now."""

    WAITING = "waiting"  # for an owner's consent
    READY = "ready"  # the operator may begin
    RUNNING = "running"
    DECLINED = "declined"
    ENDED = "ended"
    LAPSED = "lapsed"  # it never began


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpersonationView:
    id: str
    operator_id: str
    operator_name: str
    user_name: str
    reason: str
    ticket: str
    minutes: int
    can_write: bool
    write_reason: str
    phase: Phase
    decided_by_name: str
    created_at: datetime
    started_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    ended_by: str  # ImpersonationEnd, "" while it has not ended
    page_count: int
    action_count: int
    refusal_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    impersonation: ImpersonationView
    events: Sequence[ImpersonationEvent]  # the newest first, at most `MAX_EVENTS`


def find_phase(row: ImpersonationRow) -> Phase:
    if row.consent is Consent.DECLINED:
        return Phase.DECLINED
    if row.started_at is not None:
        return Phase.RUNNING if repository.is_running(row) else Phase.ENDED
    if row.ended_at is not None or row.created_at + REQUEST_LIFETIME <= now():
        return Phase.LAPSED
    return Phase.WAITING if row.consent is Consent.PENDING else Phase.READY


async def is_consent_needed(ctx: Ctx) -> bool:
    """Whether an owner has to agree before an operator acts for a member."""
    settings = await tenant_repository.get_settings(ctx)
    return settings is not None and settings.support_consent


async def lacks_consent(ctx: Ctx, row: ImpersonationRow) -> bool:
    """Whether owners want to be asked since it was requested, and were not."""
    return row.consent is Consent.NOT_NEEDED and await is_consent_needed(ctx)


async def count_waiting(ctx: Ctx, operator_id: str) -> int:
    """Requests of this operator that wait for consent."""
    return await repository.count_pending(ctx, operator_id, now() - REQUEST_LIFETIME)


async def find_member(ctx: Ctx, membership_id: str) -> tuple[Membership, User] | None:
    """An active or deactivated member with the person. None for an unknown one."""
    return await repository.find_member(ctx, membership_id)


async def list_page(ctx: Ctx, *, after: str, limit: int) -> Page[ImpersonationView]:
    """Newest first. Raises Invalid for an unknown page."""
    limit = clamp_limit(limit)
    rows = await repository.list_newest(ctx, after=after, limit=limit + 1)
    page = build_page(rows, limit=limit, cursor_of=repository.get_cursor)
    views = {view.id: view for view in await build_views(ctx, page.rows)}
    return map_page(page, lambda row: views[row.id])


async def build_views(ctx: Ctx, rows: Sequence[ImpersonationRow]) -> list[ImpersonationView]:
    counts = await repository.count_events(ctx, [row.id for row in rows]) if rows else {}
    return [_build_view(row, counts) for row in rows]


def _build_view(row: ImpersonationRow, counts: dict[tuple[str, str], int]) -> ImpersonationView:
    phase = find_phase(row)
    is_expired = phase is Phase.ENDED and row.ended_at is None
    return ImpersonationView(
        id=row.id,
        operator_id=row.operator_id,
        operator_name=row.operator_name,
        user_name=row.user_name,
        reason=row.reason,
        ticket=row.ticket,
        minutes=row.minutes,
        can_write=row.can_write,
        write_reason=row.write_reason,
        phase=phase,
        decided_by_name=row.decided_by_name,
        created_at=row.created_at,
        started_at=row.started_at,
        expires_at=row.expires_at,
        ended_at=row.expires_at if is_expired else row.ended_at,
        ended_by=ImpersonationEnd.EXPIRED if is_expired else row.ended_by,
        page_count=counts.get((row.id, "page"), 0),
        action_count=counts.get((row.id, "action"), 0),
        refusal_count=counts.get((row.id, "refused"), 0),
    )


async def build_transcript(ctx: Ctx, impersonation_id: str) -> Transcript:
    """Raises NotFound."""
    row = await repository.get(ctx, impersonation_id)
    if row is None:
        raise build_not_found()
    (view,) = await build_views(ctx, [row])
    return Transcript(
        impersonation=view, events=await repository.list_events(ctx, impersonation_id, MAX_EVENTS)
    )


async def lock(ctx: Ctx, impersonation_id: str) -> ImpersonationRow:
    """Raises NotFound."""
    row = await repository.lock(ctx, impersonation_id)
    if row is None:
        raise build_not_found()
    return row


def build_not_found() -> NotFound:
    return NotFound("This support session doesn’t exist.", "Choose one from the list.")


async def end(ctx: Ctx, row: ImpersonationRow, cause: ImpersonationEnd) -> None:
    """End a locked one; its pages close. Nothing where it has ended before."""
    if row.ended_at is not None:
        return
    row.ended_at, row.ended_by = now(), cause.value
    ctx.session.add(row)
    counts = await repository.count_events(ctx, [row.id])
    record(
        ctx,
        "impersonation.ended",
        row,
        cause=cause.value,
        seen=", ".join(
            plural(counts[row.id, kind], noun)
            for kind, noun in (("page", "page"), ("action", "action"), ("refused", "refusal"))
            if (row.id, kind) in counts
        ),
    )
    if row.token_hash:
        await live_events.end_session(
            ctx.session, impersonation_sessions.build_text(row.tenant_id, row.token_hash)
        )
    await publish_change(ctx)


def record(ctx: Ctx, event_type: str, row: ImpersonationRow, *, cause: str = "", seen: str = "") -> None:
    """An audit event about it, with both identities, the reason and the effective scope."""
    audit_log.record(
        ctx,
        event_type,
        row.id,
        reason=row.reason,
        name=row.user_name,
        on_behalf_of=row.user_id,
        on_behalf_of_name=row.user_name,
        impersonation=row.id,
        operator=row.operator_id,
        operator_name=row.operator_name,
        ticket=row.ticket,
        minutes=row.minutes,
        scope="changes" if row.can_write else "read only",
        write_reason=row.write_reason,
        cause=cause,
        seen=seen,
    )


async def publish_change(ctx: Ctx) -> None:
    await live_events.refresh_pages(ctx.session, ctx.tenant_id, TOPIC)


async def notify_owners(ctx: Ctx, row: ImpersonationRow, kind: str) -> None:
    """In the app and by mail, once for each kind."""
    title, body = _describe_notice(row, kind)
    for owner in await permission_holders.list_users(ctx, Permission.SUPPORT_ACCESS_DECIDE):
        notification_id = await notifications.add(
            ctx, owner.id, kind, title, body, href=PAGE, dedupe=f"{kind}:{row.id}:{owner.id}"
        )
        if notification_id:
            await queue.put(ctx, MAIL_TASK, notification_id=notification_id, impersonation_id=row.id)


async def build_mail(ctx: Ctx, notification_id: str, impersonation_id: str) -> Email | None:
    """For a job. None for a person who is no owner any more, and for a request that was answered meanwhile."""
    notification = await notifications.get_notification(ctx, notification_id)
    row = await repository.get(ctx, impersonation_id)
    if notification is None or row is None:
        return None
    if notification.kind == REQUESTED and find_phase(row) is not Phase.WAITING:
        return None
    owners = await permission_holders.list_users(ctx, Permission.SUPPORT_ACCESS_DECIDE)
    owner = next((person for person in owners if person.id == notification.user_id), None)
    if owner is None:
        return None
    return Email(
        to=owner.email,
        template="support_access",
        message_id=notification.id,
        link=links.build_link(ctx.tenant_id, PAGE),
        values={
            "name": owner.name,
            "tenant": ctx.tenant_name,
            "subject": notification.title,
            "what": notification.body,
            "reason": row.reason,
            "ticket": row.ticket,
            "scope": describe_scope(row),
        },
        frame=await mail_branding.build_frame(ctx, SUPPORT, owner.id),
    )


def _describe_notice(row: ImpersonationRow, kind: str) -> tuple[str, str]:
    duration = plural(row.minutes, "minute")
    if kind == REQUESTED:
        return (
            f"Support asks to act for {row.user_name}",
            f"{row.operator_name} of support wants to see your organisation as {row.user_name} does, for {duration}."
            " An owner has to agree first.",
        )
    return (
        f"Support acts for {row.user_name}",
        f"{row.operator_name} of support sees your organisation as {row.user_name} does, for at most {duration}.",
    )


def describe_scope(row: ImpersonationRow) -> str:
    if row.can_write:
        return f"Changes are allowed: {row.write_reason}"
    return "Nothing can be changed."


async def close(ctx: Ctx, impersonation_id: str) -> None:
    """A job, when its time is over."""
    row = await lock(ctx, impersonation_id)
    if not repository.is_running(row):
        await end(ctx, row, ImpersonationEnd.EXPIRED)
