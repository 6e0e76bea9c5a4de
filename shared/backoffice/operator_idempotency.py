"""Answers to requests with operators' keys, kept by idempotency key as for tenants: see `api_keys.idempotency`."""

from dataclasses import dataclass

from shared.api_keys import idempotency
from shared.api_keys.idempotency import KeptAnswer, KeptRow
from shared.backoffice import operator_key_repository as repository
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.identity import realm_secrets
from shared.identity.encryption_keys import ANSWER_FIELD
from shared.identity.realms import OPERATOR

MAX_EXPIRED = 50  # old answers that one request deletes


@dataclass(frozen=True, slots=True)
class OperatorAnswers:
    """Of requests with one key of an operator."""

    octx: OperatorCtx

    @property
    def actor_id(self) -> str:
        return self.octx.key_id

    async def add(self, row_id: str, request_digest: str) -> bool:
        await repository.delete_expired_answers(
            self.octx.session, row_id, before=now() - idempotency.RETENTION, limit=MAX_EXPIRED
        )
        return await repository.add_answer(self.octx.session, row_id, request_digest)

    async def get(self, row_id: str) -> KeptRow:
        return await repository.get_answer(self.octx.session, row_id)

    async def set_answer(self, row_id: str, answer: KeptAnswer, sealed_body: bytes) -> None:
        row = await repository.get_answer(self.octx.session, row_id)
        row.status, row.headers, row.body = answer.status, dict(answer.headers), sealed_body

    async def seal(self, text: str, row_id: str) -> bytes:
        return await realm_secrets.seal(self.octx.session, OPERATOR, text, field=ANSWER_FIELD, row_id=row_id)

    async def unseal(self, sealed: bytes, row_id: str) -> str:
        return await realm_secrets.unseal(
            self.octx.session, OPERATOR, sealed, field=ANSWER_FIELD, row_id=row_id
        )


async def begin(octx: OperatorCtx, *, key: str, operation: str, request: bytes) -> KeptAnswer | None:
    """As `idempotency.begin_answer`, for an operator's key."""
    return await idempotency.begin_answer(
        OperatorAnswers(octx), key=key, operation=operation, request=request
    )


async def keep(octx: OperatorCtx, *, key: str, operation: str, answer: KeptAnswer) -> None:
    """As `idempotency.keep_answer`, for an operator's key."""
    await idempotency.keep_answer(OperatorAnswers(octx), key=key, operation=operation, answer=answer)
