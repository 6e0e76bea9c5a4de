"""Mails to operators about their own accounts: what was changed, by a colleague or with their password.

The job holds name and address, because jobs run with rights of the users' realm and can't read operators.
"""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.ids import new_id
from shared.identity.account_events import MailText
from shared.identity.models import Operator
from shared.jobs import queue

MAIL_TASK = "platform.send_operator_notice"
ACCESS_RESET, NEW_DEVICE = "access_reset", "new_device"
TEXTS = {  # by kind; `detail` is said by the caller
    ACCESS_RESET: MailText(
        "Your operator access was reset",
        "{detail} reset your access to the admin app: your password and your second factor no longer work, and all your devices were signed out. Ask for your new password; you set up a new second factor when you sign in.",
    ),
    NEW_DEVICE: MailText(
        "New sign-in to the admin app",
        "Someone signed in to your operator account in a browser that we haven’t seen before: {detail}.",
    ),
    "factor.codes_renewed": MailText(
        "Your recovery codes were replaced",
        "New recovery codes were just created for your operator account. Your old ones no longer work.",
    ),
    "factor.enrolled": MailText(
        "A second factor was set up",
        "A second factor was just set up for your operator account.",
    ),
    "factor.recovery_code_used": MailText(
        "A recovery code was used",
        "A recovery code was just used to sign in to your operator account. Each code works once.",
    ),
    "password.changed": MailText(
        "Your password was changed",
        "The password of your operator account was just changed, and your other devices were signed out.",
    ),
}


async def publish(session: AsyncSession, operator: Operator, notice: str, detail: str = "") -> None:
    """Enqueue the mail of one of TEXTS, in the transaction of the change."""
    await queue.put_platform_job(
        session,
        MAIL_TASK,
        email=operator.email,
        name=operator.name,
        event_id=new_id("aud"),
        notice=notice,
        detail=detail,
    )
