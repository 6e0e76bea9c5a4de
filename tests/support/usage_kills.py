"""Usage while the app, the worker and the database server die by kill -9: acknowledged = raw = added up = billed.

`python -m tests.support.usage_kills --kills 100` starts a server of its own, an app and a worker. Senders post batches to the
app and repeat each until it is acknowledged. The three are killed by turns, and started again. In the end every event
that was acknowledged is stored once, added up once and billed once. `--control` lets commits return before they are on
disk, which must be noticed.
"""

import argparse
import asyncio
import http.client
import json
import multiprocessing
import os
import random
import signal
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, LiteralString

import psycopg

METER, PER_UNIT = "usage_events", 1_000
SENDERS, BATCH_SIZE, SPAN_HOURS = 3, 7, 5
LONGEST_PAUSE_S = 0.15  # between the last start and the next kill, after the senders have gone on
TIMEOUT_S = 60.0  # until the senders go on, and until all is billed
POLL_INTERVAL_S = 0.02
APP, WORKER, SERVER = "app", "worker", "server"
LIMITS = (
    "BULKHEAD_API_KEY_REQUESTS_PER_MINUTE",
    "BULKHEAD_API_TENANT_REQUESTS_PER_MINUTE",
    "BULKHEAD_REQUESTS_PER_SECOND",
    "BULKHEAD_TENANT_REQUESTS_PER_SECOND",
)
FORK = multiprocessing.get_context("fork")
OPEN_WORK: LiteralString = """
select (select count(*) from usage_mark where tenant_id = %(tenant)s)
    + (select count(*) from usage_window where tenant_id = %(tenant)s and (closed_at is null or settled <> quantity))
    + (select count(*) from billing_usage where tenant_id = %(tenant)s and reported_at is null)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the processes share. `folder`: of what was acknowledged and billed."""

    folder: Path
    listener: socket.socket
    tenant_id: str
    key: str
    first_hour: datetime

    @property
    def stop_file(self) -> Path:
        return self.folder / "stop"

    @property
    def reports_file(self) -> Path:
        return self.folder / "reports"

    def list_acknowledged(self) -> list[tuple[int, int, int]]:
        """Sender, batch, and how many of its events had been stored before."""
        return [
            (number, *(int(word) for word in line.split()))  # type: ignore[misc]
            for number in range(SENDERS)
            for line in self._read_lines(self.get_acknowledged_file(number))
        ]

    def get_acknowledged_file(self, sender: int) -> Path:
        return self.folder / f"acknowledged-{sender}"

    def list_reports(self) -> list[tuple[str, int]]:
        """Identifier and units, in the order in which the provider was told."""
        lines = [line.split() for line in self._read_lines(self.reports_file)]
        return [(identifier, int(units)) for identifier, units in lines]

    @staticmethod
    def _read_lines(file: Path) -> list[str]:
        return file.read_text().splitlines() if file.exists() else []


def build_key(sender: int, batch: int, number: int) -> str:
    return f"{sender}-{batch}-{number}"


def build_quantity(sender: int, batch: int, number: int) -> int:
    return 100 + (sender * 31 + batch * 7 + number) % 90


def build_batch(target: Target, sender: int, batch: int) -> list[dict[str, object]]:
    """The same each time. Its events are of past hours, which close at once and change again and again."""
    return [
        {
            "meter": METER,
            "idempotency_key": build_key(sender, batch, number),
            "quantity": build_quantity(sender, batch, number),
            "occurred_at": (target.first_hour + timedelta(hours=(batch + number) % SPAN_HOURS)).isoformat(),
        }
        for number in range(BATCH_SIZE)
    ]


# ── the processes ────────────────────────────────────────────────────────────────────────────────────────────────


def run_app(target: Target) -> None:
    """The REST API of the tenant app on the listener that outlives it."""
    import uvicorn

    from shared.cli.http_protocol import BoundedHttpProtocol
    from shared.web import tenant_http

    _start_process()
    config = uvicorn.Config(
        tenant_http.app, http=BoundedHttpProtocol, lifespan="on", log_config=None, access_log=False
    )
    uvicorn.Server(config).run(sockets=[target.listener])


