"""Jobs of the identity module: emails, and look-ups whose result must not be visible to a browser.

They are platform tasks, because users belong to no tenant. Each may run twice; its email keeps the Message-ID.
"""

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.audit.event_types import AuditAction
from shared.core import db
from shared.core.config import settings
from shared.core.db import now
from shared.identity import (
    account_events,
    factor_reset_repository,
    factor_resets,
    operator_notices,
    repository,
    tokens,
    users,
)
from shared.identity.models import User
from shared.identity.realms import USER
from shared.jobs import mail, queue, worker
from shared.jobs.mail import Email
from shared.jobs.mail_frames import MailFrame
from shared.jobs.worker import ExternalJob

ACCOUNT_KIND, SECURITY_KIND, OPERATOR_KIND = "account", "security", "operator_account"
ACCOUNT_FRAME = MailFrame(kind=ACCOUNT_KIND)
SECURITY_FRAME = MailFrame(kind=SECURITY_KIND)
OPERATOR_FRAME = MailFrame(kind=OPERATOR_KIND)


@worker.mail_job
async def send_verification(_: ExternalJob, *, token_id: str, ignores_suppression: str = "") -> None:
    """`ignores_suppression`: "yes" where the signed-in person asked, to prove that the address works again."""
    await _send_link(token_id, "verify", ignores_suppression=bool(ignores_suppression))


@worker.mail_job
async def send_reset(_: ExternalJob, *, token_id: str) -> None:
    await _send_link(token_id, "reset")


async def request_verification(session: AsyncSession, *, email: str) -> None:
    """Send a new link, or "account exists" to a verified user; nothing to an unknown address."""
    user = await users.get_by_email(session, email)
    if user is None or user.disabled_at is not None:
        return
    if user.email_verified_at is None:
        await users.send_verification(session, user.id)
    else:
        await users.send_account_exists(session, user.id)


async def request_reset(session: AsyncSession, *, email: str) -> None:
    """Send a new link, or nothing to an unknown address."""
    user = await users.get_by_email(session, email)
    if user is None or user.disabled_at is not None:
        return
    token = await tokens.issue(session, user.id, "reset")
    await queue.put_platform_job(session, "platform.send_reset", token_id=token.id)


@worker.mail_job
async def send_account_exists(_: ExternalJob, *, user_id: str) -> None:
    async with db.transaction() as session:
        user = await session.get(User, user_id)
    if user is None or user.disabled_at is not None:
        return
    email = Email(
        to=user.email,
        template="account_exists",
        message_id=f"account-exists-{user.id}-{now():%Y%m%d%H}",
        link=f"{settings().tenant_url}/sign-in",
        values={"name": user.name},
        frame=ACCOUNT_FRAME,
    )
    await mail.send(email)


@worker.mail_job
async def send_password_changed(_: ExternalJob, *, user_id: str) -> None:
    async with db.transaction() as session:
        user = await session.get(User, user_id)
        credential = await repository.get_credential(session, USER, user_id)
    if user is None or credential is None:
        return
    email = Email(
        to=user.email,
        template="password_changed",
        message_id=f"password-changed-{user.id}-{credential.changed_at:%Y%m%d%H%M%S}",
        link=f"{settings().tenant_url}/forgot",
        values={"name": user.name},
        frame=SECURITY_FRAME,
    )
    await mail.send(email)


@worker.mail_job
async def send_account_changed(_: ExternalJob, *, user_id: str, event_id: str, action: str) -> None:
    async with db.transaction() as session:
        user = await session.get(User, user_id)
    if user is None or user.disabled_at is not None:
        return
    text = account_events.MAIL_TEXTS[AuditAction(action)]
    email = Email(
        to=user.email,
        template="account_changed",
        message_id=f"account-changed-{event_id}",
        link=f"{settings().tenant_url}/account",
        values={"name": user.name, "title": text.title, "body": text.body},
        frame=SECURITY_FRAME,
    )
    await mail.send(email)


