"""Counts for Prometheus. Labels are bounded: a path is one of a few kinds, never what a client typed."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
KINDS = (  # first match
    ("/_event", "socket"),
    ("/_upload", "upload"),
    ("/api/", "api"),
    ("/auth/", "auth"),
    ("/assets/", "asset"),
    ("/t/", "tenant page"),
    ("/webhooks/", "webhook"),
)
requests = Counter("bulkhead_requests", "Answered requests", ("app", "kind", "method", "status"))
seconds_of = Histogram("bulkhead_request_seconds", "Time until the answer was sent", ("app", "kind"))

webhooks = Counter("bulkhead_webhooks", "Webhooks by what became of them", ("account", "outcome"))


def count(scope: Scope, status: int, seconds: float) -> None:
    app, kind = scope["state"]["site"].look, kind_of(scope["path"])
    method = scope.get("method", "WEBSOCKET")
    if method not in METHODS:
        method = "WEBSOCKET" if scope["type"] == "websocket" else "other"
    requests.labels(app, kind, method, f"{status // 100}xx").inc()
    if scope["type"] == "http":
        seconds_of.labels(app, kind).observe(seconds)


def kind_of(path: str) -> str:
    return next((kind for prefix, kind in KINDS if path.startswith(prefix)), "door")


async def show(_: Request) -> Response:
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})
