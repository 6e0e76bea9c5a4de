"""The same key gets the same answer: whoever does not know whether a request arrived may ask again."""

import hashlib
import json
from typing import Any

from shared.dev.stripe_sandbox.refusals import Refusal
from shared.dev.stripe_sandbox.store import Account, Object

KEPT_SECONDS = 24 * 3600
KIND = "_idempotency"


def answered(account: Account, key: str, method: str, path: str, sent: Any) -> Object | None:
    """The answer that was given to this key. Refused when the request was another one."""
    before = account.get(KIND, key)
    if before is None or before["at"] < account.sandbox.clock() - KEPT_SECONDS:
        return None
    if before["digest"] != _digest(method, path, sent):
        raise Refusal(
            "Keys for idempotent requests can only be used with the same parameters they were first used with."
            f" Try using a key other than '{key}' if you meant to execute a different request.",
            kind="idempotency_error",
        )
    return before


def remember(
    account: Account, key: str, method: str, path: str, sent: Any, status: int, body: Object
) -> None:
    account.put(
        {
            "object": KIND,
            "id": key,
            "at": account.sandbox.clock(),
            "digest": _digest(method, path, sent),
            "status": status,
            "body": body,
            "request": account.request.id,
        }
    )


def _digest(method: str, path: str, sent: Any) -> str:
    return hashlib.sha256(json.dumps([method, path, sent], sort_keys=True).encode()).hexdigest()
