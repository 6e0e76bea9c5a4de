"""Links in emails to verify an address or reset a password, for one use and a limited time.

A link is a signature over the row's id. So a job can build it again, and the database never holds it.
"""

from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import crypto
from shared.core.config import settings
from shared.core.db import now
from shared.core.errors import Invalid
from shared.identity import repository
from shared.identity.models import UserToken

LIFETIMES = {"verify": timedelta(hours=24), "reset": timedelta(hours=1)}


async def issue(session: AsyncSession, user_id: str, purpose: str) -> UserToken:
    """Create a token and close earlier ones of the same purpose."""
    await repository.close_tokens(session, user_id, purpose)
    token = UserToken(user_id=user_id, purpose=purpose, expires_at=now() + LIFETIMES[purpose])
    session.add(token)
    await session.flush()
    return token


def build_link(token: UserToken) -> str:
    return f"{settings().tenant_url}/{token.purpose}?token={sign_token(token)}"


def sign_token(token: UserToken) -> str:
    return crypto.sign(token.purpose, token.id)


async def find_usable(session: AsyncSession, purpose: str, text: str) -> UserToken | None:
    """The token of a usable link. Does not use it, because mail scanners open links."""
    token = await _get_token(session, purpose, text)
    return token if token is not None and token.used_at is None and token.expires_at > now() else None


async def get_owner_id(session: AsyncSession, purpose: str, text: str) -> str:
    """The user id of a link, even when it was used or has expired; "" for an invalid signature."""
    token = await _get_token(session, purpose, text)
    return token.user_id if token is not None else ""


async def use(session: AsyncSession, purpose: str, text: str) -> str:
    """Use the link and return its user id. Raises Invalid for a used, expired or forged link."""
    token = await _get_token(session, purpose, text)
    user_id = token and await repository.use_token(session, token.id, purpose)
    if not user_id:
        raise Invalid(
            "This link has been used, has expired, or was replaced by a newer one.",
            "Request a new link.",
            fields={"token": "No longer valid"},
        )
    return user_id


async def _get_token(session: AsyncSession, purpose: str, text: str) -> UserToken | None:
    try:
        (token_id,) = crypto.unsign(purpose, text, 1)
    except crypto.BadSignature:
        return None
    token = await repository.get_token(session, token_id)
    return token if token is not None and token.purpose == purpose else None
