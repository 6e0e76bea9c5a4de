"""Stripe's API as an application of its own, to be mounted at /stripe.

One request at a time changes the store: verbs do not await, so nothing of them is ever seen half done.
"""

import asyncio
import base64
import json
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as HTTPRoute

from shared.dev.stripe_sandbox import forms, idempotency, nouns, routes, timeline
from shared.dev.stripe_sandbox.contract import API_VERSION
from shared.dev.stripe_sandbox.expansion import expand
from shared.dev.stripe_sandbox.refusals import Refusal, Unbuilt
from shared.dev.stripe_sandbox.store import Account, Fault, Object, Sandbox, new_id, visible
from shared.dev.stripe_sandbox.store import Request as Asked

log = structlog.get_logger()
assert nouns.ALL  # importing them registered their routes


def app(sandbox: Sandbox) -> Starlette:
    """/v1/… and /v2/billing/…"""

    async def answer(request: Request) -> Response:
        asked = Asked(id=new_id("req"), idempotency_key=request.headers.get("idempotency-key"))
        headers = {"request-id": asked.id or "", "stripe-version": API_VERSION}
        try:
            account = _account(sandbox, request)
            fault = _next_fault(account, request.url.path)
            await _before(fault)
            body = await request.body()
            status, found, replayed = _do(account, asked, request, body)
            await _after(fault)
            if asked.idempotency_key:
                headers["idempotency-key"] = asked.idempotency_key
            if replayed:
                headers["idempotent-replayed"] = "true"
        except Refusal as refusal:
            status, found = refusal.status, refusal.body
        finally:
            sandbox.save()
        if status == 501 or found.get("error", {}).get("code") in NEVER_AGAIN:
            headers["stripe-should-retry"] = "false"
        return JSONResponse(found, status, headers)

    return Starlette(routes=[HTTPRoute("/{path:path}", answer, methods=["GET", "POST", "DELETE"])])


NEVER_AGAIN = {"duplicate_meter_event"}


def _do(account: Account, asked: Asked, request: Request, body: bytes) -> tuple[int, Object, bool]:
    method, path = request.method, request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    sent = _sent(request, body, path)
    key = asked.idempotency_key if method == "POST" else None
    if key and (before := idempotency.answered(account, key, method, path, sent)):
        return before["status"], before["body"], True
    timeline.tick(account)
    account.request = asked
    try:
        route, ids = routes.find(method, path)
        call = routes.Call(account, path, ids, route.read(_texts(sent)))
        try:
            status, found = 200, visible(route.act(call))
            expand(account, found, call.get("expand", []))
        except Unbuilt:
            raise
        except Refusal as refusal:
            status, found = refusal.status, refusal.body
        if key:
            idempotency.remember(account, key, method, path, sent, status, found)
    except Unbuilt as unbuilt:
        log.warning("stripe sandbox: not implemented", what=unbuilt.message)
        raise
    finally:
        account.request = Asked()
    return status, found, False


def _sent(request: Request, body: bytes, path: str) -> dict[str, Any]:
    if request.method != "POST":
        return forms.decode(request.url.query)
    if path.startswith("/v2/"):
        try:
            found = json.loads(body or b"{}")
        except ValueError as error:
            raise Refusal("The request body is not JSON.") from error
        if not isinstance(found, dict):
            raise Refusal("The request body is no JSON object.")
        return found
    try:
        return forms.decode(body.decode())
    except UnicodeDecodeError as error:
        raise Refusal("The request body is not UTF-8.") from error


def _texts(sent: Any) -> Any:
    """JSON's leaves as the request contract knows them from forms."""
    if isinstance(sent, dict):
        return {key: _texts(each) for key, each in sent.items()}
    if isinstance(sent, list):
        return [_texts(each) for each in sent]
    return sent if isinstance(sent, str) else json.dumps(sent)


def _account(sandbox: Sandbox, request: Request) -> Account:
    key = _key(request.headers.get("authorization", ""))
    if not key:
        raise Refusal("You did not provide an API key.", status=401)
    if not key.startswith(("sk_test_", "rk_test_")):
        raise Refusal(f"Invalid API Key provided: {key[:8]}****", status=401, code="api_key_invalid")
    if request.headers.get("stripe-version", API_VERSION) != API_VERSION:
        raise Unbuilt(f"API version {request.headers['stripe-version']}")
    if "stripe-account" in request.headers or "stripe-context" in request.headers:
        raise Unbuilt("connected accounts")
    return sandbox.account(key)


def _key(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except ValueError:
            return ""
    return ""


def _next_fault(account: Account, path: str) -> Fault | None:
    for fault in account.faults:
        if fault.path in path:
            fault.times -= 1
            if fault.times <= 0:
                account.faults.remove(fault)
            return fault
    return None


async def _before(fault: Fault | None) -> None:
    if fault is None or fault.kind == "lost":
        return
    if fault.kind == "timeout":
        await asyncio.sleep(fault.seconds)
    raise _fault(fault.kind)


async def _after(fault: Fault | None) -> None:
    if fault is not None:
        await asyncio.sleep(fault.seconds)
        raise _fault("500")


def _fault(kind: str) -> Refusal:
    if kind == "401":
        return Refusal("Expired API Key provided.", status=401, code="api_key_expired")
    if kind == "429":
        return Refusal("Request rate limit exceeded.", status=429, code="rate_limit")
    return Refusal("An unknown error occurred.", status=500, kind="api_error")