class FileProvider:
    """A provider that appends each report to a file. One that is told twice is found by its identifier."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        with self._file.open("a") as file:
            file.write(f"{identifier} {quantity}\n")
        await asyncio.sleep(0.005)


def run_worker(target: Target) -> None:
    """What the worker does about usage, in a hurry: add up, emit and report."""
    from shared.billing import provider_registry, usage
    from shared.billing.models import PLATFORM
    from shared.core import db
    from shared.metering import rollups

    _start_process()
    db.log_in_as_worker()
    rollups.POLL_INTERVAL_S = POLL_INTERVAL_S
    provider_registry.register(PLATFORM, FileProvider(target.reports_file))  # type: ignore[arg-type]

    async def report() -> None:
        while True:
            try:
                await usage.report()
            except Exception:
                await asyncio.sleep(POLL_INTERVAL_S)  # the job that reports is tried again, too
            await asyncio.sleep(POLL_INTERVAL_S)

    async def work() -> None:
        await asyncio.gather(rollups.run(), report())

    asyncio.run(work())


def run_sender(target: Target, number: int) -> None:
    """Ends after a batch, once the stop file is there. Exits with an error for an answer that no retry cures."""
    batch = 0
    with target.get_acknowledged_file(number).open("a", buffering=1) as acknowledged:
        while not target.stop_file.exists():
            repeated_count = _send_until_acknowledged(target, build_batch(target, number, batch))
            acknowledged.write(f"{batch} {repeated_count}\n")
            batch += 1


def _send_until_acknowledged(target: Target, items: list[dict[str, object]]) -> int:
    """How many were stored before."""
    headers = {"authorization": f"Bearer {target.key}", "content-type": "application/json"}
    body = json.dumps({"items": items})
    while True:
        connection = http.client.HTTPConnection(*target.listener.getsockname(), timeout=5)
        try:
            connection.request("POST", "/api/v1/usage", body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            time.sleep(POLL_INTERVAL_S)
            continue
        finally:
            connection.close()
        if response.status == 200:
            answer = json.loads(content)
            if answer["accepted"] + answer["repeated"] != len(items):
                raise AssertionError(f"not all are acknowledged: {content.decode()}")
            return int(answer["repeated"])
        if response.status < 500 and response.status != 429:
            raise AssertionError(f"{response.status}: {content.decode()}")
        time.sleep(POLL_INTERVAL_S)


def _start_process() -> None:
    """In a process that was forked: nothing of its parent's is open here."""
    from shared.core import db, log

    log.configure("CRITICAL")
    db.engine.cache_clear()
    db.login_url.cache_clear()


# ── what is done to them ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class KillRun:
    target: Target
    server: Any  # the server of this run
    generator: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    _processes: dict[str, BaseProcess] = field(default_factory=dict)

    def run(self, kills: int) -> None:
        senders = [self._start(f"sender {number}", run_sender, number) for number in range(SENDERS)]
        try:
            for name, function in ((APP, run_app), (WORKER, run_worker)):
                self._start(name, function)
            for number in range(kills):
                self._wait_for_progress(senders)
                time.sleep(self.generator.random() * LONGEST_PAUSE_S)
                self._kill((APP, WORKER, SERVER)[number % 3])
            self._wait_for_progress(senders)
            self.target.stop_file.touch()
            for sender in senders:
                sender.join(TIMEOUT_S)
                assert sender.exitcode == 0, f"a sender ended with {sender.exitcode}"
            self._wait_until_billed()
        finally:
            for process in self._processes.values():
                process.kill()
                process.join()

    def _start(self, name: str, function: Callable[..., None], *arguments: object) -> BaseProcess:
        process = FORK.Process(target=function, args=(self.target, *arguments))
        process.start()
        self._processes[name] = process
        return process

    def _kill(self, victim: str) -> None:
        from tests.support.postgres_server import kill_server

        if victim == SERVER:
            kill_server(self.server)
            self.server.start()
        else:
            process = self._processes[victim]
            assert process.is_alive(), f"the {victim} ended by itself with {process.exitcode}"
            process.kill()
            process.join()
            self._start(victim, run_app if victim == APP else run_worker)
        self.killed[victim] += 1

    def _wait_for_progress(self, senders: list[BaseProcess]) -> None:
        """Until every sender has had an answer since now."""
        before = Counter(sender for sender, *_ in self.target.list_acknowledged())
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            counts = Counter(sender for sender, *_ in self.target.list_acknowledged())
            if all(counts[number] > before[number] for number in range(SENDERS)):
                return
            assert all(sender.is_alive() for sender in senders), "a sender has ended"
            assert time.monotonic() < deadline, f"nothing is acknowledged any more: {counts}"
            time.sleep(POLL_INTERVAL_S)

    def _wait_until_billed(self) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        with connect() as connection:
            while count := _read_one(connection, OPEN_WORK, self.target)[0]:
                assert time.monotonic() < deadline, f"{count} rows are still to be added up or billed"
                time.sleep(POLL_INTERVAL_S)


# ── what came of it ──────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def connect() -> Iterator[psycopg.Connection[Any]]:
    """As superuser."""
    from tests.support.database import admin_url_in_use

    with psycopg.connect(admin_url_in_use(), autocommit=True) as connection:
        yield connection


def _read_one(connection: psycopg.Connection[Any], statement: LiteralString, target: Target) -> Any:
    row = connection.execute(statement, {"tenant": target.tenant_id, "meter": METER}).fetchone()
    assert row is not None
    return row


