"""Proofs of sessions. Write access to the rows of sessions is not enough to sign in: a proof needs a master key.

A session carries an HMAC over its realm, id, hash, person and factors. Its times are kept by the database alone.
"""

import json
from typing import Any

from shared.core import crypto, db, log
from shared.identity import realms, repository
from shared.identity.realms import Realm

PURPOSE = "session"  # stored proofs depend on it: it never changes


def compute_proof(realm: Realm, row: Any) -> str:
    """For a session of `realm`, by the newest master key."""
    return crypto.compute_signature(PURPOSE, _message(realm, row))


def is_genuine(realm: Realm, row: Any) -> bool:
    """Whether one of our processes made the session.

    Versions up to November 2026 made sessions without a proof. The database takes no new ones, and the last of them
    end 30 days after the update.
    """
    return row.proof == "" or crypto.is_signature_valid(PURPOSE, _message(realm, row), row.proof)


async def record_forgery(realm: Realm, subject_id: str) -> None:
    """A security event in its own transaction: `subject_id` is the person whose session was forged."""
    log.get_logger(__name__).error("session_forged", realm=realm.name, subject_id=subject_id)
    async with db.transaction(realm.db_role) as session:
        await repository.record_forged_session(session, subject_id)


async def sign_sessions_again() -> int:
    """Prove all genuine sessions with the newest master key, so that none needs an older one. Returns how many changed.

    Runs as bulkhead_owner, which can read both realms. Sessions without a valid proof stay as they are.
    """
    count = 0
    async with db.transaction("owner") as session:
        for realm in (realms.USER, realms.OPERATOR):
            for row in await repository.lock_sessions(session, realm):
                proof = compute_proof(realm, row)
                if row.proof and row.proof != proof and is_genuine(realm, row):
                    row.proof = proof
                    session.add(row)
                    count += 1
    return count


def _message(realm: Realm, row: Any) -> bytes:
    owner_id = repository.get_owner_id(realm, row)
    return json.dumps([realm.name, row.id, row.token_hash, owner_id, row.factors]).encode()
