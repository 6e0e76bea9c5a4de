"""Stripe accounts that operators add, change and resume."""

import re
from collections.abc import Sequence

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice.reasons import Reason, use_reason
from shared.billing import accounts
from shared.billing.models import ProviderAccount
from shared.core import crypto
from shared.core.config import settings
from shared.core.context import OperatorCtx
from shared.core.displayed_text import clean_line
from shared.core.errors import Conflict, Invalid

MAX_NAME_LENGTH = 60
KEY_PATTERN = re.compile(r"[sr]k_(?:test|live)_[A-Za-z0-9_]{8,255}")
SECRET_PATTERN = re.compile(r"whsec_[A-Za-z0-9_+/=]{8,255}")


async def add(octx: OperatorCtx, name: str, key: str, secrets: Sequence[str], *, reason: Reason) -> str:
    """Adds an account. Returns its webhook address, to be shown once. Raises Conflict, Invalid."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    reason_text = use_reason(octx, reason)
    name, key, secrets = _clean_name(name), _clean_key(key), _clean_secrets(secrets)
    existing_accounts = [accounts.unseal(row) for row in await accounts.lock_all(octx.session)]
    if duplicate := next((account for account in existing_accounts if account.key == key), None):
        raise Conflict(
            f"The account {duplicate.id} already uses this key.",
            "Use the key of another account, or change the secrets of that account.",
        )
    token, row = crypto.new_token(), ProviderAccount(name=name, livemode=accounts.is_live_key(key))
    row.token_hash = crypto.hash_token(token)
    accounts.seal(row, crypto.new_dek(), key, secrets)
    octx.session.add(row)
    await octx.session.flush()
    audit_log.record_operator(
        octx, "provider_account.added", row.id, reason=reason_text, name=name, livemode=row.livemode
    )
    return f"{settings().tenant_url}{accounts.WEBHOOK_PATH}/{token}"


async def set_secrets(octx: OperatorCtx, account_id: str, secrets: Sequence[str], *, reason: Reason) -> None:
    """`secrets`: newest first; two while one is being replaced. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    reason_text = use_reason(octx, reason)
    secrets = _clean_secrets(secrets)
    row = await accounts.lock(octx.session, account_id)
    if row.sealed is None:  # the platform's own: its secrets are settings
        raise accounts.account_not_found()
    accounts.seal(row, accounts.wrapped_key(row), accounts.unseal(row).key, secrets)
    octx.session.add(row)
    audit_log.record_operator(
        octx, "provider_account.secrets_changed", row.id, reason=reason_text, secrets=len(secrets)
    )


async def unpause(octx: OperatorCtx, account_id: str, *, reason: Reason) -> None:
    """Resumes an account. The Stripe account of its current key is accepted as the right one. Raises NotFound."""
    policy.require_operator(octx, actions.OP_ACCOUNT_WRITE)
    reason_text = use_reason(octx, reason)
    row = await accounts.lock(octx.session, account_id)
    if row.paused_at is None:
        return
    previous_reason, row.paused_at, row.pause_reason, row.external_id = row.pause_reason, None, "", ""
    octx.session.add(row)
    audit_log.record_operator(
        octx, "provider_account.unpaused", row.id, reason=reason_text, was=previous_reason
    )


async def list_wrapped_keys(octx: OperatorCtx, reason: Reason) -> list[tuple[str, crypto.WrappedKey]]:
    """Account id and wrapped data key of every account that has one. Raises Invalid without a reason."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    use_reason(octx, reason)
    return [
        (row.id, accounts.wrapped_key(row))
        for row in await accounts.lock_all(octx.session)
        if row.kek_id is not None
    ]


async def rewrap_keys(octx: OperatorCtx, reason: Reason) -> int:
    """Wraps data keys with the newest master key. Returns how many used an older one. Idempotent."""
    policy.require_operator(octx, actions.OP_KEY_ROTATE)
    reason_text = use_reason(octx, reason)
    count = 0
    for row in await accounts.lock_all(octx.session):
        if row.kek_id is not None and crypto.needs_rewrap(accounts.wrapped_key(row)):
            rewrapped_key = crypto.rewrap_dek(accounts.wrapped_key(row))
            row.kek_id, row.wrapped = rewrapped_key.kek_id, rewrapped_key.wrapped
            octx.session.add(row)
            count += 1
    if count:
        audit_log.record_operator(
            octx,
            "keys.rotated",
            "provider_account",
            reason=reason_text,
            keys=count,
            to=crypto.get_newest_kek_id(),
        )
    return count


def _clean_name(text: str) -> str:
    missing = "Enter the name of the business that sells through it."
    return clean_line(text, noun="name", missing=missing, max_length=MAX_NAME_LENGTH, fields=("name",))


def _clean_key(text: str) -> str:
    if not KEY_PATTERN.fullmatch(key := text.strip()):
        raise Invalid(
            "This isn’t a Stripe secret key.",
            "Copy the key that starts with sk_test_, sk_live_, rk_test_ or rk_live_.",
            fields={"key": "Not a secret key"},
        )
    if settings().is_production and not accounts.is_live_key(key) and not settings().stripe_allow_test_key:
        raise Invalid(
            "This is a test key: customers would get plans without paying.",
            "Use the live key, or set STRIPE_ALLOW_TEST_KEY=1 where this is a rehearsal.",
            fields={"key": "Test key"},
        )
    return key


def _clean_secrets(texts: Sequence[str]) -> tuple[str, ...]:
    secrets = tuple(text.strip() for text in texts)
    if not 1 <= len(secrets) <= 2 or not all(SECRET_PATTERN.fullmatch(secret) for secret in secrets):
        raise Invalid(
            "This isn’t the signing secret of a webhook endpoint.",
            "Copy the secret that starts with whsec_. While replacing one, enter both, newest first.",
            fields={"secrets": "Not a signing secret"},
        )
    return secrets