def verify(target: Target) -> str:
    """The figures. Raises AssertionError for one that differs."""
    quantities = {
        f"{METER}:{build_key(sender, batch, number)}": build_quantity(sender, batch, number)
        for sender, batch, _ in target.list_acknowledged()
        for number in range(BATCH_SIZE)
    }
    acknowledged = sum(quantities.values())
    with connect() as connection:
        parameters = {"tenant": target.tenant_id}
        events = connection.execute(
            "select id, quantity from usage_event where tenant_id = %(tenant)s", parameters
        ).fetchall()
        raw = {event_id: int(quantity) for event_id, quantity in events}
        lost, twice = quantities.keys() - raw.keys(), len(events) - len(raw)
        assert not lost, f"{len(lost)} acknowledged events are lost, such as {min(lost)}"
        assert (raw, twice) == (quantities, 0), (
            f"{len(raw)} events of {len(quantities)}, {twice} of them twice"
        )
        added_up, event_count = _read_one(
            connection,
            "select sum(quantity), sum(event_count) from usage_window"
            " where tenant_id = %(tenant)s and meter = %(meter)s and size = 'hour'",
            target,
        )
        assert (added_up, event_count) == (acknowledged, len(raw)), f"{added_up} added up of {acknowledged}"
        emitted, units = _read_one(
            connection,
            "select sum(quantity), sum(units) from usage_emission where tenant_id = %(tenant)s and meter = %(meter)s",
            target,
        )
        assert emitted == acknowledged, f"{emitted} emitted of {acknowledged}"
    billed = dict[str, int]()
    for identifier, reported in target.list_reports():
        assert billed.setdefault(identifier, reported) == reported, f"{identifier} was reported differently"
    carried = acknowledged - sum(billed.values()) * PER_UNIT
    assert sum(billed.values()) == units, f"{sum(billed.values())} units billed of {units}"
    assert 0 <= carried < PER_UNIT, f"{carried} are left over"
    repeated = sum(count > 0 for *_, count in target.list_acknowledged())
    return (
        f"{len(quantities) // BATCH_SIZE} batches acknowledged, {repeated} of them after a lost answer;"
        f" {len(raw)} events, {acknowledged} acknowledged = raw = added up = emitted = {units} units billed"
        f" and {carried} carried; {len(target.list_reports()) - len(billed)} reports came twice"
    )


async def create_target(folder: Path, listener: socket.socket) -> Target:
    from shared.api_keys import keys
    from shared.api_keys.keys import KeyRequest
    from shared.billing.models import PLATFORM, BillingCustomer
    from shared.core import db
    from shared.core.db import now
    from shared.core.ids import new_id
    from shared.tenancy import entry
    from tests.support import factories

    owner = await factories.create_account("Ann")
    tenant = await factories.create_tenant(owner, "Acme", plan="enterprise")
    async with entry.enter_tenant(owner.cookie, tenant.slug) as ctx:
        created = await keys.create(ctx, KeyRequest(name="Sender", scopes=keys.list_scopes(ctx)))
    async with db.transaction(tenant_id=tenant.id) as session:
        session.add(BillingCustomer(tenant_id=tenant.id, id=new_id("cus"), account_id=PLATFORM))
    await db.dispose()
    first_hour = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=SPAN_HOURS + 3)
    return Target(
        folder=folder, listener=listener, tenant_id=tenant.id, key=created.text, first_hour=first_hour
    )


def run_kills(kills: str, seed: str = "4471", control: str = "") -> None:
    """Prints the figures. Raises AssertionError for one that differs. `control`: "" or any word for commits that don't wait."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bulkhead-kills-") as root:
        Path(root).chmod(0o711)  # the server's user is another one where this runs as root
        os.environ.update({"BULKHEAD_DATA_DIR": root} | dict.fromkeys(LIMITS, "1000000"))
        os.environ.setdefault("BULKHEAD_SANDBOX_URL", "http://localhost:1")
        from shared import modules
        from shared.cli.database import prepare_database
        from shared.core import db
        from shared.core.config import settings
        from shared.dev.postgres import EmbeddedPostgres

        conf = {"wal_writer_delay": "10s"} if control else {}
        server = EmbeddedPostgres(Path(root) / "postgres", conf=conf).start()
        os.environ["DATABASE_URL"] = server.url(database="bulkhead")
        settings.cache_clear()
        db.login_url.cache_clear()
        folder = Path(root) / "told"
        folder.mkdir()
        try:
            prepare_database()
            modules.load()
            from shared.web import tenant_http  # noqa: F401  or everybody who is forked imports it anew

            with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
                target = asyncio.run(create_target(folder, listener))
                if control:
                    with connect() as connection:
                        connection.execute("alter database bulkhead set synchronous_commit = off")
                run = KillRun(target, server, random.Random(int(seed)))
                run.run(int(kills))
                figures = verify(target)
        finally:
            server.stop(signal.SIGQUIT)
    killed = ", ".join(f"{count} of the {victim}" for victim, count in run.killed.items())
    print(f"{run.killed.total()} kills, {killed}: {figures}; {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", default="100")
    parser.add_argument("--seed", default="4471")
    parser.add_argument(
        "--control", action="store_true", help="commits return before they are on disk: this must fail"
    )
    options = parser.parse_args()
    run_kills(options.kills, options.seed, "control" if options.control else "")


if __name__ == "__main__":
    main()
