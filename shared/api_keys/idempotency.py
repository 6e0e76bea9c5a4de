"""Answers kept by idempotency key, so that a request that is sent again has one effect and one answer.

The row is inserted first, in the transaction of the request: a second request with the same key waits for the first one.
What was refused is rolled back with its row, and may be tried again. A secret is never kept: see `access.endpoints`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.exc import DBAPIError

from shared.api_keys import idempotency_repository as repository
from shared.core.context import Ctx
from shared.core.errors import Conflict, DomainError
from shared.tenancy import tenant_secrets

RETENTION = repository.RETENTION
MAX_KEY_LENGTH = 255  # characters
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


class KeptRow(Protocol):
    request_digest: str
    status: int | None
    headers: dict[str, str]
    body: bytes | None


class AnswerStore(Protocol):
    """Where the answers of one realm are kept for `RETENTION`, in the transaction of the request."""

    @property
    def actor_id(self) -> str: ...
    async def add(self, row_id: str, request_digest: str) -> bool:
        """False where the row exists and has not expired. Waits for a transaction that is adding it."""

    async def get(self, row_id: str) -> KeptRow: ...
    async def set_answer(self, row_id: str, answer: KeptAnswer, sealed_body: bytes) -> None: ...
    async def seal(self, text: str, row_id: str) -> bytes: ...
    async def unseal(self, sealed: bytes, row_id: str) -> str: ...


@dataclass(frozen=True, slots=True)
class TenantAnswers:
    """Of requests with keys of one tenant."""

    ctx: Ctx

    @property
    def actor_id(self) -> str:
        return self.ctx.actor_id

    async def add(self, row_id: str, request_digest: str) -> bool:
        return await repository.add(self.ctx, row_id, request_digest)

    async def get(self, row_id: str) -> KeptRow:
        return await repository.get(self.ctx, row_id)

    async def set_answer(self, row_id: str, answer: KeptAnswer, sealed_body: bytes) -> None:
        await repository.set_answer(
            self.ctx, row_id, status=answer.status, headers=answer.headers, body=sealed_body
        )

    async def seal(self, text: str, row_id: str) -> bytes:
        return await tenant_secrets.seal(self.ctx, text, SEALED_FIELD, row_id)

    async def unseal(self, sealed: bytes, row_id: str) -> str:
        data_key = await tenant_secrets.read_key(self.ctx)
        return tenant_secrets.unseal(self.ctx, data_key, sealed, field=SEALED_FIELD, row_id=row_id)


def check_key(key: str) -> None:
    """Raises BadIdempotencyKey."""
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isascii() or not key.isprintable():
        raise BadIdempotencyKey(
            f"An idempotency key has 1 to {MAX_KEY_LENGTH} printable ASCII characters.", "Send a UUID."
        )


async def begin(ctx: Ctx, *, key: str, operation: str, request: bytes) -> KeptAnswer | None:
    """As `begin_answer`, for a key of a tenant."""
    return await begin_answer(TenantAnswers(ctx), key=key, operation=operation, request=request)


async def keep(ctx: Ctx, *, key: str, operation: str, answer: KeptAnswer) -> None:
    """As `keep_answer`, for a key of a tenant."""
    await keep_answer(TenantAnswers(ctx), key=key, operation=operation, answer=answer)


async def begin_answer(store: AnswerStore, *, key: str, operation: str, request: bytes) -> KeptAnswer | None:
    """The answer that was given already; None for the first request, which then calls `keep_answer`.

    `operation`: method and route. `request`: everything that the answer depends on. Raises ReusedIdempotencyKey for
    another request under the same key, Conflict while the first one runs and takes too long.
    """
    row_id, digest = _hash(store.actor_id, key, operation), hashlib.sha256(request).hexdigest()
    try:
        is_first = await store.add(row_id, digest)
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
    row = await store.get(row_id)
    if row.request_digest != digest:
        raise ReusedIdempotencyKey(
            "This idempotency key was used for another request.", "Use a new key for every request."
        )
    return KeptAnswer(row.status or 0, row.headers, await store.unseal(row.body or b"", row_id))


async def keep_answer(store: AnswerStore, *, key: str, operation: str, answer: KeptAnswer) -> None:
    """Store the answer in the row that `begin_answer` has added, in the transaction of the request."""
    row_id = _hash(store.actor_id, key, operation)
    await store.set_answer(row_id, answer, await store.seal(answer.body, row_id))


def _hash(actor_id: str, key: str, operation: str) -> str:
    """The id of the row: one for each actor, operation and key."""
    parts = json.dumps([actor_id, operation, key])
    return f"idk_{hashlib.sha256(parts.encode()).hexdigest()[:36]}"
