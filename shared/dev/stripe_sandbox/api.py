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

from shared.dev.stripe_sandbox import forms, idempotency, resources, routes, timeline
from shared.dev.stripe_sandbox.contract import API_VERSION
from shared.dev.stripe_sandbox.expansion import expand_paths
from shared.dev.stripe_sandbox.refusals import ApiError, UnsupportedError, rate_limit_error
from shared.dev.stripe_sandbox.store import Account, Fault, Object, RequestInfo, Sandbox, copy_visible, new_id

log = structlog.get_logger()
assert resources.RESOURCES  # importing them registered their routes


def build_app(sandbox: Sandbox) -> Starlette:
    """/v1/… and /v2/billing/…"""

    async def answer(request: Request) -> Response:
        request_info = RequestInfo(id=new_id("req"), idempotency_key=request.headers.get("idempotency-key"))
        headers = {"request-id": request_info.id or "", "stripe-version": API_VERSION}
        try:
            account = _authenticate(sandbox, request)
            fault = _take_fault(account, request.method, request.url.path)
            await _apply_fault_before(fault)
            body = await request.body()
            status, payload, replayed = _execute_request(account, request_info, request, body, fault)
            await _apply_fault_after(fault)
            if request_info.idempotency_key:
                headers["idempotency-key"] = request_info.idempotency_key
            if replayed:
                headers["idempotent-replayed"] = "true"
        except ApiError as error:
            status, payload = error.status, error.body
        finally:
            sandbox.save()
        if status == 501 or payload.get("error", {}).get("code") in NO_RETRY_CODES:
            headers["stripe-should-retry"] = "false"
        return JSONResponse(payload, status, headers)

    return Starlette(routes=[HTTPRoute("/{path:path}", answer, methods=["GET", "POST", "DELETE"])])


NO_RETRY_CODES = {"duplicate_meter_event"}


def _execute_request(
    account: Account, request_info: RequestInfo, request: Request, body: bytes, fault: Fault | None
) -> tuple[int, Object, bool]:
    method, path = request.method, request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    raw_params = _read_params(request, body, path)
    key = request_info.idempotency_key if method == "POST" else None
    if key and (stored_response := idempotency.find_response(account, key, method, path, raw_params)):
        return stored_response["status"], stored_response["body"], True
    if fault is not None and fault.kind == "500":
        return _fail_request(account, key, (method, path, raw_params))
    timeline.run_due_steps(account)
    account.request = request_info
    try:
        route, ids = routes.find_route(method, path)
        call = routes.ApiCall(account, path, ids, route.read_params(_leaves_to_text(raw_params)))
        try:
            status, payload = 200, copy_visible(route.handler(call))
            expand_paths(account, payload, call.get("expand", []))
        except UnsupportedError:
            raise
        except ApiError as error:
            status, payload = error.status, error.body
        if fault is not None and fault.kind == "500-done":
            return _fail_request(account, key, (method, path, raw_params))
        if key and not idempotency.is_validation_error(status, payload):
            idempotency.save_response(account, key, method, path, raw_params, status, payload)
    except UnsupportedError as unsupported:
        log.warning("stripe sandbox: not implemented", what=unsupported.message)
        raise
    finally:
        account.request = RequestInfo()
    return status, payload, False


def _fail_request(
    account: Account, key: str | None, call: tuple[str, str, dict[str, Any]]
) -> tuple[int, Object, bool]:
    """A server error is kept under the key like any other answer."""
    error = _build_fault_error("500")
    if key:
        idempotency.save_response(account, key, *call, error.status, error.body)
    return error.status, error.body, False


def _read_params(request: Request, body: bytes, path: str) -> dict[str, Any]:
    if request.method != "POST":
        return forms.decode_form(request.url.query)
    if path.startswith("/v2/"):
        try:
            payload = json.loads(body or b"{}")
        except ValueError as error:
            raise ApiError("The request body is not JSON.") from error
        if not isinstance(payload, dict):
            raise ApiError("The request body isn't a JSON object.")
        return payload
    try:
        return forms.decode_form(body.decode())
    except UnicodeDecodeError as error:
        raise ApiError("The request body is not UTF-8.") from error


def _leaves_to_text(value: Any) -> Any:
    """JSON's leaves as the request contract knows them from forms."""
    if isinstance(value, dict):
        return {key: _leaves_to_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_leaves_to_text(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)


def _authenticate(sandbox: Sandbox, request: Request) -> Account:
    key = _parse_api_key(request.headers.get("authorization", ""))
    if not key:
        raise ApiError("You did not provide an API key.", status=401)
    if not key.startswith(("sk_test_", "rk_test_")):
        raise ApiError(f"Invalid API Key provided: {key[:8]}****", status=401, code="api_key_invalid")
    if request.headers.get("stripe-version", API_VERSION) != API_VERSION:
        raise UnsupportedError(f"API version {request.headers['stripe-version']}")
    if "stripe-account" in request.headers or "stripe-context" in request.headers:
        raise UnsupportedError("connected accounts")
    return sandbox.get_account(key)


def _parse_api_key(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[0]
        except ValueError:
            return ""
    return ""


def _take_fault(account: Account, method: str, path: str) -> Fault | None:
    for fault in account.faults:
        if fault.path in path and fault.method in ("", method):
            fault.times -= 1
            if fault.times <= 0:
                account.faults.remove(fault)
            return fault
    return None


async def _apply_fault_before(fault: Fault | None) -> None:
    if fault is None or fault.kind in ("lost", "500", "500-done"):
        return
    if fault.kind == "timeout":
        await asyncio.sleep(fault.seconds)
    raise _build_fault_error(fault.kind)


async def _apply_fault_after(fault: Fault | None) -> None:
    if fault is not None and fault.kind == "lost":
        await asyncio.sleep(fault.seconds)
        raise _build_fault_error("500")


def _build_fault_error(kind: str) -> ApiError:
    if kind == "401":
        return ApiError("Expired API Key provided.", status=401, code="api_key_expired")
    if kind == "429":
        return rate_limit_error()
    return ApiError("An unknown error occurred.", status=500, kind="api_error")
