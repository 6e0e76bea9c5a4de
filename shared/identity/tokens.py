"""Links in mails to a person: to verify an address, to reset a password. One use, one purpose, a short life.

The link is a signature over the row's id, so a job can write it again and the database never holds it.
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
    """The latest is the one that works: earlier ones of the purpose are closed."""
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
    """The row of a link that would work now. Changes nothing: mail scanners open links too."""
    token = await _get_token(session, purpose, text)
    return token if token is not None and token.used_at is None and token.expires_at > now() else None


async def get_owner_id(session: AsyncSession, purpose: str, text: str) -> str:
    """Whose link this is, also when it was used or has expired; "" for one we did not make."""
    token = await _get_token(session, purpose, text)
    return token.user_id if token is not None else ""


async def use(session: AsyncSession, purpose: str, text: str) -> str:
    """The user's id. Raises Invalid for the second use, after the expiry, and for a link we did not make."""
    token = await _get_token(session, purpose, text)
    user_id = token and await repository.use_token(session, token.id, purpose)
    if not user_id:
        raise Invalid(
            "This link was used already, has expired, or was replaced by a newer one.",
            "Ask for a new link.",
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
