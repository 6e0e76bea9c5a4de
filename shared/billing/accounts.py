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
from shared.audit import trail
from shared.billing import accounts_repository as repository
from shared.billing.models import PLATFORM, ProviderAccount
from shared.core import crypto, log
from shared.core.config import settings
from shared.core.ctx import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound

ADDRESS = "/webhooks/stripe"
SEALED = "provider_account.sealed"
LONGEST_NAME, LONGEST_REASON = 60, 300
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
KEY = re.compile(r"[sr]k_(?:test|live)_[A-Za-z0-9_]{8,255}")
SECRET = re.compile(r"whsec_[A-Za-z0-9_+/=]{8,255}")


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    key: str = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)  # of its webhooks, newest first; none closes its address
    livemode: bool
    paused: bool = False  # its key was refused: nothing is asked, what comes is kept

    @property
    def is_platform(self) -> bool:
        return self.id == PLATFORM


def platform() -> Account:
    """As the settings say, without a look whether it is paused: what comes for it is kept either way."""
    key = settings().stripe_key
    return Account(PLATFORM, key, settings().stripe_secrets, is_live(key))


def is_live(key: str) -> bool:
    return key.startswith(("sk_live_", "rk_live_"))


async def get(session: AsyncSession, account_id: str) -> Account:
    """Raises NotFound."""
    row = await repository.get_account(session, account_id)
    if row is None:
        raise _unknown()
    return _opened(row)


async def by_token(session: AsyncSession, token: str) -> Account | None:
    """`token`: the last part of a further account's address."""
    if not TOKEN.fullmatch(token):
        return None
    row = await repository.get_account_by_token(session, crypto.digest(token))
    return _opened(row) if row is not None else None


async def add(octx: OperatorCtx, name: str, key: str, secrets: Sequence[str], *, reason: str) -> str:
    """The address for its webhooks, to be shown once. Raises Conflict, Invalid."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    name, key, secrets = _clean_name(name), _clean_key(key), _clean_secrets(secrets)
    taken = [_opened(row) for row in await repository.lock_accounts(octx.session)]
    if known := next((one for one in taken if one.key == key), None):
        raise Conflict(
            f"This key belongs to the account {known.id} already.",
            "Use the key of another account, or change the secrets of that one.",
        )
    token, row = crypto.new_token(), ProviderAccount(name=name, livemode=is_live(key))
    row.token_hash = crypto.digest(token)
    _seal(row, crypto.new_dek(), key, secrets)
    octx.session.add(row)
    await octx.session.flush()
    trail.record_operator(
        octx, "provider_account.added", row.id, reason=reason, name=name, livemode=row.livemode
    )
    return f"{settings().tenant_url}{ADDRESS}/{token}"


async def set_secrets(octx: OperatorCtx, account_id: str, secrets: Sequence[str], *, reason: str) -> None:
    """Newest first; two while one is replaced, then the newer one alone. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    secrets = _clean_secrets(secrets)
    row = await repository.lock_account(octx.session, account_id)
    if row is None or row.sealed is None:
        raise _unknown()
    _seal(row, _wrapped(row), _opened(row).key, secrets)
    octx.session.add(row)
    trail.record_operator(
        octx, "provider_account.secrets_changed", row.id, reason=reason, secrets=len(secrets)
    )


async def pause(session: AsyncSession, account_id: str, reason: str) -> None:
    """Its key was refused. Until somebody unpauses it nothing is asked of it; twice is once."""
    row = await repository.lock_account(session, account_id)
    if row is None or row.paused_at is not None:
        return
    row.paused_at, row.pause_reason = now(), reason[:LONGEST_REASON]
    session.add(row)
    log.get(__name__).error("provider_account_paused", account=account_id, why=row.pause_reason)


async def unpause(octx: OperatorCtx, account_id: str, *, reason: str) -> None:
    """Whichever account its key opens now is believed to be the right one. Raises NotFound."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    row = await repository.lock_account(octx.session, account_id)
    if row is None:
        raise _unknown()
    if row.paused_at is None:
        return
    was, row.paused_at, row.pause_reason, row.external_id = row.pause_reason, None, "", ""
    octx.session.add(row)
    trail.record_operator(octx, "provider_account.unpaused", row.id, reason=reason, was=was)


async def rewrap(octx: OperatorCtx, reason: str) -> int:
    """Their data keys under the newest master key: how many were under an older one. Twice is once."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    count = 0
    for row in await repository.lock_accounts(octx.session):
        if row.kek_id not in (None, crypto.newest()):
            found = crypto.rewrap(_wrapped(row))
            row.kek_id, row.wrapped = found.kek_id, found.wrapped
            octx.session.add(row)
            count += 1
    if count:
        trail.record_operator(
            octx, "keys.rotated", "provider_account", reason=reason, keys=count, to=crypto.newest()
        )
    return count


def _opened(row: ProviderAccount) -> Account:
    paused = row.paused_at is not None
    if row.sealed is None:
        known = platform()
        return Account(row.id, known.key, known.secrets, known.livemode, paused)
    plain = crypto.open_sealed(crypto.unwrap(_wrapped(row)), row.sealed, PLATFORM, SEALED, row.id)
    held = json.loads(plain)
    return Account(row.id, held["key"], tuple(held["secrets"]), row.livemode, paused)


def _seal(row: ProviderAccount, wrapped: crypto.WrappedKey, key: str, secrets: Sequence[str]) -> None:
    plain = json.dumps({"key": key, "secrets": list(secrets)}).encode()
    row.sealed = crypto.seal(crypto.unwrap(wrapped), plain, PLATFORM, SEALED, row.id)
    row.kek_id, row.wrapped = wrapped.kek_id, wrapped.wrapped


def _wrapped(row: ProviderAccount) -> crypto.WrappedKey:
    assert row.kek_id is not None
    assert row.wrapped is not None
    return crypto.WrappedKey(row.kek_id, row.wrapped)


def _unknown() -> NotFound:
    return NotFound("There is no such account.", "Choose one from the list of accounts.")


def _clean_name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(
            f"An account has a name of at most {LONGEST_NAME} characters.",
            "Name it as the business that sells through it.",
            fields={"name": "Missing or too long"},
        )
    return name


def _clean_key(text: str) -> str:
    if not KEY.fullmatch(key := text.strip()):
        raise Invalid(
            "This is not a secret key of Stripe.",
            "Copy the one that begins with sk_test_, sk_live_, rk_test_ or rk_live_.",
            fields={"key": "Not a secret key"},
        )
    return key


def _clean_secrets(texts: Sequence[str]) -> tuple[str, ...]:
    secrets = tuple(text.strip() for text in texts)
    if not 1 <= len(secrets) <= 2 or not all(SECRET.fullmatch(one) for one in secrets):
        raise Invalid(
            "This is not the signing secret of a webhook endpoint.",
            "Copy the one that begins with whsec_; two, newest first, while one is being replaced.",
            fields={"secrets": "Not a signing secret"},
        )
    return secrets
