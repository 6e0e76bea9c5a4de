"""The same idempotency key gets the same response, so a client can safely repeat a request.

Stripe saves the first response once the endpoint began to execute: declined cards and server errors too, but no parameters
that fail validation. https://docs.stripe.com/api/idempotent_requests and https://docs.stripe.com/error-low-level
"""

import hashlib
import json
from typing import Any

from shared.dev.stripe_sandbox.refusals import ApiError
from shared.dev.stripe_sandbox.store import Account, Object

RETENTION_SECONDS = 24 * 3600
KIND = "_idempotency"


def find_response(account: Account, key: str, method: str, path: str, params: Any) -> Object | None:
    """The stored response of this key. Raises ApiError when the request was a different one."""
    stored_response = account.get(KIND, key)
    if stored_response is None or stored_response["at"] < account.sandbox.clock() - RETENTION_SECONDS:
        return None
    if stored_response["digest"] != _hash_request(method, path, params):
        raise ApiError(
            "Keys for idempotent requests can only be used with the same parameters they were first used with."
            f" Try using a key other than '{key}' if you meant to execute a different request.",
            kind="idempotency_error",
        )
    return stored_response


def is_validation_error(status: int, body: Object) -> bool:
    """Whether a parameter was refused. Errors about the state of an object name no parameter."""
    return status in (400, 404) and "param" in body.get("error", {})


def save_response(
    account: Account, key: str, method: str, path: str, params: Any, status: int, body: Object
) -> None:
    account.put(
        {
            "object": KIND,
            "id": key,
            "at": account.sandbox.clock(),
            "digest": _hash_request(method, path, params),
            "status": status,
            "body": body,
            "request": account.request.id,
        }
    )


def _hash_request(method: str, path: str, params: Any) -> str:
    return hashlib.sha256(json.dumps([method, path, params], sort_keys=True).encode()).hexdigest()
