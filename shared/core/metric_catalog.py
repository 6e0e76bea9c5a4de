"""The catalog of metrics: every metric, its labels and the values that a label may have. The only place that makes them.

Labels have few values, and none of them is about a person: what a label does not list counts as "other". `docs/observability.md`
has the table, which a test compares. The same numbers go to Prometheus and, where it is configured, to OpenTelemetry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from opentelemetry.metrics import Counter as OtelCounter
from opentelemetry.metrics import Histogram as OtelHistogram
from opentelemetry.metrics import Meter
from opentelemetry.metrics import _Gauge as OtelGauge
from prometheus_client import Counter, Gauge, Histogram

OTHER = "other"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MetricKind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Label:
    """`values`: all that it may have; empty for names of ours, of which the first `max_values` are kept."""

    name: str
    description: str
    values: frozenset[str] = frozenset()
    max_values: int = 50


LABELS = {
    label.name: label
    for label in (
        Label("app", "which app", frozenset({"tenant", "admin"})),
        Label(
            "kind",
            "group of addresses",
            frozenset({"socket", "upload", "api", "auth", "asset", "tenant page", "webhook", "files", OTHER}),
        ),
        Label(
            "method",
            "HTTP method",
            frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET", OTHER}),
        ),
        Label("status", "class or state", max_values=40),
        Label("lane", "lane of the queue", max_values=10),
        Label("account", "payment account", max_values=20),
        Label("outcome", "outcome of a received webhook", max_values=40),
        Label("problem", "why a frame was refused", max_values=40),
        Label("reason", "why an action was refused", max_values=60),
        Label("dimension", "kind of cohort", frozenset({"plan", "flag"})),
        Label("cohort", "key of a plan or a flag", max_values=100),
        Label("tenant", "id of one of the ten busiest tenants", max_values=10_000),
        Label("alert", "name of an alert", max_values=60),
        Label("severity", "how urgent", frozenset({"page", "ticket"})),
    )
}
CATALOG: dict[str, "Metric"] = {}
_seen_values: dict[str, set[str]] = {}


class Metric:
    """`name`: as Prometheus shows it, without the suffix of counters. Raises ValueError for a label that isn't allowed."""

    def __init__(self, kind: MetricKind, name: str, description: str, labels: Sequence[str] = ()) -> None:
        if unknown := [label for label in labels if label not in LABELS]:
            raise ValueError(f"{name} has labels that are not in LABELS: {', '.join(unknown)}")
        self.kind, self.name, self.description, self.labels = kind, name, description, tuple(labels)
        self._prometheus: Counter | Gauge | Histogram
        if kind == "counter":
            self._prometheus = Counter(name, description, labels)
        elif kind == "gauge":
            self._prometheus = Gauge(name, description, labels)
        else:
            self._prometheus = Histogram(name, description, labels, buckets=SECONDS)
        self._exported: OtelCounter | OtelGauge | OtelHistogram | None = None
        CATALOG[name] = self

    @property
    def shown_name(self) -> str:
        """As `/metrics` names its first line."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def add(self, *values: str, amount: float = 1) -> None:
        """To a counter. `values`: of its labels, in order."""
        labels = self._bound(values)
        assert isinstance(self._prometheus, Counter)
        (self._prometheus.labels(**labels) if labels else self._prometheus).inc(amount)
        if isinstance(self._exported, OtelCounter):
            self._exported.add(amount, labels)

    def set(self, *values: str, number: float) -> None:
        """A gauge."""
        labels = self._bound(values)
        assert isinstance(self._prometheus, Gauge)
        (self._prometheus.labels(**labels) if labels else self._prometheus).set(number)
        if isinstance(self._exported, OtelGauge):
            self._exported.set(number, labels)

    def observe(self, *values: str, seconds: float) -> None:
        """A histogram."""
        labels = self._bound(values)
        assert isinstance(self._prometheus, Histogram)
        (self._prometheus.labels(**labels) if labels else self._prometheus).observe(seconds)
        if isinstance(self._exported, OtelHistogram):
            self._exported.record(seconds, labels)

    def read(self, *values: str) -> float:
        """The present number of a counter or a gauge."""
        assert not isinstance(self._prometheus, Histogram)
        child = self._prometheus.labels(*values) if values else self._prometheus
        number: float = child._value.get()  # the official client has no public reader
        return number

    def clear(self) -> None:
        """Forgets all values, as of a gauge that can't be read any more."""
        self._prometheus.clear()

    def export_to(self, meter: Meter | None) -> None:
        if meter is None:
            self._exported = None
        elif self.kind == "counter":
            self._exported = meter.create_counter(self.name, description=self.description)
        elif self.kind == "gauge":
            self._exported = meter.create_gauge(self.name, description=self.description)
        else:
            self._exported = meter.create_histogram(self.name, "s", self.description)

    def _bound(self, values: Sequence[str]) -> Mapping[str, str]:
        return {name: _bound_value(name, value) for name, value in zip(self.labels, values, strict=True)}


def _bound_value(name: str, value: str) -> str:
    label = LABELS[name]
    if label.values:
        return value if value in label.values else OTHER
    seen = _seen_values.setdefault(name, set())
    if value not in seen:
        if len(seen) >= label.max_values:
            return OTHER
        seen.add(value)
    return value


def export_to(meter: Meter | None) -> None:
    """From now on every metric is also exported there; None stops it."""
    for metric in CATALOG.values():
        metric.export_to(meter)


requests = Metric("counter", "bulkhead_requests", "HTTP requests", ("app", "kind", "method", "status"))
request_seconds = Metric(
    "histogram", "bulkhead_request_seconds", "Time until a response has ended", ("app", "kind")
)
events = Metric("counter", "bulkhead_events", "Events of open pages", ("app", "status"))
event_seconds = Metric("histogram", "bulkhead_event_seconds", "Time of an event of a page", ("app",))
job_runs = Metric("counter", "bulkhead_job_runs", "Attempts of jobs", ("lane", "status"))
job_seconds = Metric("histogram", "bulkhead_job_seconds", "Time of one attempt of a job", ("lane",))
jobs = Metric("gauge", "bulkhead_jobs", "Unfinished jobs by status", ("status",))
inbox = Metric("gauge", "bulkhead_inbox", "Stored webhooks by status", ("status",))
inbox_lag = Metric("gauge", "bulkhead_inbox_lag_seconds", "Age of the oldest webhook that is due")
webhooks = Metric("counter", "bulkhead_webhooks", "Received webhooks by outcome", ("account", "outcome"))
refused_frames = Metric("counter", "bulkhead_refused_frames", "Socket frames that were refused", ("problem",))
refusals = Metric("counter", "bulkhead_refusals", "Decisions that refused an action", ("reason",))
cohort_requests = Metric(
    "counter",
    "bulkhead_cohort_requests",
    "Requests, events and jobs by plan and by flag that is on",
    ("dimension", "cohort", "status"),
)
top_tenant_requests = Metric(
    "gauge", "bulkhead_top_tenant_requests", "Requests of the ten busiest tenants in a minute", ("tenant",)
)
alerts_firing = Metric("gauge", "bulkhead_alerts_firing", "Alerts that fire now", ("alert", "severity"))
