"""The accounts at the provider through which we sell: the platform's, as the settings say, and those operators added.

Key and webhook secrets of the further ones are sealed under a data key of the account's own. Of the token in its
webhook address only a digest is kept, so the address is shown once.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import audit_log
from shared.billing import accounts_repository as repository
from shared.billing.models import PLATFORM, ProviderAccount
from shared.core import crypto, log
from shared.core.config import settings
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound

WEBHOOK_PATH = "/webhooks/stripe"
SEAL_CONTEXT = "provider_account.sealed"
MAX_NAME_LENGTH, MAX_REASON_LENGTH = 60, 300
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}")
KEY_PATTERN = re.compile(r"[sr]k_(?:test|live)_[A-Za-z0-9_]{8,255}")
SECRET_PATTERN = re.compile(r"whsec_[A-Za-z0-9_+/=]{8,255}")


@dataclass(frozen=True, slots=True)
class AccountCredentials:
    id: str
    key: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)  # of its webhooks, newest first; none closes its address
    livemode: bool
    is_paused: bool = False  # its key was refused: nothing is asked, what comes is kept

    @property
    def is_platform(self) -> bool:
        return self.id == PLATFORM


def get_platform_account() -> AccountCredentials:
    """As the settings say, without a look whether it is paused: what comes for it is kept either way."""
    key = settings().stripe_key
    return AccountCredentials(PLATFORM, key, settings().stripe_secrets, is_live_key(key))


def is_live_key(key: str) -> bool:
    return key.startswith(("sk_live_", "rk_live_"))


async def get(session: AsyncSession, account_id: str) -> AccountCredentials:
    """Raises NotFound."""
    row = await repository.get_account(session, account_id)
    if row is None:
        raise _not_found()
    return _unseal(row)


async def find_by_token(session: AsyncSession, token: str) -> AccountCredentials | None:
    """`token`: the last part of a further account's address."""
    if not TOKEN_PATTERN.fullmatch(token):
        return None
    row = await repository.get_account_by_token(session, crypto.hash_token(token))
    return _unseal(row) if row is not None else None


async def add(octx: OperatorCtx, name: str, key: str, secrets: Sequence[str], *, reason: str) -> str:
    """The address for its webhooks, to be shown once. Raises Conflict, Invalid."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    name, key, secrets = _clean_name(name), _clean_key(key), _clean_secrets(secrets)
    existing_accounts = [_unseal(row) for row in await repository.lock_accounts(octx.session)]
    if duplicate := next((account for account in existing_accounts if account.key == key), None):
        raise Conflict(
            f"This key belongs to the account {duplicate.id} already.",
            "Use the key of another account, or change the secrets of that one.",
        )
    token, row = crypto.new_token(), ProviderAccount(name=name, livemode=is_live_key(key))
    row.token_hash = crypto.hash_token(token)
    _seal(row, crypto.new_dek(), key, secrets)
    octx.session.add(row)
    await octx.session.flush()
    audit_log.record_operator(
        octx, "provider_account.added", row.id, reason=reason, name=name, livemode=row.livemode
    )
    return f"{settings().tenant_url}{WEBHOOK_PATH}/{token}"


async def set_secrets(octx: OperatorCtx, account_id: str, secrets: Sequence[str], *, reason: str) -> None:
    """Newest first; two while one is replaced, then the newer one alone. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    secrets = _clean_secrets(secrets)
    row = await repository.lock_account(octx.session, account_id)
    if row is None or row.sealed is None:
        raise _not_found()
    _seal(row, _wrapped_key(row), _unseal(row).key, secrets)
    octx.session.add(row)
    audit_log.record_operator(
        octx, "provider_account.secrets_changed", row.id, reason=reason, secrets=len(secrets)
    )


