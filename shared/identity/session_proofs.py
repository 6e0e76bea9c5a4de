"""Proofs of sessions. Write access to the rows of sessions is not enough to sign in: a proof needs a master key.

The exception are sessions that the former version made, for a month after its update.

A session carries an HMAC over its realm, id, hash, person and factors. Its times are kept by the database alone.
"""

import json
from typing import Any, NamedTuple

from shared.core import crypto, db, log
from shared.identity import realms, repository
from shared.identity.realms import Realm

BATCH_SIZE = 200  # sessions that one transaction signs again
PURPOSE = "session"  # stored proofs depend on it: it never changes


class SessionFacts(NamedTuple):
    """What a proof is about."""

    id: str
    token_hash: str
    owner_id: str
    factors: str


def read_facts(realm: Realm, row: Any) -> SessionFacts:
    return SessionFacts(row.id, row.token_hash, repository.get_owner_id(realm, row), row.factors)


def compute_proof(realm: Realm, row: Any) -> str:
    """For a session of `realm`, by the newest master key."""
    return crypto.compute_signature(PURPOSE, _message(realm, read_facts(realm, row)))


def is_genuine(realm: Realm, facts: SessionFacts, proof: str) -> bool:
    """Whether one of our processes made the session.

    Versions up to November 2026 made sessions without a proof. The database hands out those that they made, until the
    last of them has ended, a month after the update; `find_user_session` finds no others without one.
    """
    return proof == "" or crypto.is_signature_valid(PURPOSE, _message(realm, facts), proof)


async def record_forgery(realm: Realm, subject_id: str) -> None:
    """A security event in its own transaction: `subject_id` is the person whose session was forged."""
    log.get_tenant_logger(__name__).error("session_forged", realm=realm.name, subject_id=subject_id)
    async with db.transaction(realm.db_role) as session:
        await repository.record_forged_session(session, subject_id)


async def sign_sessions_again() -> int:
    """Prove all genuine sessions with the newest master key, so that none needs an older one. Returns how many changed.

    Runs as bulkhead_owner, which can read both realms. Sessions without a valid proof stay as they are. Each batch is a
    transaction, so that people wait for one batch at most.
    """
    return sum([await _sign_realm_again(realm) for realm in (realms.USER, realms.OPERATOR)])


async def _sign_realm_again(realm: Realm) -> int:
    count, after = 0, ""
    while True:
        async with db.transaction("owner") as session:
            rows = await repository.lock_sessions(session, realm, after=after, limit=BATCH_SIZE)
            for row in rows:
                proof = compute_proof(realm, row)
                if row.proof and row.proof != proof and is_genuine(realm, read_facts(realm, row), row.proof):
                    row.proof = proof
                    session.add(row)
                    count += 1
            after = rows[-1].id if rows else after
        if len(rows) < BATCH_SIZE:
            return count


def _message(realm: Realm, facts: SessionFacts) -> bytes:
    return json.dumps([realm.name, *facts]).encode()
