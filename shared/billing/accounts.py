"""Our accounts at the provider: the platform's, from the settings, and those that operators added.

Key and webhook secrets of added accounts are sealed with a data key of each account. Only a digest of the token in a
webhook address is stored, so the address is shown once.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing import accounts_repository as repository
from shared.billing.models import PLATFORM, ProviderAccount
from shared.core import crypto, log
from shared.core.config import settings
from shared.core.db import now
from shared.core.errors import NotFound

WEBHOOK_PATH = "/webhooks/stripe"


SEAL_CONTEXT = "provider_account.sealed"


MAX_PAUSE_REASON_LENGTH = 300
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class AccountCredentials:
    id: str
    key: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)  # of its webhooks, newest first; empty closes its endpoint
    livemode: bool
    is_paused: bool = False  # its key was rejected: no requests; webhooks are stored

    @property
    def is_platform(self) -> bool:
        return self.id == PLATFORM


def get_platform_account() -> AccountCredentials:
    """The account from the settings, whether or not it is paused, because its webhooks are stored in any case."""
    key = settings().stripe_key
    return AccountCredentials(PLATFORM, key, settings().stripe_secrets, is_live_key(key))


def is_live_key(key: str) -> bool:
    return key.startswith(("sk_live_", "rk_live_"))


async def get(session: AsyncSession, account_id: str) -> AccountCredentials:
    """Raises NotFound."""
    row = await repository.get_account(session, account_id)
    if row is None:
        raise account_not_found()
    return unseal(row)


async def find_by_token(session: AsyncSession, token: str) -> AccountCredentials | None:
    """`token`: the last part of a further account's address."""
    if not TOKEN_PATTERN.fullmatch(token):
        return None
    row = await repository.get_account_by_token(session, crypto.hash_token(token))
    return unseal(row) if row is not None else None


async def lock(session: AsyncSession, account_id: str) -> ProviderAccount:
    """Raises NotFound."""
    row = await repository.lock_account(session, account_id)
    if row is None:
        raise account_not_found()
    return row


async def lock_all(session: AsyncSession) -> Sequence[ProviderAccount]:
    return await repository.lock_accounts(session)


async def pause(session: AsyncSession, account_id: str, reason: str) -> None:
    """Pauses an account whose key was rejected: no requests until an operator resumes it. Idempotent."""
    row = await repository.lock_account(session, account_id)
    if row is None or row.paused_at is not None:
        return
    row.paused_at, row.pause_reason = now(), reason[:MAX_PAUSE_REASON_LENGTH]
    session.add(row)
    log.get_logger(__name__).error("provider_account_paused", account=account_id, why=row.pause_reason)


def unseal(row: ProviderAccount) -> AccountCredentials:
    paused = row.paused_at is not None
    if row.sealed is None:
        account = get_platform_account()
        return AccountCredentials(row.id, account.key, account.secrets, account.livemode, paused)
    plain = crypto.open_sealed(
        crypto.unwrap_dek(wrapped_key(row)), row.sealed, PLATFORM, SEAL_CONTEXT, row.id
    )
    credentials = json.loads(plain)
    return AccountCredentials(row.id, credentials["key"], tuple(credentials["secrets"]), row.livemode, paused)


def seal(row: ProviderAccount, wrapped: crypto.WrappedKey, key: str, secrets: Sequence[str]) -> None:
    plain = json.dumps({"key": key, "secrets": list(secrets)}).encode()
    row.sealed = crypto.seal(crypto.unwrap_dek(wrapped), plain, PLATFORM, SEAL_CONTEXT, row.id)
    row.kek_id, row.wrapped = wrapped.kek_id, wrapped.wrapped


def wrapped_key(row: ProviderAccount) -> crypto.WrappedKey:
    assert row.kek_id is not None
    assert row.wrapped is not None
    return crypto.WrappedKey(row.kek_id, row.wrapped)


def account_not_found() -> NotFound:
    return NotFound("This account doesn’t exist.", "Choose one from the list of accounts.")
