"""Metrics for Prometheus. Labels have few values: paths are grouped into kinds."""

import hmac
from ipaddress import ip_address

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from shared.backoffice import webhook_inbox
from shared.core import db, log
from shared.core.config import settings
from shared.core.errors import NotFound
from shared.jobs import queue_status
from shared.web import problem_responses

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
FORWARDING_HEADERS = ("x-forwarded-for", "forwarded", "x-real-ip", "via")  # a proxy on this machine adds one
PATH_KINDS = (  # first match
    ("/_event", "socket"),
    ("/_upload", "upload"),
    ("/api/", "api"),
    ("/auth/", "auth"),
    ("/assets/", "asset"),
    ("/t/", "tenant page"),
    ("/webhooks/stripe", "webhook"),
)
request_counter = Counter("bulkhead_requests", "Requests", ("app", "kind", "method", "status"))
request_seconds = Histogram("bulkhead_request_seconds", "Response time", ("app", "kind"))
inbox_gauge = Gauge("bulkhead_inbox", "Stored webhooks by status", ("status",))
inbox_lag_gauge = Gauge("bulkhead_inbox_lag_seconds", "Age of the oldest webhook that is due")
job_gauge = Gauge("bulkhead_jobs", "Unfinished jobs by status", ("status",))

webhook_counter = Counter("bulkhead_webhooks", "Received webhooks by outcome", ("account", "outcome"))

refused_frame_counter = Counter("bulkhead_refused_frames", "Socket frames that were refused", ("problem",))


def count_refused_frame(problem: str) -> None:
    """`problem`: a constant text of ours."""
    refused_frame_counter.labels(problem).inc()


def count_request(scope: Scope, status: int, seconds: float) -> None:
    app, kind = scope["state"]["site"].app_name, path_kind(scope["path"])
    method = scope.get("method", "WEBSOCKET")
    if method not in METHODS:
        method = "WEBSOCKET" if scope["type"] == "websocket" else "other"
    request_counter.labels(app, kind, method, f"{status // 100}xx").inc()
    if scope["type"] == "http":
        request_seconds.labels(app, kind).observe(seconds)


def path_kind(path: str) -> str:
    return next((kind for prefix, kind in PATH_KINDS if path.startswith(prefix)), "other")


async def show_metrics(request: Request) -> Response:
    """404 for everyone but the monitoring: by token, or from this machine where none is set."""
    if not _may_read(request):
        raise NotFound(problem_responses.NOT_FOUND, problem_responses.NOT_FOUND_STEP)
    await _update_inbox_gauges()
    await _update_job_gauge()
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


def _may_read(request: Request) -> bool:
    if (token := settings().metrics_token) is not None:
        expected, given = f"Bearer {token.get_secret_value()}", request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), expected.encode())
    if request.client is None or any(name in request.headers for name in FORWARDING_HEADERS):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


async def _update_inbox_gauges() -> None:
    """Read the numbers of webhooks from the database.

    When it is down, clear the gauges; `readyz` reports the outage.
    """
    try:
        async with db.transaction() as session:
            for status, number in (await webhook_inbox.count_by_status(session)).items():
                inbox_gauge.labels(status).set(number)
            inbox_lag_gauge.set(await webhook_inbox.get_oldest_wait_s(session))
    except Exception as problem:
        inbox_gauge.clear()
        inbox_lag_gauge.set(float("nan"))
        log.get_logger(__name__).warning("inbox_not_counted", problem=type(problem).__name__)


async def _update_job_gauge() -> None:
    """As `_update_inbox_gauges`. Alert on `bulkhead_jobs{status="failed"}` above 0."""
    try:
        async with db.transaction() as session:
            for status, number in (await queue_status.count_by_status(session)).items():
                job_gauge.labels(status).set(number)
    except Exception as problem:
        job_gauge.clear()
        log.get_logger(__name__).warning("jobs_not_counted", problem=type(problem).__name__)
