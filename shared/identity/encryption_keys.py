"""Read the realms' data keys, and rewrap them with the newest master key."""

from shared.core import crypto, db
from shared.identity import repository


async def list_wrapped_keys() -> list[tuple[str, crypto.WrappedKey]]:
    """Whose it is, and the key. Runs as bulkhead_owner, which can read both realms."""
    async with db.transaction("owner") as session:
        return [
            (f"second factors of realm {row.id}", crypto.WrappedKey(row.kek_id, row.wrapped))
            for row in await repository.lock_realm_keys(session)
        ]


async def rotate_realm_keys() -> int:
    """Rewrap outdated keys and return their number. Idempotent. Runs as bulkhead_owner, which can read both realms."""
    count = 0
    async with db.transaction("owner") as session:
        for row in await repository.lock_realm_keys(session):
            key = crypto.WrappedKey(row.kek_id, row.wrapped)
            if crypto.needs_rewrap(key):
                rewrapped = crypto.rewrap_dek(key)
                row.kek_id, row.wrapped = rewrapped.kek_id, rewrapped.wrapped
                session.add(row)
                count += 1
    return count
