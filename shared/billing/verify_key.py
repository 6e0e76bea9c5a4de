"""Checks that a key still belongs to the same Stripe account. Another account has none of our customers.

No tenant's access changes: unknown customers aren't treated as deleted. But cancellations at the old account would go
unnoticed, so our account is paused with an alert until an operator has checked it.
"""

from shared.billing import accounts, provider_registry
from shared.billing import accounts_repository as repository
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.core import db, log

WRONG_ACCOUNT = "The key is that of another account of the provider"


async def verify_keys() -> int:
    """Verifies the keys of all active accounts. Returns how many were paused."""
    paused_count = 0
    async with db.transaction() as session:
        account_rows = await repository.list_active_accounts(session)
    for account_id, expected_id in account_rows:
        try:
            external_id = await (await provider_registry.get(account_id)).get_account_id()
        except (
            ProviderDown,
            KeyRefused,
            ProviderRefused,
        ) as problem:  # a restricted key can be valid without permission to read the account
            log.get_logger(__name__).warning(
                "account_unknown", account=account_id, problem=type(problem).__name__
            )
            continue
        async with db.transaction() as session:
            if expected_id in ("", external_id):
                await repository.save_external_id(session, account_id, external_id)
            else:
                await accounts.pause(session, account_id, WRONG_ACCOUNT)
                paused_count += 1
    return paused_count
