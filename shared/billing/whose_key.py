"""Whether a key opens the account that it opened before. Another one knows none of our customers.

Nobody's access changes by it: who is not known there is not taken for gone. But whoever cancels with the old account
would be believed to pay for ever, so the account is paused, loudly, until a person has looked.
"""

from shared.billing import accounts, providers
from shared.billing import accounts_repository as repository
from shared.billing.provider import KeyRefused, ProviderDown, ProviderRefused
from shared.core import db, log

ANOTHER = "The key is that of another account of the provider"


async def check() -> int:
    """Of every account that is not paused. How many were paused."""
    paused = 0
    async with db.transaction() as session:
        known = await repository.list_selling(session)
    for account_id, before in known:
        try:
            found = await (await providers.get(account_id)).whoami()
        except (
            ProviderDown,
            KeyRefused,
            ProviderRefused,
        ) as problem:  # a key may be good and not allowed to say
            log.get(__name__).warning("account_unknown", account=account_id, problem=type(problem).__name__)
            continue
        async with db.transaction() as session:
            if before in ("", found):
                await repository.put_external(session, account_id, found)
            else:
                await accounts.pause(session, account_id, ANOTHER)
                paused += 1
    return paused
