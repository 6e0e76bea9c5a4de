"""What Stripe tells us, for the platform's account and for further ones by their own address.

Kept as it came and answered after the commit; what it means is found out later, by asking Stripe. In this order:
whose address, how long, signed by whom and when, for live or test, how often. No cookie, no session, no page.
"""

import asyncio
import time

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from shared.api import edge, house, metrics, refusals
from shared.billing import accounts, intake
from shared.billing.accounts import Account
from shared.billing.envelope import NotGenuine, open_envelope
from shared.core import db, limits, log
from shared.core.errors import DomainError, NotFound, Refused
from shared.core.limits import Limit

MOST = 512 * 1024  # bytes; Stripe's are a few thousand
BODY_WITHIN = 10.0  # seconds


class Closed(DomainError):
    """Not a bug: nobody has told us the secret by which we would know what is genuine."""

    status = 503
    default_reason = "webhooks_closed"


class TooLarge(DomainError):
    status = 413
    default_reason = "too_large"


class TooSlow(DomainError):
    status = 408
    default_reason = "too_slow"


class NotTaken(DomainError):
    default_reason = "not_genuine"


class NotKept(DomainError):
    status = 503
    default_reason = "not_stored"


async def receive(request: Request) -> Response:
    account = await _account(request)
    try:
        outcome = await _take(request, account)
    except ClientDisconnect:
        metrics.webhooks.labels(account.id, "cut_off").inc()
        return Response(status_code=400)  # nobody hears it
    except DomainError as refusal:
        metrics.webhooks.labels(account.id, refusal.reason).inc()
        raise
    metrics.webhooks.labels(account.id, outcome).inc()
    return Response()


async def _account(request: Request) -> Account:
    """An address that is nobody's answers as any other that is not there."""
    token = request.path_params.get("token")
    if token is None:
        return accounts.platform()
    async with db.transaction() as session:
        found = await accounts.by_token(session, token)
    if found is None:
        metrics.webhooks.labels("-", "unknown_address").inc()
        raise NotFound(refusals.NOTHING, refusals.NOTHING_STEP)
    return found


async def _take(request: Request, account: Account) -> str:
    """What became of it. Raises DomainError."""
    if not account.secrets:
        raise Closed(
            "This address is closed: no signing secret of a webhook is configured for it.",
            "Set STRIPE_WEBHOOK_SECRETS. Stripe sends again what was not taken.",
        )
    body = await _body(request)
    try:
        event = open_envelope(body, request.headers.get("stripe-signature"), account.secrets, time.time())
    except NotGenuine as problem:
        _note(request, account, str(problem))
        raise NotTaken(
            "This is not an event that was signed for this address just now.",
            "Compare the endpoint's signing secret, and the clocks. Send it as it was signed.",
        ) from None
    if event.livemode != account.livemode:
        _note(request, account, "of the other mode")
        ours, theirs = ("live", "test") if account.livemode else ("test", "live")
        raise NotTaken(
            f"This address takes {ours} events, and this is a {theirs} one.",
            f"Give {theirs} events another endpoint.",
            reason="other_mode",
        )
    try:
        limits.hit_here(Limit.WEBHOOK_ACCOUNT, account.id)
    except Refused:
        _note(request, account, "too often")
        raise
    try:
        new = await intake.store(account.id, event, body)
    except intake.NotStored:
        raise NotKept("This could not be kept just now.", "Send it again.") from None
    return "stored" if new else "duplicate"


async def _body(request: Request) -> bytes:
    """Raises TooLarge, TooSlow, ClientDisconnect."""
    too_large = TooLarge(
        f"A webhook has at most {MOST // 1024} KiB.", "Send less, or let us fetch what it is about."
    )
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > MOST:
        raise too_large
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > MOST:
                    raise too_large
    except TimeoutError:
        raise TooSlow(f"The body did not arrive within {BODY_WITHIN:g} seconds.", "Send it again.") from None
    return b"".join(parts)


def _note(request: Request, account: Account, why: str) -> None:
    log.get(__name__).warning(
        "webhook_refused", account=account.id, why=why, request_id=edge.request_id(request)
    )


ROUTES = [
    Route(accounts.ADDRESS, receive, methods=["POST"]),
    Route(accounts.ADDRESS + "/{token}", receive, methods=["POST"]),
    Route("/webhooks/{rest:path}", house.nothing, methods=["POST"]),  # as an address that is nobody's
]
