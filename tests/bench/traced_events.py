"""Tracing: the CPU time of an event whose span is exported, beside the same event without tracing.

An event is what a page's search does on the server, without Reflex, whose own work would make the ratio smaller: it
authenticates, enters and lists a page of members. Figures are CPU time of this process, the thread that exports included;
the collector is another process. The control makes a span for each of 200 further steps, as statements would.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from shared.core import db, request_ids, tracing
from shared.tenancy import authentication, entry, members
from shared.tenancy.admissions import TenantAdmission
from shared.ui.event_traces import EventTracerProvider
from tests.bench import databases
from tests.bench.broken import Broken
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.people import fill
from tests.bench.rows import Result, counted, ratios
from tests.support import database, factories

PAGE, STEPS = 50, 200
FULL_EVENTS, TINY_EVENTS = 400, 20
COLLECTOR = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
Event = Callable[[], Awaitable[None]]


@dataclass
class EventTimings:
    """CPU microseconds of one event, by round."""

    rounds: list[dict[str, float]] = field(default_factory=list)

    def result(self, goal: Goal) -> Result:
        rounds = counted(self.rounds)
        figure = "steps" if goal.control_of else "traced"
        return Result(goal, ratios([each[figure] for each in rounds], [each["untraced"] for each in rounds]))


def measure(options: Options) -> EventTimings:
    with databases.built("traced") as name, _collecting() as address:
        events = TINY_EVENTS if options.tiny else FULL_EVENTS
        return EventTimings(asyncio.run(_measure(name, address, options, events)))


@contextmanager
def _collecting() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", COLLECTOR], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1/traces"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def _measure(name: str, address: str, options: Options, count: int) -> list[dict[str, float]]:
    try:
        owner = await factories.create_account("Ann")
        tenant = await factories.create_tenant(owner, "Bench")
        with psycopg.connect(database.admin_url(name), autocommit=True) as superuser:
            fill(superuser, [tenant.id], each=2 * PAGE)
        tracer = EventTracerProvider("tenant").get_tracer()

        async def run_event() -> None:
            request_ids.begin()
            with tracer.start_as_current_span("reflex___state____state.members_state.search"):
                principal = await authentication.authenticate(owner.cookie, tenant.slug)
                if principal is None or not isinstance(principal.admission, TenantAdmission):
                    raise Broken("the session is not admitted")
                async with entry.enter_admitted(principal.admission) as ctx:
                    await members.list_members(ctx, limit=PAGE)

        async def run_steps() -> None:
            await run_event()
            for _ in range(STEPS):
                with tracing.span("step"):
                    pass

        return [
            {
                "untraced": await _time(run_event, count),
                "traced": await _time_traced(run_event, count, address),
                "steps": await _time_traced(run_steps, count, address),
            }
            for _ in options.numbered("tracing")
        ]
    finally:
        await db.dispose()


async def _time_traced(event: Event, count: int, address: str) -> float:
    tracing.export_to(OTLPSpanExporter(endpoint=address))
    try:
        return await _time(event, count)
    finally:
        tracing.shutdown()


async def _time(event: Event, count: int) -> float:
    """CPU microseconds of one event, with what is exported of it."""
    await event()
    began = time.process_time()
    for _ in range(count):
        await event()
    await asyncio.to_thread(tracing.flush)
    return max(time.process_time() - began, 1e-9) / count * 1e6