@worker.mail_job
async def send_new_device(
    _: ExternalJob, *, user_id: str, event_id: str, address: str, device: str, time: str
) -> None:
    async with db.transaction() as session:
        user = await session.get(User, user_id)
    if user is None or user.disabled_at is not None or user.email_verified_at is None:
        return  # an address that nobody has proved may be a stranger's
    email = Email(
        to=user.email,
        template="new_device",
        message_id=f"new-device-{event_id}",
        link=f"{settings().tenant_url}/account",
        values={"name": user.name, "device": device, "address": address, "time": time},
        frame=SECURITY_FRAME,
    )
    await mail.send(email)


@worker.mail_job
async def send_operator_notice(
    _: ExternalJob, *, email: str, name: str, event_id: str, notice: str, detail: str
) -> None:
    """The job has name and address, because it can't read operators."""
    text = operator_notices.TEXTS[notice]
    message = Email(
        to=email,
        template="operator_notice",
        message_id=f"operator-notice-{event_id}",
        link=f"{settings().admin_url}/account",
        values={"name": name, "title": text.title, "body": text.body.format(detail=detail)},
        frame=OPERATOR_FRAME,
    )
    await mail.send(message)


@worker.mail_job
async def send_factor_reset(_: ExternalJob, *, reset_id: str, action: str) -> None:
    """Skips a reset that was cancelled or is complete."""
    async with db.transaction() as session:
        reset = await factor_reset_repository.get(session, reset_id)
        user = await session.get(User, reset.user_id) if reset is not None else None
    if reset is None or user is None or user.disabled_at is not None:
        return
    if reset.cancelled_at is not None or reset.completed_at is not None:
        return
    email = Email(
        to=user.email,
        template="factor_reset",
        message_id=f"{action.replace('.', '-')}-{reset.id}",
        link=factor_resets.build_link(reset),
        values={"name": user.name, **factor_resets.build_mail_text(reset, action)},
        frame=SECURITY_FRAME,
    )
    await mail.send(email)


async def complete_factor_reset(session: AsyncSession, *, reset_id: str) -> None:
    await factor_resets.complete(session, reset_id)


async def disable_user(session: AsyncSession, *, user_id: str) -> None:
    await users.end_access(session, user_id)


async def enable_user(session: AsyncSession, *, user_id: str) -> None:
    await users.restore_access(session, user_id)


async def _send_link(token_id: str, template: str, *, ignores_suppression: bool = False) -> None:
    """Skip a link that was used, replaced or has expired."""
    async with db.transaction() as session:
        token = await repository.get_token(session, token_id)
        user = await session.get(User, token.user_id) if token is not None else None
    if token is None or token.used_at is not None or token.expires_at <= now():
        return
    if user is None or user.disabled_at is not None:
        return
    email = Email(
        to=user.email,
        template=template,
        message_id=token.id,
        link=tokens.build_link(token),
        values={"name": user.name},
        frame=MailFrame(kind=ACCOUNT_KIND, ignores_suppression=ignores_suppression),
    )
    await mail.send(email)
    async with db.transaction() as session:
        sent_token = await repository.get_token(session, token_id)
        if sent_token is not None:
            sent_token.sent_at = now()
            session.add(sent_token)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {}
PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    factor_resets.COMPLETE_TASK: complete_factor_reset,
    "platform.disable_user": disable_user,
    "platform.enable_user": enable_user,
    "platform.request_reset": request_reset,
    "platform.request_verification": request_verification,
    account_events.MAIL_TASK: send_account_changed,
    "platform.send_account_exists": send_account_exists,
    factor_resets.MAIL_TASK: send_factor_reset,
    account_events.NEW_DEVICE_TASK: send_new_device,
    operator_notices.MAIL_TASK: send_operator_notice,
    "platform.send_password_changed": send_password_changed,
    "platform.send_reset": send_reset,
    users.SEND_VERIFICATION_TASK: send_verification,
}
