"""One span and one count for every event of a page, at the trace points that Reflex has.

Reflex opens the span around an event before our middleware runs. What it would record itself is left out: a digest of
the client's token, and the trace that a client names.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from reflex_base import otel

from shared.core import metric_catalog, request_ids, tracing, traffic
from shared.core.errors import DomainError
from shared.ui import event_requests


class EventTracer(trace.NoOpTracer):
    def __init__(self, app_name: str) -> None:
        self._app_name = app_name

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        **_: Any,  # kind and attributes of Reflex
    ) -> Iterator[trace.Span]:
        """`name`: of the event's handler. `context`: has the span of the event that chained this one, or one of a client."""
        event_requests.begin()
        parent = trace.get_current_span(context).get_span_context()
        is_chained = parent.is_valid and not parent.is_remote
        handler, began, failed = name.rpartition("___")[2], time.perf_counter(), False
        with tracing.span("event", "consumer", starts_request=not is_chained, parent=context) as span:
            span.set_attribute("event.name", handler)
            try:
                yield span
            except DomainError:
                raise
            except Exception:
                failed = True
                raise
            finally:
                scope = request_ids.get_scope()
                failed = failed or (scope is not None and scope.has_failed)  # of a load, whose page shows it
                seconds = time.perf_counter() - began
                traffic.count(traffic.Kind.EVENT, seconds, failed=failed)
                metric_catalog.events.add(self._app_name, "error" if failed else "ok")
                metric_catalog.event_seconds.observe(self._app_name, seconds=seconds)


class EventTracerProvider(trace.TracerProvider):
    def __init__(self, app_name: str) -> None:
        self._tracer = EventTracer(app_name)

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self._tracer


def install(app_name: str) -> None:
    """Once per process, before the app serves. `app_name`: "tenant" or "admin"."""
    otel.disable()
    otel.enable(tracer_provider=EventTracerProvider(app_name), meter_provider=NoOpMeterProvider())
