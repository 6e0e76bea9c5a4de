"""Whether a key opens the account that it opened before. Another one knows none of our customers.

Nobody's access changes by it: who is not known there is not taken for gone. But whoever cancels with the old account
would be believed to pay for ever, so the account is paused, loudly, until a person has looked.
"""

from shared.billing import accounts, provider_registry
from shared.billing import accounts_repository as repository
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.core import db, log

WRONG_ACCOUNT = "The key is that of another account of the provider"


async def verify_keys() -> int:
    """Of every account that is not paused. How many were paused."""
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
        ) as problem:  # a key may be good and not allowed to say
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
