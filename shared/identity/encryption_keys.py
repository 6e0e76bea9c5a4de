"""Read the realms' data keys, and rewrap them with the newest master key."""

from collections.abc import Callable

from shared.core import crypto, db
from shared.identity import repository
from shared.identity.realms import OPERATOR, Realm

BATCH_SIZE = 500
ANSWER_FIELD = "operator_idempotency_key.body"  # what operators' keys were answered
DESCRIPTIONS = {
    "user": "second factors of realm user",
    "operator": "second factors of realm operator",
    "trial": "cards that have had a trial",
}


async def list_wrapped_keys() -> list[tuple[str, crypto.WrappedKey]]:
    """Whose it is, and the key. Runs as bulkhead_owner, which can read both realms."""
    async with db.transaction("owner") as session:
        return [
            (DESCRIPTIONS[row.id], crypto.WrappedKey(row.kek_id, row.wrapped))
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


async def count_seeds(realm: Realm) -> int:
    """How many seeds of second factors the realm's data key seals. Runs as bulkhead_owner."""
    async with db.transaction("owner") as session:
        return await repository.count_totps(session, realm)


async def renew_realm_key(realm: Realm, show: Callable[[int], object]) -> int:
    """Seal all seeds of the realm with a new data key, in one transaction. Returns how many; `show` gets the number so far.

    The answers that are kept for operators' keys are sealed again as well.

    Sign-ins with a password go on meanwhile. Codes of the app, and turning a factor on, wait until it is done, or fail
    with a 503 where that takes too long. Runs as bulkhead_owner.
    """
    async with db.transaction("owner") as session:
        key_row = await repository.lock_realm_key(session, realm)
        if key_row is None:
            return 0
        old_key = crypto.unwrap_dek(crypto.WrappedKey(key_row.kek_id, key_row.wrapped))
        wrapped = crypto.new_dek()
        new_key = crypto.unwrap_dek(wrapped)
        count, after = 0, ""
        while rows := await repository.lock_totps(session, realm, after=after, limit=BATCH_SIZE):
            for row in rows:
                owner_id = repository.get_owner_id(realm, row)
                context = (realm.name, f"{realm.name}_totp.sealed", owner_id)
                row.sealed = crypto.reseal(row.sealed, (old_key, new_key), *context)
                session.add(row)
            count, after = count + len(rows), repository.get_owner_id(realm, rows[-1])
            await session.flush()
            show(count)
        if realm is OPERATOR:
            for answer in await repository.lock_kept_answers(session):
                context = (realm.name, ANSWER_FIELD, answer.id)
                answer.body = crypto.reseal(answer.body or b"", (old_key, new_key), *context)
                session.add(answer)
        key_row.kek_id, key_row.wrapped = wrapped.kek_id, wrapped.wrapped
        session.add(key_row)
    return count
