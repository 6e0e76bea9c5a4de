"""Removal of a second factor that a user has lost together with the recovery codes.

They ask for it with their password, an operator starts it, and a waiting time passes in which they are mailed and can
cancel. Then the factor is removed and every session ends. Whoever signs in with the factor cancels it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.event_types import AuditAction
from shared.core import crypto, live_events
from shared.core.config import settings
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.core.plurals import plural
from shared.identity import account_events, factor_reset_repository, mfa, repository, sessions
from shared.identity.models import FactorReset
from shared.identity.realms import USER, Realm
from shared.jobs import queue

COMPLETE_TASK = "platform.complete_factor_reset"
MAIL_TASK = "platform.send_factor_reset"
LINK_PURPOSE = "factor-reset"
TOPIC = "factor_resets"  # of operators' pages
BY_LINK, BY_SESSION, BY_SIGN_IN = "Link in the email", "Signed-in session", "Signed in with the second factor"
BY_OPERATOR = "Support"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonsReset:
    id: str
    user_id: str
    name: str
    email: str
    requested_at: datetime
    started_by: str
    due_at: datetime | None  # None before an operator has started it


@dataclass(frozen=True, slots=True)
class OpenResets:
    listed: Sequence[PersonsReset]  # the oldest first
    hidden_count: int  # of those that are newer than the listed ones


def get_waiting_time() -> timedelta:
    return timedelta(hours=settings().factor_reset_wait_hours)


async def get_open(session: AsyncSession, user_id: str) -> FactorReset | None:
    """The reset of this user that is requested or waits."""
    return await factor_reset_repository.get_open(session, user_id)


async def list_open(session: AsyncSession) -> OpenResets:
    """With the person. The newest are hidden where there are many."""
    listed = [
        PersonsReset(
            id=reset.id,
            user_id=user.id,
            name=user.name,
            email=user.email,
            requested_at=reset.requested_at,
            started_by=reset.started_by,
            due_at=reset.due_at,
        )
        for reset, user in await factor_reset_repository.list_open(session)
    ]
    is_cut = len(listed) == factor_reset_repository.MAX_LISTED
    count = await factor_reset_repository.count_open(session) if is_cut else len(listed)
    return OpenResets(listed, count - len(listed))


async def count_waiting(session: AsyncSession) -> int:
    """Requests that no operator has answered."""
    return await factor_reset_repository.count_waiting(session)


async def request(session: AsyncSession, user_id: str) -> FactorReset:
    """The reset for an operator to start; the open one where there is one already. The user is mailed.

    Raises Conflict without a second factor. The user has just given the right password.
    """
    await repository.lock_user(session, user_id)
    if not await mfa.is_enabled(session, USER, user_id):
        raise Conflict("Two-step sign-in is off.", "Sign in with your password.")
    if (reset := await factor_reset_repository.lock_open(session, user_id)) is not None:
        return reset
    reset = FactorReset(user_id=user_id)
    session.add(reset)
    await session.flush()
    await _publish(session, AuditAction.FACTOR_RESET_REQUESTED, reset)
    await _refresh_pages(session)
    return reset


async def start(session: AsyncSession, reset_id: str, by: str) -> FactorReset:
    """Begin the waiting time. The user is mailed. `by`: name of the operator. Raises Conflict."""
    reset = await _lock_open(session, reset_id)
    if reset.started_at is not None:
        raise Conflict("The waiting time of this reset is running already.", "Reload the page.")
    reset.started_at, reset.started_by = now(), by
    reset.due_at = reset.started_at + get_waiting_time()
    session.add(reset)
    await queue.put_platform_job(session, COMPLETE_TASK, at=reset.due_at, reset_id=reset.id)
    await _publish(session, AuditAction.FACTOR_RESET_STARTED, reset)
    await _refresh_pages(session)
    return reset


async def decline(session: AsyncSession, reset_id: str) -> FactorReset:
    """For operators: ends the reset, whether it waits or not. The user is mailed. Raises Conflict."""
    reset = await _lock_open(session, reset_id)
    await _mark_cancelled(session, reset, BY_OPERATOR)
    await account_events.publish(session, AuditAction.FACTOR_RESET_DECLINED, reset.user_id, cause=BY_OPERATOR)
    return reset


async def cancel_own(session: AsyncSession, user_id: str, by: str) -> bool:
    """Ends the open reset of this user; False without one."""
    reset = await factor_reset_repository.lock_open(session, user_id)
    if reset is None:
        return False
    await _cancel(session, reset, by)
    return True


async def cancel_for_changed_factor(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """A reset is about the factor that there was: it must not remove a later one. Operators have no resets."""
    if realm is USER:
        await cancel_own(session, subject_id, BY_SESSION)


async def cancel_by_link(session: AsyncSession, token: str) -> None:
    """Raises Invalid for a link that does not belong to an open reset."""
    reset = await find_by_link(session, token)
    if reset is None or not await cancel_own(session, reset.user_id, BY_LINK):
        raise Invalid("This link no longer works.", "The request was cancelled or is complete.")


async def find_by_link(session: AsyncSession, token: str) -> FactorReset | None:
    """The open reset of a link. Does not cancel it, because mail scanners open links."""
    try:
        (reset_id,) = crypto.unsign(LINK_PURPOSE, token, 1)
    except crypto.BadSignature:
        return None
    reset = await factor_reset_repository.get(session, reset_id)
    return reset if reset is not None and _is_open(reset) else None


def build_link(reset: FactorReset) -> str:
    """The address at which the user cancels the reset."""
    return f"{settings().tenant_url}/factor-reset?token={crypto.sign(LINK_PURPOSE, reset.id)}"


def build_mail_text(reset: FactorReset, action: str) -> dict[str, str]:
    """Title and body of the mail about a request, or about the start of the waiting time."""
    hours = plural(settings().factor_reset_wait_hours, "hour", "hours")
    if action == AuditAction.FACTOR_RESET_REQUESTED:
        return {
            "title": "You asked to remove two-step sign-in",
            "body": f"Someone who knows your password asked support to remove the second factor of your account. Support reviews the request. Once it is approved, {hours} pass before the factor is removed, and we email you again.",
        }
    due = f"{reset.due_at:%-d %B %Y, %H:%M} UTC" if reset.due_at else ""
    return {
        "title": "Two-step sign-in will be removed",
        "body": f"Support approved the request to remove the second factor of your account. It is removed on {due}, and all devices are signed out then. You can cancel it until then.",
    }


async def complete(session: AsyncSession, reset_id: str) -> bool:
    """Remove the factor and end all sessions. False for a reset that was cancelled, is complete or is not due yet."""
    reset = await factor_reset_repository.get(session, reset_id)
    user = await repository.lock_user(session, reset.user_id) if reset is not None else None
    reset = await factor_reset_repository.lock(session, reset_id)
    if user is None or reset is None or not _is_open(reset) or reset.due_at is None or reset.due_at > now():
        return False
    reset.completed_at = now()
    session.add(reset)
    await mfa.reset(session, USER, user.id)
    await mfa.end_challenges(session, USER, user.id)
    await sessions.end_all(session, USER, user.id)
    await account_events.publish(session, AuditAction.FACTOR_RESET, user.id)
    await _refresh_pages(session)
    return True


def _is_open(reset: FactorReset) -> bool:
    return reset.cancelled_at is None and reset.completed_at is None


async def _lock_open(session: AsyncSession, reset_id: str) -> FactorReset:
    reset = await factor_reset_repository.lock(session, reset_id)
    if reset is None or not _is_open(reset):
        raise Conflict("This request was cancelled or is complete.", "Reload the page.")
    return reset


async def _cancel(session: AsyncSession, reset: FactorReset, by: str) -> None:
    await _mark_cancelled(session, reset, by)
    await account_events.publish(session, AuditAction.FACTOR_RESET_CANCELLED, reset.user_id, cause=by)


async def _mark_cancelled(session: AsyncSession, reset: FactorReset, by: str) -> None:
    reset.cancelled_at, reset.cancelled_by = now(), by
    session.add(reset)
    await _refresh_pages(session)


async def _refresh_pages(session: AsyncSession) -> None:
    await live_events.refresh_pages(session, "*", TOPIC)


async def _publish(session: AsyncSession, action: AuditAction, reset: FactorReset) -> None:
    await account_events.publish(session, action, reset.user_id)
    await queue.put_platform_job(session, MAIL_TASK, reset_id=reset.id, action=action.value)
