"""Counts for Prometheus. Labels are bounded: a path is one of a few kinds, never what a client typed."""

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from shared.billing import webhooks as received
from shared.core import db, log

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
KINDS = (  # first match
    ("/_event", "socket"),
    ("/_upload", "upload"),
    ("/api/", "api"),
    ("/auth/", "auth"),
    ("/assets/", "asset"),
    ("/t/", "tenant page"),
    ("/webhooks/stripe", "webhook"),
)
requests = Counter("bulkhead_requests", "Answered requests", ("app", "kind", "method", "status"))
seconds_of = Histogram("bulkhead_request_seconds", "Time until the answer was sent", ("app", "kind"))
inbox = Gauge("bulkhead_inbox", "Webhooks by where they stand, as the database says", ("status",))
inbox_lag = Gauge("bulkhead_inbox_lag_seconds", "For how long the oldest webhook that is due has waited")

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
    await _look_at_inbox()
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


async def _look_at_inbox() -> None:
    """Of all processes together, so it is asked for and not counted. A database that is down is told by `readyz`."""
    try:
        async with db.transaction() as session:
            for status, number in (await received.counts(session)).items():
                inbox.labels(status).set(number)
            inbox_lag.set(await received.oldest_s(session))
    except Exception as problem:
        inbox.clear()
        inbox_lag.set(float("nan"))
        log.get(__name__).warning("inbox_not_counted", problem=type(problem).__name__)
