"""Traces that a collector receives: whose request each span was, and nothing that is not allowed."""

from collections.abc import Iterator

import pytest
from opentelemetry import trace

from shared.core import metric_catalog, request_ids, trace_ids, tracing
from shared.jobs import queue
from shared.ui import event_traces
from tests.conftest import Cast
from tests.support import support_sessions, workers
from tests.support.http_visitor import browser
from tests.support.otlp_receiver import OtlpReceiver, ReceivedSpan, receiving

SECRET = "q7Zt0s3cr3tXw-aP_2bK9vYd4LmN8cRfT1hGjU6eWiQ"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    """Configured by the standard settings only."""
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        tracing.configure("tenant")
        yield receiver
        tracing.shutdown()


def find_span(receiver: OtlpReceiver, name: str) -> ReceivedSpan:
    tracing.flush()
    (span,) = [span for span in receiver.spans if span.name == name]
    return span


async def test_span_of_a_request_names_tenant_actor_and_request(cast: Cast, collector: OtlpReceiver) -> None:
    async with browser(cookie=cast.ann.cookie) as client:
        answer = await client.get(
            f"/t/{cast.ann.slug}/logo?token={SECRET}", headers={"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        )
    span = find_span(collector, "HTTP request")
    request_id = answer.headers["x-request-id"]
    assert span.attributes["tenant.id"] == cast.acme
    assert span.attributes["actor.type"] == "user"
    assert span.attributes["request.id"] == request_id
    assert span.attributes["path.kind"] == "tenant page"
    assert (span.trace_id, span.parent_id) == (trace_ids.derive(request_id), "")
    assert set(span.attributes) <= tracing.ALLOWED_ATTRIBUTES
    assert collector.services == {"bulkhead-tenant"}
    assert not any(SECRET.encode() in body for body in collector.bodies)


async def test_job_of_a_request_is_in_its_trace(schema: str, cast: Cast, collector: OtlpReceiver) -> None:
    workers.clear_queue(schema)

    async def handler(ctx: object) -> None:
        """Nothing."""

    async with cast.ann.ctx() as ctx:
        await queue.put(ctx, "test.traced")
        request_id = ctx.request_id
    await workers.run_due_jobs({"test.traced": handler})
    span = find_span(collector, "job")
    assert (span.attributes["tenant.id"], span.attributes["request.id"]) == (cast.acme, request_id)
    assert (span.attributes["job.task"], span.trace_id) == ("test.traced", trace_ids.derive(request_id))


async def test_event_span_has_no_trace_of_the_client(cast: Cast, collector: OtlpReceiver) -> None:
    remote = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    tracer = event_traces.EventTracerProvider("tenant").get_tracer()
    before = metric_catalog.events.read("tenant", "error")
    with (
        pytest.raises(ZeroDivisionError),
        tracer.start_as_current_span("reflex___state____state.pages___home____home_state.load", context),
    ):
        async with cast.ann.ctx():
            raise ZeroDivisionError(SECRET)
    span = find_span(collector, "event")
    assert (span.parent_id, span.is_error) == ("", True)
    assert span.attributes["event.name"] == "home_state.load"
    assert span.attributes["tenant.id"] == cast.acme
    assert span.attributes["error.type"] == "ZeroDivisionError"
    assert metric_catalog.events.read("tenant", "error") == before + 1
    assert not any(SECRET.encode() in body for body in collector.bodies)


def test_attribute_that_is_not_allowed_is_not_exported(collector: OtlpReceiver) -> None:
    request_ids.begin()
    with tracing.span("webhook intake") as span:
        span.set_attributes({"email": "ann@acme.example", "webhook.outcome": SECRET})
    assert find_span(collector, "webhook intake").attributes["webhook.outcome"] == "[hidden]"
    assert b"ann@acme.example" not in b"".join(collector.bodies)


@pytest.mark.parametrize(
    ("settings", "is_exported"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1", "OTEL_SDK_DISABLED": "true"}, False),
    ],
    ids=["nothing set", "address", "exporter", "exporter none", "disabled"],
)
def test_export_is_on_where_the_standard_settings_ask_for_it(
    settings: dict[str, str], is_exported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert tracing.is_wanted("TRACES") is is_exported


def test_metrics_reach_the_collector(collector: OtlpReceiver) -> None:
    metric_catalog.refusals.add("missing_permission")
    tracing.shutdown()
    assert "bulkhead_refusals" in collector.metric_names


async def test_span_of_a_support_session_names_both_identities(cast: Cast, collector: OtlpReceiver) -> None:
    member_id = await support_sessions.find_membership(cast.ann.cookie, cast.ann.slug, cast.adam.user_id)
    session = await support_sessions.start(cast.olga.cookie, cast.acme, member_id)
    async with cast.olga.octx() as octx:
        operator_id = octx.actor_id
    request_ids.begin()
    with tracing.span("HTTP request", "server", starts_request=True):
        async with session.ctx():
            pass
    request_ids.begin()
    with tracing.span("HTTP request", "server", starts_request=True):
        async with cast.ann.ctx():
            pass
    tracing.flush()
    support_span, member_span = [span for span in collector.spans if span.name == "HTTP request"]
    assert (support_span.attributes["actor.id"], support_span.attributes["actor.on_behalf_of"]) == (
        operator_id,
        cast.adam.user_id,
    )
    assert not {"actor.id", "actor.on_behalf_of"} & set(member_span.attributes)
