"""Outermost middleware of both apps: request id, canonical paths, security headers, log line and metrics.

Unexpected errors become a response with a request id, never a traceback.
"""

import asyncio
import re
import time
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.core import db, log, rate_limits, request_ids, tracing
from shared.core.config import settings
from shared.core.errors import DomainError, NotFound
from shared.web import content_security, metrics, problem_responses
from shared.web.app_sites import Site
from shared.web.request_limits import RequestLimits, TooManyRequests, Turn
from shared.web.session_guard import is_static_file

SECURITY_HEADERS = {
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "referrer-policy": "same-origin",  # not no-referrer: browsers would then send `Origin: null` with our forms
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
BODY_SECONDS = 30.0  # for the whole body of a request
MAX_CLIENT_ID_LENGTH = 100  # characters
# What follows is secret or signed, and stays out of logs.
SECRET_PREFIXES = ("/webhooks/stripe/", "/files/", "/unsubscribe/")
API_PREFIX = "/api/"
MALFORMED_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
MAX_PATH_BYTES = 2_000
FORBIDDEN_PATH_PARTS = ("//", "\\", "/../", "/./")


class BodyTimedOut(DomainError):
    status = 408
    default_reason = "timed_out"


class MalformedPath(DomainError):
    default_reason = "malformed_path"


class RequestMiddleware:
    def __init__(self, app: ASGIApp, *, site: Site) -> None:
        self.app, self.site = app, site
        self.limits = RequestLimits(site)
        app_folder = settings().frontends_dir / ("admin" if site.is_operator_app else "tenant")
        self.policy = content_security.build_policy(
            app_folder / "build" / "client", site.socket_origin, form_target=site.form_target
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        request_id = request_ids.begin()
        try:
            if scope["type"] == "websocket":  # it may stay open for hours; its events have spans
                await self._handle(scope, receive, send, request_id)
                return None
            with tracing.span("HTTP request", "server", starts_request=True) as span:
                span.set_attribute("http.request.method", metrics.get_method(scope))
                span.set_attribute("path.kind", metrics.path_kind(scope["path"]))
                status = await self._handle(scope, receive, send, request_id)
                span.set_attribute("http.response.status_code", status)
                return None
        finally:
            request_ids.end()

    async def _handle(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        """Returns the status of the answer."""
        began = time.perf_counter()
        state: dict[str, Any] = scope.setdefault("state", {})
        state.update(request_id=request_id, site=self.site)
        status, is_logged, turn = 0, True, Turn()

        async def receive_tracked() -> Message:
            if scope["type"] == "http" and not state.get("body_read"):
                message = await self._receive_body(receive, state, began)
            else:
                message = await receive()
            if message["type"] != "http.request" or not message.get("more_body", False):
                state["body_read"] = True
                await turn.begin()
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            self.limits.note_session(scope, state.pop("live_session_hash", None))
            if message["type"] in ("http.response.start", "websocket.accept"):
                turn.end()
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == BodyTimedOut.status:
                    MutableHeaders(scope=message)["connection"] = "close"
                self._add_headers(MutableHeaders(scope=message), request_id)
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and not status:
                status = 403
            await send(message)

        try:
            turn = await self.limits.wait_for_turn(scope, is_static=is_static_file(scope["path"]))
            if scope.get("method", "GET") in ("GET", "HEAD"):  # whose handler may read no body
                await turn.begin()
            _decode_api_path(scope)
            if _has_canonical_path(scope):
                async with rate_limits.not_counted_in_an_outage():
                    await self.app(scope, receive_tracked, send_with_headers)
            else:
                await problem_responses.send_refusal(
                    scope,
                    receive_tracked,
                    send_with_headers,
                    NotFound(problem_responses.NOT_FOUND, problem_responses.NOT_FOUND_STEP),
                )
        except Exception as problem:  # the last place where it can become a response
            turn.end()
            is_logged = not isinstance(problem, TooManyRequests)  # a flood is not copied to the disk
            _report_problem(problem, request_id, scope["path"])
            if status or (scope["type"] == "websocket" and is_logged):
                raise
            await problem_responses.send_refusal(scope, receive_tracked, send_with_headers, problem)
        finally:
            turn.end()
            seconds = time.perf_counter() - began
            metrics.count_request(scope, status, seconds)
            if is_logged:
                log.get_logger("http").info(
                    "request",
                    method=scope.get("method", "WEBSOCKET"),
                    path=_path_for_log(scope["path"]),  # never the query: links carry tokens
                    status=status,
                    ms=round(seconds * 1000, 1),
                    request_id=request_id,
                    **_client_request_id(scope),
                )
        return status

    async def _receive_body(self, receive: Receive, state: dict[str, Any], began: float) -> Message:
        """Raises BodyTimedOut when the client is slower than any honest one."""
        seconds = BODY_SECONDS - (time.perf_counter() - began)
        try:
            return await asyncio.wait_for(receive(), max(seconds, 0.001))
        except TimeoutError as problem:
            state["body_read"] = True  # nothing waits for the rest of it
            raise BodyTimedOut("Your input took too long to arrive.", "Try again.") from problem

    def _add_headers(self, headers: MutableHeaders, request_id: str) -> None:
        headers["x-request-id"] = request_id
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        if headers.get("content-type", "").startswith("text/html"):
            headers.setdefault("content-security-policy", self.policy)
            headers["cache-control"] = "no-store"
        if settings().is_production:
            headers["strict-transport-security"] = "max-age=31536000; includeSubDomains"


def _client_request_id(scope: Scope) -> dict[str, str]:
    """What the client calls the request. It is logged beside our own id and used for nothing else."""
    client_id = Headers(scope=scope).get("x-request-id", "")
    return {"client_request_id": client_id[:MAX_CLIENT_ID_LENGTH]} if client_id else {}


def _report_problem(problem: Exception, request_id: str, path: str) -> None:
    if isinstance(problem, DomainError):
        return
    if db.is_connection_error(problem):
        log.report_outage(problem, request_id=request_id, path=_path_for_log(path))
    else:
        log.report_bug(problem, request_id=request_id, path=_path_for_log(path))


def _has_canonical_path(scope: Scope) -> bool:
    """Accept one spelling per address, so that the guard and the routes cannot read a path differently."""
    path: str = scope["path"]
    raw = scope.get("raw_path") or path.encode()
    if (
        not path.startswith("/")
        or not path.isprintable()
        or any(trick in path for trick in FORBIDDEN_PATH_PARTS)
    ):
        return False
    if path.endswith(("/..", "/.")) or len(raw) > MAX_PATH_BYTES:
        return False
    return b"%" not in raw or raw.startswith((b"/assets/", API_PREFIX.encode()))


def _decode_api_path(scope: Scope) -> None:
    """Decode each segment of an API's address once; an encoded slash stays inside its segment.

    Raises MalformedPath.
    """
    raw: bytes = scope.get("raw_path") or b""
    if scope["type"] != "http" or not raw.startswith(API_PREFIX.encode()) or b"%" not in raw:
        return
    if MALFORMED_ESCAPE.search(raw) or len(raw) > MAX_PATH_BYTES:
        raise MalformedPath("The address isn’t encoded correctly.", "Encode it as UTF-8 with percent signs.")
    try:
        segments = [unquote(segment, errors="strict") for segment in raw.decode("ascii").split("/")]
    except UnicodeError as problem:
        raise MalformedPath(
            "The address isn’t encoded correctly.", "Encode it as UTF-8 with percent signs."
        ) from problem
    scope["path"] = "/".join(segment.replace("/", "%2F") for segment in segments)


def _path_for_log(path: str) -> str:
    """The path for logs, without what is secret or signed."""
    for prefix in SECRET_PREFIXES:
        start, _, token = path.partition(prefix)
        if token and not start:
            return f"{prefix}{log.HIDDEN}"
    return path[:200]


def get_request_id(request: Request) -> str:
    return str(request.scope["state"]["request_id"])
