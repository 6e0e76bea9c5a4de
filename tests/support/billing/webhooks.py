"""Webhooks as Stripe signs them, and as nobody should."""

import hmac
import json
import time
from typing import Any

from shared.core.config import DEMO_STRIPE_SECRET
from shared.core.ids import new_id


def build_event(**changed: Any) -> dict[str, Any]:
    """About a customer that nobody knows; the id is new every time."""
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1"}},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": "customer.subscription.updated",
        **changed,
    }


def build_body(**changed: Any) -> bytes:
    return json.dumps(build_event(**changed)).encode()


def build_body_about(subject: dict[str, Any], **changed: Any) -> bytes:
    return build_body(data={"object": subject}, **changed)


def compute_digest(body: bytes, secret: str, stamp: str) -> str:
    return hmac.digest(secret.encode(), stamp.encode() + b"." + body, "sha256").hex()


def build_signature(body: bytes, *secrets: str, at: float | None = None, ago: float = 0) -> str:
    """By each of them, or by the stand-in's."""
    stamp = str(int((time.time() if at is None else at) - ago))
    digests = (compute_digest(body, secret, stamp) for secret in secrets or (DEMO_STRIPE_SECRET,))
    return ",".join([f"t={stamp}", *(f"v1={digest_text}" for digest_text in digests)])
