"""The realms' own data keys, wrapped anew when there is a newer master key."""

from shared.core import crypto, db
from shared.identity import repository


async def rotate() -> int:
    """How many were under an older key. Twice is once. As bulkhead_owner: each app reaches only its own realm's key."""
    count = 0
    async with db.transaction("owner") as session:
        for row in await repository.lock_keys(session):
            if row.kek_id != crypto.newest():
                found = crypto.rewrap(crypto.WrappedKey(row.kek_id, row.wrapped))
                row.kek_id, row.wrapped = found.kek_id, found.wrapped
                session.add(row)
                count += 1
    return count
