"""Metrics for Prometheus. Labels have few values: paths are grouped into kinds."""

import hmac
from ipaddress import ip_address

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from shared.backoffice import webhook_inbox
from shared.core import db, log, metric_catalog, traffic
from shared.core.config import settings
from shared.core.errors import NotFound
from shared.jobs import queue_status
from shared.web import problem_responses

TRAFFIC_KINDS = {"api": traffic.Kind.API, "webhook": traffic.Kind.WEBHOOK}
UNCOUNTED_KINDS = frozenset({"asset", "socket"})
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
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


def count_request(scope: Scope, status: int, seconds: float) -> None:
    app, kind = scope["state"]["site"].app_name, path_kind(scope["path"])
    method = get_method(scope)
    metric_catalog.requests.add(app, kind, method, f"{status // 100}xx")
    if scope["type"] == "http":
        metric_catalog.request_seconds.observe(app, kind, seconds=seconds)
        if kind not in UNCOUNTED_KINDS and scope["path"] not in PROBES:
            counted = TRAFFIC_KINDS.get(kind, traffic.Kind.PAGE)
            traffic.count(counted, seconds, failed=status >= 500)


def get_method(scope: Scope) -> str:
    """One of few: clients may send any word."""
    if scope["type"] == "websocket":
        return "WEBSOCKET"
    return scope["method"] if scope["method"] in METHODS else "other"


def path_kind(path: str) -> str:
    return next((kind for prefix, kind in PATH_KINDS if path.startswith(prefix)), "other")


async def show_metrics(request: Request) -> Response:
    """404 for everyone but the monitoring: by token, or from this machine where none is set."""
    if settings().metrics_target is not None or not _may_read(request):
        raise NotFound(problem_responses.NOT_FOUND, problem_responses.NOT_FOUND_STEP)
    await refresh_gauges()
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


async def refresh_gauges() -> None:
    """Read the numbers that the database has. Needs the app's role."""
    await _update_inbox_gauges()
    await _update_job_gauge()


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
                metric_catalog.inbox.set(status, number=number)
            metric_catalog.inbox_lag.set(number=await webhook_inbox.get_oldest_wait_s(session))
    except Exception as problem:
        metric_catalog.inbox.clear()
        metric_catalog.inbox_lag.set(number=float("nan"))
        log.get_logger(__name__).warning("inbox_not_counted", problem=type(problem).__name__)


async def _update_job_gauge() -> None:
    """As `_update_inbox_gauges`. Alert on `bulkhead_jobs{status="failed"}` above 0."""
    try:
        async with db.transaction() as session:
            for status, number in (await queue_status.count_by_status(session)).items():
                metric_catalog.jobs.set(status, number=number)
    except Exception as problem:
        metric_catalog.jobs.clear()
        log.get_logger(__name__).warning("jobs_not_counted", problem=type(problem).__name__)
