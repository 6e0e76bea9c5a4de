"""Jobs of the identity module: emails, and look-ups whose result must not be visible to a browser.

They are platform tasks, because users belong to no tenant. Each may run twice; its email keeps the Message-ID.
"""

from collections.abc import Awaitable, Callable

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.config import settings
from shared.core.db import now
from shared.identity import repository, tokens, users
from shared.identity.models import User
from shared.identity.realms import USER
from shared.jobs import mail


async def send_verification(session: AsyncSession, *, token_id: str) -> None:
    await _send_link(session, token_id, "verify")


async def send_reset(session: AsyncSession, *, token_id: str) -> None:
    await _send_link(session, token_id, "reset")


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
    user = await users.get_by_email(session, email)
    if user is None or user.disabled_at is not None:
        return
    token = await tokens.issue(session, user.id, "reset")
    await _send_link(session, token.id, "reset")


async def send_account_exists(session: AsyncSession, *, user_id: str) -> None:
    user = await session.get(User, user_id)
    if user is not None and user.disabled_at is None:
        await mail.send(
            user.email,
            "account_exists",
            f"account-exists-{user.id}-{now():%Y%m%d%H}",
            name=user.name,
            link=f"{settings().tenant_url}/sign-in",
        )


async def send_password_changed(session: AsyncSession, *, user_id: str) -> None:
    user = await session.get(User, user_id)
    credential = await repository.get_credential(session, USER, user_id)
    if user is not None and credential is not None:
        link = f"{settings().tenant_url}/forgot"
        message_id = f"password-changed-{user.id}-{credential.changed_at:%Y%m%d%H%M%S}"
        await mail.send(user.email, "password_changed", message_id, name=user.name, link=link)


async def disable_user(session: AsyncSession, *, user_id: str) -> None:
    await users.end_access(session, user_id)


async def enable_user(session: AsyncSession, *, user_id: str) -> None:
    await users.restore_access(session, user_id)


async def _send_link(session: AsyncSession, token_id: str, template: str) -> None:
    """Skip a link that was used or replaced."""
    token = await repository.get_token(session, token_id)
    if token is None or token.used_at is not None:
        return
    user = await session.get(User, token.user_id)
    if user is None or user.disabled_at is not None:
        return
    await mail.send(user.email, template, token.id, name=user.name, link=tokens.build_link(token))
    token.sent_at = now()
    session.add(token)


TASKS: dict[str, Callable[..., Awaitable[None]]] = {}
PLATFORM_TASKS: dict[str, Callable[..., Awaitable[None]]] = {
    "platform.disable_user": disable_user,
    "platform.enable_user": enable_user,
    "platform.request_reset": request_reset,
    "platform.request_verification": request_verification,
    "platform.send_account_exists": send_account_exists,
    "platform.send_password_changed": send_password_changed,
    "platform.send_reset": send_reset,
    "platform.send_verification": send_verification,
}
