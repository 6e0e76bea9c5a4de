"""What happens to a user's account: for the audit logs of their organisations, and in a mail where it changes their sign-in.

An account belongs to no tenant. Jobs look up the organisations and record the event in each after the commit, so signing
in is neither slower nor refused because of it.
"""

from typing import NamedTuple

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.event_types import AuditAction
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.ids import new_id
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.identity import email_addresses
from shared.jobs import queue

RECORD_TASK = "platform.record_account_event"  # tenancy runs it: it knows the organisations
RECORD_FAILURE_TASK = "platform.record_failed_sign_in"
MAIL_TASK = "platform.send_account_changed"
NEW_DEVICE_TASK = "platform.send_new_device"
WRONG_PASSWORD, WRONG_CODE = "Wrong password", "Wrong code"
NEW_DEVICE = "New device"


class MailText(NamedTuple):
    title: str
    body: str


MAIL_TEXTS = {
    AuditAction.FACTOR_CODES_RENEWED: MailText(
        "Your recovery codes were replaced",
        "New recovery codes were just created for your account. Your old ones no longer work.",
    ),
    AuditAction.FACTOR_DISABLED: MailText(
        "Two-step sign-in is off",
        "Two-step sign-in was just turned off for your account. Your password alone is enough to sign in now.",
    ),
    AuditAction.FACTOR_ENROLLED: MailText(
        "Two-step sign-in is on",
        "Two-step sign-in was just turned on for your account. You now need a code from your app to sign in.",
    ),
    AuditAction.FACTOR_RECOVERY_CODE_USED: MailText(
        "A recovery code was used",
        "A recovery code was just used to sign in to your account. Each code works once.",
    ),
    AuditAction.FACTOR_RESET: MailText(
        "Two-step sign-in was removed",
        "Support removed the lost second factor of your account, and all devices were signed out. Your password alone is enough to sign in now. Set up two-step sign-in again on your account page.",
    ),
    AuditAction.FACTOR_RESET_CANCELLED: MailText(
        "The removal of your second factor was cancelled",
        "The request to remove the second factor of your account was cancelled. Support removes nothing.",
    ),
    AuditAction.FACTOR_RESET_DECLINED: MailText(
        "Two-step sign-in stays on",
        "Support declined the request to remove the second factor of your account. If you still can’t sign in, ask again from the sign-in page or contact support.",
    ),
}


async def publish(
    session: AsyncSession,
    action: str,
    user_id: str,
    *,
    cause: str = "",
    address: str = "",
    device: str = "",
) -> None:
    """Enqueue the jobs for one of ACCOUNT_ACTIONS, in the transaction of the change. `device`: as people call it."""
    event_id = new_id("aud")
    await queue.put_platform_job(
        session,
        RECORD_TASK,
        sequence=user_id,
        user_id=user_id,
        event_id=event_id,
        account_action=action,
        cause=cause,
        address=address,
        device=device,
    )
    if action in MAIL_TEXTS:
        await queue.put_platform_job(session, MAIL_TASK, user_id=user_id, event_id=event_id, action=action)


async def publish_new_device(session: AsyncSession, user_id: str, *, address: str, device: str) -> None:
    """Enqueue the mail about a sign-in in a browser that wasn't seen before.

    Skips it after a few mails an hour: whoever knows the password could send thousands. The audit log has every sign-in.
    """
    try:
        await enforce_rate_limit(RateLimit.NEW_DEVICE_ACCOUNT, user_id)
    except Refused:
        return
    await queue.put_platform_job(
        session,
        NEW_DEVICE_TASK,
        user_id=user_id,
        event_id=new_id("aud"),
        address=address,
        device=device,
        time=f"{now():%-d %B %Y, %H:%M} UTC",
    )


async def publish_failed_sign_in(
    session: AsyncSession, email: str, cause: str, *, address: str = "", device: str = ""
) -> None:
    """Enqueue a job that looks up the address, so that the response time reveals no account."""
    await queue.put_platform_job(
        session,
        RECORD_FAILURE_TASK,
        email=email_addresses.normalise_for_lookup(email),
        event_id=new_id("aud"),
        cause=cause,
        address=address,
        device=device,
    )
