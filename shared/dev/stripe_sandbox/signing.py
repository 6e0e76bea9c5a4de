"""The body of a webhook, the valid signing secrets of an endpoint, and the signature."""

import hashlib
import hmac
import json
import time
from collections.abc import Sequence

from shared.dev.stripe_sandbox.store import Account, Object, copy_visible, new_id


def build_payload(event: Object, endpoint: Object) -> bytes:
    """In the API version of the endpoint, indented as Stripe's are."""
    version = endpoint.get("api_version") or event["api_version"]
    return json.dumps(copy_visible(event) | {"api_version": version}, indent=2).encode()


def build_signature_header(body: bytes, secrets: Sequence[str], stamp: int) -> str:
    """The value of `Stripe-Signature`: one `v1` for each secret."""
    signed = b"%d.%b" % (stamp, body)
    marks = [hmac.digest(secret.encode(), signed, hashlib.sha256).hex() for secret in secrets]
    return ",".join([f"t={stamp}", *(f"v1={mark}" for mark in marks)])


def list_secrets(endpoint: Object, now: float) -> list[str]:
    """The newest secret, and the previous one until its overlap ends."""
    rolling = endpoint.get("_old_secret_until", 0) > now
    return [endpoint["_secret"], *([endpoint["_old_secret"]] if rolling else [])]


def roll_secret(account: Account, endpoint: Object, overlap_s: float) -> str:
    """Create and return a new secret. The old one also signs for `overlap_s` seconds, so no event is lost."""
    endpoint |= {
        "_old_secret": endpoint["_secret"],
        "_old_secret_until": time.time() + overlap_s,
        "_secret": new_id("whsec"),
    }
    return str(account.put(endpoint)["_secret"])