async def pause(session: AsyncSession, account_id: str, reason: str) -> None:
    """Its key was refused. Until somebody unpauses it nothing is asked of it; twice is once."""
    row = await repository.lock_account(session, account_id)
    if row is None or row.paused_at is not None:
        return
    row.paused_at, row.pause_reason = now(), reason[:MAX_REASON_LENGTH]
    session.add(row)
    log.get_logger(__name__).error("provider_account_paused", account=account_id, why=row.pause_reason)


async def unpause(octx: OperatorCtx, account_id: str, *, reason: str) -> None:
    """Whichever account its key opens now is believed to be the right one. Raises NotFound."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    row = await repository.lock_account(octx.session, account_id)
    if row is None:
        raise _not_found()
    if row.paused_at is None:
        return
    previous_reason, row.paused_at, row.pause_reason, row.external_id = row.pause_reason, None, "", ""
    octx.session.add(row)
    audit_log.record_operator(octx, "provider_account.unpaused", row.id, reason=reason, was=previous_reason)


async def rewrap_keys(octx: OperatorCtx, reason: str) -> int:
    """Their data keys under the newest master key: how many were under an older one. Twice is once."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    count = 0
    for row in await repository.lock_accounts(octx.session):
        if row.kek_id not in (None, crypto.get_newest_kek_id()):
            rewrapped_key = crypto.rewrap_dek(_wrapped_key(row))
            row.kek_id, row.wrapped = rewrapped_key.kek_id, rewrapped_key.wrapped
            octx.session.add(row)
            count += 1
    if count:
        audit_log.record_operator(
            octx, "keys.rotated", "provider_account", reason=reason, keys=count, to=crypto.get_newest_kek_id()
        )
    return count


def _unseal(row: ProviderAccount) -> AccountCredentials:
    paused = row.paused_at is not None
    if row.sealed is None:
        account = get_platform_account()
        return AccountCredentials(row.id, account.key, account.secrets, account.livemode, paused)
    plain = crypto.open_sealed(
        crypto.unwrap_dek(_wrapped_key(row)), row.sealed, PLATFORM, SEAL_CONTEXT, row.id
    )
    credentials = json.loads(plain)
    return AccountCredentials(row.id, credentials["key"], tuple(credentials["secrets"]), row.livemode, paused)


def _seal(row: ProviderAccount, wrapped: crypto.WrappedKey, key: str, secrets: Sequence[str]) -> None:
    plain = json.dumps({"key": key, "secrets": list(secrets)}).encode()
    row.sealed = crypto.seal(crypto.unwrap_dek(wrapped), plain, PLATFORM, SEAL_CONTEXT, row.id)
    row.kek_id, row.wrapped = wrapped.kek_id, wrapped.wrapped


def _wrapped_key(row: ProviderAccount) -> crypto.WrappedKey:
    assert row.kek_id is not None
    assert row.wrapped is not None
    return crypto.WrappedKey(row.kek_id, row.wrapped)


def _not_found() -> NotFound:
    return NotFound("There is no such account.", "Choose one from the list of accounts.")


def _clean_name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise Invalid(
            f"An account has a name of at most {MAX_NAME_LENGTH} characters.",
            "Name it as the business that sells through it.",
            fields={"name": "Missing or too long"},
        )
    return name


def _clean_key(text: str) -> str:
    if not KEY_PATTERN.fullmatch(key := text.strip()):
        raise Invalid(
            "This is not a secret key of Stripe.",
            "Copy the one that begins with sk_test_, sk_live_, rk_test_ or rk_live_.",
            fields={"key": "Not a secret key"},
        )
    return key


def _clean_secrets(texts: Sequence[str]) -> tuple[str, ...]:
    secrets = tuple(text.strip() for text in texts)
    if not 1 <= len(secrets) <= 2 or not all(SECRET_PATTERN.fullmatch(secret) for secret in secrets):
        raise Invalid(
            "This is not the signing secret of a webhook endpoint.",
            "Copy the one that begins with whsec_; two, newest first, while one is being replaced.",
            fields={"secrets": "Not a signing secret"},
        )
    return secrets
