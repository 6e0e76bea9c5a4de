"""Receive Stripe webhooks for the platform's account and for further accounts, each at its own address.

Events are stored unchanged and acknowledged after the commit; processing fetches the current state from Stripe.
Checks in order: address, length, signature, timestamp, live or test mode, rate. No cookie and no session is used.
"""

import time

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from shared.billing import accounts
from shared.billing.accounts import AccountCredentials
from shared.billing.inbound_webhooks import ingest, signature_failures
from shared.billing.inbound_webhooks.signature import InvalidWebhook, WrongSignature, verify_event
from shared.core import db, log, metric_catalog, rate_limits, tracing
from shared.core.errors import DomainError, NotFound, Refused
from shared.core.rate_limits import RateLimit
from shared.web import http_app, problem_responses, request_middleware, webhook_bodies

MAX_BODY_BYTES = 512 * 1024  # typical events have a few thousand


class WebhooksClosed(DomainError):
    """No signing secret is configured, so no event can be verified."""

    status = 503
    default_reason = "webhooks_closed"


class WebhookRejected(DomainError):
    default_reason = "not_genuine"


class WebhookUnavailable(DomainError):
    status = 503
    default_reason = "not_stored"


async def receive_webhook(request: Request) -> Response:
    account = await _find_account(request)
    with tracing.span("webhook intake") as span:
        span.set_attribute("webhook.account", account.id)
        try:
            outcome = await _ingest(request, account)
        except ClientDisconnect:
            outcome = "cut_off"
        except DomainError as refusal:
            span.set_attribute("webhook.outcome", refusal.reason)
            metric_catalog.webhooks.add(account.id, refusal.reason)
            raise
        span.set_attribute("webhook.outcome", outcome)
    metric_catalog.webhooks.add(account.id, outcome)
    return Response(status_code=400 if outcome == "cut_off" else 200)  # nobody reads the former


async def _find_account(request: Request) -> AccountCredentials:
    """The account of this address. Raises the ordinary NotFound for an unknown one."""
    token = request.path_params.get("token")
    if token is None:
        return accounts.get_platform_account()
    async with db.transaction() as session:
        account = await accounts.find_by_token(session, token)
    if account is None:
        metric_catalog.webhooks.add("-", "unknown_address")
        raise NotFound(problem_responses.NOT_FOUND, problem_responses.NOT_FOUND_STEP)
    return account


async def _ingest(request: Request, account: AccountCredentials) -> str:
    """Verify and store the event: "stored" or "duplicate". Raises DomainError."""
    if not account.secrets:
        raise WebhooksClosed(
            "This endpoint is closed: no webhook signing secret is configured.",
            "Set STRIPE_WEBHOOK_SECRETS. Stripe retries events that were not accepted.",
        )
    body = await webhook_bodies.read_body(request, MAX_BODY_BYTES)
    try:
        event = verify_event(body, request.headers.get("stripe-signature"), account.secrets, time.time())
    except InvalidWebhook as problem:
        _log_refusal(request, account, str(problem))
        if isinstance(problem, WrongSignature):
            await signature_failures.record(account.id)
        raise WebhookRejected(
            "The signature doesn’t match this endpoint, or its timestamp is too old.",
            "Check the endpoint’s signing secret and the clock, and send the body unchanged.",
        ) from None
    if event.livemode != account.livemode:
        _log_refusal(request, account, "of the other mode")
        expected_mode, received_mode = ("live", "test") if account.livemode else ("test", "live")
        raise WebhookRejected(
            f"This endpoint accepts {expected_mode} events; this is a {received_mode} event.",
            f"Send {received_mode} events to another endpoint.",
            reason="other_mode",
        )
    try:
        rate_limits.enforce_local_rate_limit(RateLimit.WEBHOOK_ACCOUNT, account.id)
    except Refused:
        _log_refusal(request, account, "too often")
        raise
    try:
        new = await ingest.store_webhook(account.id, event, body)
    except ingest.WebhookNotStored:
        raise WebhookUnavailable("The event couldn’t be stored.", "Send it again.") from None
    return "stored" if new else "duplicate"


def _log_refusal(request: Request, account: AccountCredentials, reason: str) -> None:
    log.get_logger(__name__).warning(
        "webhook_refused",
        account=account.id,
        why=reason,
        request_id=request_middleware.get_request_id(request),
    )


ROUTES = [
    Route(accounts.WEBHOOK_PATH, receive_webhook, methods=["POST"]),
    Route(accounts.WEBHOOK_PATH + "/{token}", receive_webhook, methods=["POST"]),
    Route(
        "/webhooks/{rest:path}", http_app.show_not_found, methods=["POST"]
    ),  # the same response as for an unknown address
]
