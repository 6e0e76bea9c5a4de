"""Answers kept by idempotency key, so that a request that is sent again has one effect and one answer.

The row is inserted first, in the transaction of the request: a second request with the same key waits for the first one.
What was refused is rolled back with its row, and may be tried again. A secret is never kept: see `access.endpoints`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import DBAPIError

from shared.api_keys import idempotency_repository as repository
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.errors import Conflict, DomainError
from shared.tenancy import tenant_secrets

RETENTION = timedelta(hours=24)
MAX_KEY_LENGTH = 255  # characters
MAX_EXPIRED = 50  # rows that one request deletes
SEALED_FIELD = "idempotency_key.body"
LOCK_NOT_AVAILABLE = "55P03"  # https://www.postgresql.org/docs/current/errcodes-appendix.html


class BadIdempotencyKey(DomainError):
    status = 400
    default_reason = "bad_idempotency_key"


class ReusedIdempotencyKey(DomainError):
    status = 422
    default_reason = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    status: int
    headers: Mapping[str, str]
    body: str


def check_key(key: str) -> None:
    """Raises BadIdempotencyKey."""
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise BadIdempotencyKey(
            f"An idempotency key has 1 to {MAX_KEY_LENGTH} printable ASCII characters.", "Send a UUID."
        )


async def begin(ctx: Ctx, *, key: str, operation: str, request: bytes) -> KeptAnswer | None:
    """The answer that was given already; None for the first request, which then calls `keep`.

    `operation`: method and route. `request`: everything that the answer depends on. Raises ReusedIdempotencyKey for
    another request under the same key, Conflict while the first one runs and takes too long.
    """
    row_id, digest = _hash(ctx, key, operation), hashlib.sha256(request).hexdigest()
    expired_before = now() - RETENTION
    await repository.delete_expired(ctx, before=expired_before, limit=MAX_EXPIRED, row_id=row_id)
    try:
        is_first = await repository.add(ctx, row_id, digest)
    except DBAPIError as problem:
        if getattr(problem.orig, "sqlstate", "") == LOCK_NOT_AVAILABLE:
            raise Conflict(
                "The first request with this idempotency key is still running.",
                "Wait a moment and send it again.",
                reason="idempotency_in_progress",
            ) from problem
        raise
    if is_first:
        return None
    row = await repository.get(ctx, row_id)
    if row.request_digest != digest:
        raise ReusedIdempotencyKey(
            "This idempotency key was used for another request.", "Use a new key for every request."
        )
    data_key = await tenant_secrets.read_key(ctx)
    body = tenant_secrets.unseal(ctx, data_key, row.body or b"", field=SEALED_FIELD, row_id=row_id)
    return KeptAnswer(row.status or 0, row.headers, body)


async def keep(ctx: Ctx, *, key: str, operation: str, answer: KeptAnswer) -> None:
    """Store the answer in the row that `begin` has added, in the transaction of the request."""
    row_id = _hash(ctx, key, operation)
    row = await repository.get(ctx, row_id)
    row.status, row.headers = answer.status, dict(answer.headers)
    row.body = await tenant_secrets.seal(ctx, answer.body, SEALED_FIELD, row_id)
    ctx.session.add(row)


def _hash(ctx: Ctx, key: str, operation: str) -> str:
    """The id of the row: one for each actor, operation and key."""
    parts = json.dumps([ctx.actor_id, operation, key])
    return f"idk_{hashlib.sha256(parts.encode()).hexdigest()[:36]}"
