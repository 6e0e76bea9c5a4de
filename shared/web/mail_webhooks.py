"""Receive what the mail provider reports: bounces and complaints. No cookie and no session is used.

Checks in order: length, signature, time, rate, token. An event that was taken before is acknowledged, and changes nothing.
"""

import time

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from shared.core import db, log, rate_limits
from shared.core.config import settings
from shared.core.errors import DomainError
from shared.core.rate_limits import RateLimit
from shared.jobs import mail_events, mailgun_events
from shared.jobs.mail_events import InvalidMailEvent
from shared.web import request_middleware, webhook_bodies

PATH = "/webhooks/mail"
MAX_BODY_BYTES = 64 * 1024  # typical events have a few thousand


class MailWebhooksClosed(DomainError):
    """No signing key is configured, so no event can be verified."""

    status = 503
    default_reason = "webhooks_closed"


class MailWebhookRejected(DomainError):
    default_reason = "not_genuine"


async def receive_mail_event(request: Request) -> Response:
    keys = settings().mail_webhook_signing_keys
    if not keys:
        raise MailWebhooksClosed(
            "This endpoint is closed: no signing key of the mail provider is configured.",
            "Set BULKHEAD_MAIL_WEBHOOK_KEYS. The provider sends events again that were not accepted.",
        )
    try:
        body = await webhook_bodies.read_body(request, MAX_BODY_BYTES)
    except ClientDisconnect:
        return Response(status_code=400)  # the client has disconnected
    logger = log.get_logger(__name__).bind(request_id=request_middleware.get_request_id(request))
    try:
        event = mailgun_events.read_event(body, keys, time.time())
    except InvalidMailEvent as problem:
        logger.warning("mail_event_refused", why=str(problem))
        raise MailWebhookRejected(
            "The signature doesn’t match this endpoint, its timestamp is too old, or this isn’t an event.",
            "Check the signing key and the clock, and send the body unchanged.",
        ) from None
    rate_limits.enforce_local_rate_limit(RateLimit.WEBHOOK_ACCOUNT, "mail")
    async with db.transaction() as session:
        is_new = await mail_events.take(session, event)
    logger.info("mail_event_taken", cause=str(event.cause or ""), is_new=is_new)
    return Response()


ROUTES = [Route(PATH, receive_mail_event, methods=["POST"])]
