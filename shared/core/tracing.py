"""Traces by OpenTelemetry, exported over OTLP/HTTP where the standard OTEL_ settings ask for it. Without them nothing runs.

The provider is ours alone: libraries that trace automatically get none, because they record addresses with tokens in
them. What is exported has the attributes of `ALLOWED_ATTRIBUTES` and nothing else.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Literal

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanKind, Status, StatusCode

from shared.core import log, metric_catalog, request_ids, tenant_scope, trace_ids
from shared.core.errors import DomainError

SERVICE_NAMES = {"tenant": "bulkhead-tenant", "admin": "bulkhead-admin", "worker": "bulkhead-worker"}
KINDS = {
    "server": SpanKind.SERVER,
    "consumer": SpanKind.CONSUMER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
}
TENANT, ACTOR_TYPE, ACTION, REQUEST_ID = "tenant.id", "actor.type", "action", "request.id"
ACTOR_ID, ON_BEHALF_OF = "actor.id", "actor.on_behalf_of"  # of support sessions
ALLOWED_ATTRIBUTES = frozenset(
    {
        *(TENANT, ACTOR_TYPE, ACTION, REQUEST_ID, ACTOR_ID, ON_BEHALF_OF, "plan"),
        *("http.request.method", "http.response.status_code", "path.kind", "event.name"),
        *("job.task", "job.lane", "job.attempt"),
        *("db.system.name", "db.role", "webhook.account", "webhook.outcome", "error.type"),
    }
)
MAX_ATTRIBUTE_LENGTH = 200  # characters
SpanKindName = Literal["server", "consumer", "client", "internal"]
Attribute = str | int | float | bool


class _RequestTraceIds(RandomIdGenerator):
    def generate_trace_id(self) -> int:
        scope = request_ids.get_scope()
        return int(trace_ids.derive(scope.id), 16) if scope is not None else super().generate_trace_id()


class AllowedSpans(SpanExporter):
    """Exports what is allowed of each span. Events, links and descriptions hold texts of errors, so they are dropped."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_keep_allowed(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _keep_allowed(span: ReadableSpan) -> ReadableSpan:
    attributes = {
        name: log.hide_secrets(value[:MAX_ATTRIBUTE_LENGTH]) if isinstance(value, str) else value
        for name, value in (span.attributes or {}).items()
        if name in ALLOWED_ATTRIBUTES
    }
    return ReadableSpan(
        name=log.hide_secrets(span.name[:MAX_ATTRIBUTE_LENGTH]),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )


_provider: TracerProvider | None = None
_meter_provider: MeterProvider | None = None
_tracer: trace.Tracer | None = None


def is_wanted(signal: Literal["TRACES", "METRICS"]) -> bool:
    """Whether the settings ask for this export: an address or the exporter `otlp`, and nothing that turns it off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower()
    if exporter:
        return exporter == "otlp"
    addresses = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    return any(os.environ.get(name) for name in addresses)


def configure(process: str) -> None:
    """Once per process, before it serves. `process`: a key of `SERVICE_NAMES`."""
    name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE_NAMES[process]}
    resource = Resource.create(name)
    if is_wanted("TRACES"):
        export_to(OTLPSpanExporter(), resource=resource)
    if is_wanted("METRICS"):
        global _meter_provider
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        _meter_provider = MeterProvider(metric_readers=[reader], resource=resource)
        metric_catalog.export_to(_meter_provider.get_meter("bulkhead"))


def export_to(exporter: SpanExporter, *, resource: Resource | None = None) -> None:
    """From now on every span is exported there. The sampler is the one of the settings."""
    global _provider, _tracer
    shutdown()
    _provider = TracerProvider(resource=resource or Resource.create(), id_generator=_RequestTraceIds())
    _provider.add_span_processor(BatchSpanProcessor(AllowedSpans(exporter)))
    _tracer = _provider.get_tracer("bulkhead")


def shutdown() -> None:
    """Exports what is left and stops. Blocks for a moment."""
    global _provider, _tracer, _meter_provider
    provider, meter_provider = _provider, _meter_provider
    _provider = _tracer = _meter_provider = None
    if provider is not None:
        provider.shutdown()
    if meter_provider is not None:
        metric_catalog.export_to(None)
        meter_provider.shutdown()


def flush() -> None:
    """Exports what has ended. Blocks for a moment."""
    if _provider is not None:
        _provider.force_flush()


class _RunningSpan:
    """Its attributes of the request are set at its end, when tenant and action are known."""

    __slots__ = ("_kind", "_name", "_parent", "_span", "_starts_request", "_token")

    def __init__(self, name: str, kind: SpanKind, *, starts_request: bool, parent: Context | None) -> None:
        self._name, self._kind, self._starts_request, self._parent = name, kind, starts_request, parent

    def __enter__(self) -> trace.Span:
        assert _tracer is not None
        # The edge of a request has no parent: a client that names a trace would join its spans to those of others.
        context = Context() if self._starts_request else self._parent or context_api.get_current()
        self._span = _tracer.start_span(self._name, context=context, kind=self._kind)
        self._token = context_api.attach(trace.set_span_in_context(self._span, context))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, _: TracebackType | None
    ) -> None:
        span, scope = self._span, request_ids.get_scope()
        span.set_attribute(TENANT, tenant_scope.current() or (scope.tenant_id if scope else "") or "-")
        if scope is not None:
            span.set_attribute(ACTOR_TYPE, scope.actor_type or "-")
            span.set_attribute(ACTION, scope.action or "-")
            span.set_attribute(REQUEST_ID, scope.id)
            if scope.on_behalf_of:
                span.set_attribute(ACTOR_ID, scope.actor_id)
                span.set_attribute(ON_BEHALF_OF, scope.on_behalf_of)
            if scope.plan:
                span.set_attribute("plan", scope.plan)
        is_error = problem is not None and not isinstance(problem, DomainError)
        if kind is not None and is_error:
            span.set_attribute("error.type", kind.__name__)
        if is_error or (self._starts_request and scope is not None and scope.has_failed):
            span.set_status(StatusCode.ERROR)
        span.end()
        context_api.detach(self._token)


_NO_SPAN = nullcontext[trace.Span](trace.INVALID_SPAN)


def span(
    name: str, kind: SpanKindName = "internal", *, starts_request: bool = False, parent: Context | None = None
) -> AbstractContextManager[trace.Span]:
    """A span around what follows. `name`: one of few. `starts_request`: at the edge of a request, which has no parent.

    `parent`: the context of another task; None for the one of this task. Attributes are set on what it gives; those that aren't in `ALLOWED_ATTRIBUTES` are not exported.
    """
    if _tracer is None:
        return _NO_SPAN
    return _RunningSpan(name, KINDS[kind], starts_request=starts_request, parent=parent)
