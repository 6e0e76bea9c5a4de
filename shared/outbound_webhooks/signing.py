"""Secrets and signatures as Standard Webhooks defines them (https://www.standardwebhooks.com), by its public library."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook

SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32
USER_AGENT = "Bulkhead-Webhooks/1"


def create_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def build_headers(
    signing_secrets: Sequence[str], event_id: str, body: str, *, at: datetime
) -> dict[str, str]:
    """The headers of one attempt. Each secret signs; a receiver accepts any of the signatures."""
    signatures = [Webhook(secret).sign(event_id, at, body) for secret in signing_secrets]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
