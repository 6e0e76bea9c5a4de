"""Bodies of webhooks: bounded in size and time."""

import asyncio

from starlette.requests import Request

from shared.core.errors import DomainError

BODY_TIMEOUT_S = 10.0


class WebhookTooLarge(DomainError):
    status = 413
    default_reason = "too_large"


class WebhookTooSlow(DomainError):
    status = 408
    default_reason = "too_slow"


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Raises WebhookTooLarge, WebhookTooSlow, ClientDisconnect."""
    too_large = WebhookTooLarge(f"Webhooks can have at most {max_bytes // 1024} KiB.", "Send a smaller body.")
    content_length = request.headers.get("content-length", "")
    if content_length.isdigit() and int(content_length) > max_bytes:
        raise too_large
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > max_bytes:
                    raise too_large
    except TimeoutError:
        raise WebhookTooSlow(
            f"The body did not arrive within {BODY_TIMEOUT_S:g} seconds.", "Send it again."
        ) from None
    return b"".join(parts)
