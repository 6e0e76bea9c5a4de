"""`bulkhead up`: everything, in order, supervised; and nothing of it left when it stops."""

import asyncio
import fcntl
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.cli import build, database, leftovers, lifeline, ports
from shared.cli.supervision import Supervision
from shared.core.config import Misconfigured, settings
from shared.core.embedded import EmbeddedPostgres
from shared.dev import seed

SPACE = 1_000  # MB free before the first build: two apps with their packages, and a database
ANSWER_WITHIN = 60.0  # seconds


def up(*, with_parent: bool = False) -> int:
    """Blocks until Ctrl-C or SIGTERM, and returns 0 then. Raises Misconfigured when something cannot run."""
    began = time.monotonic()
    if with_parent:
        lifeline.end_with(os.getppid())
    for one in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # both end the same way, also where a shell had SIGINT ignored
        signal.signal(one, signal.default_int_handler)
    root = settings().root
    root.mkdir(parents=True, exist_ok=True)
    try:
        with _alone(root):
            _check(root)
            _run(root, began)
    except KeyboardInterrupt:
        _say("Stopped. Nothing is running any more; the data is kept.")
    return 0


def _run(root: Path, began: float) -> None:
    server = database.embedded()
    adopted = _mark(root).exists()  # left running by an `up` that was killed: ours to stop
    supervision = Supervision(root)
    try:
        if server is not None:
            _start(server, root)
        database.prepare()
        if not settings().production:
            asyncio.run(seed.seed())
        build.build_all(say=_say)
        supervision.start()
        _watch(supervision, root, began)
    finally:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_IGN)  # an impatient second Ctrl-C must not leave half of it
        supervision.stop()
        _record(root).unlink(missing_ok=True)
        if server is not None and (server.started or adopted):
            server.stop()
        _mark(root).unlink(missing_ok=True)


def _start(server: EmbeddedPostgres, root: Path) -> None:
    server.start()
    if server.started:
        _mark(root).touch()


def _watch(supervision: Supervision, root: Path, began: float) -> None:
    """Returns never: ends by a signal, or raises Misconfigured."""
    waiting, pids, until = (
        list(ports.addresses().values()),
        dict[str, int](),
        time.monotonic() + ANSWER_WITHIN,
    )
    while True:
        if not supervision.alive():
            raise Misconfigured(
                f"the supervisor ended by itself, and with it everything. See {supervision.logs}"
            )
        parts = supervision.parts()
        for part in parts:
            if part.state == "FATAL" or (waiting and part.ended):
                raise Misconfigured(
                    f"the part {part.name} {part.ended or 'does not start'}, so everything was stopped."
                    f" The end of its log, {supervision.logs / part.name}.log:\n{supervision.last_words(part.name)}"
                )
            if part.pid and part.pid != pids.get(part.name):
                if part.name in pids:
                    _say(
                        f"The part {part.name} {part.ended}; it was started again. Its log: {supervision.logs}"
                    )
                pids[part.name] = part.pid
                leftovers.write(_record(root), [supervision.pid, *pids.values()])
        if waiting:
            waiting = [url for url in waiting if not _answers(f"{url}/healthz")]
            if not waiting and len(pids) == len(parts):
                _say(_welcome(time.monotonic() - began, supervision.logs))
            elif time.monotonic() > until:
                raise Misconfigured(f"no answer from {', '.join(waiting)}. See {supervision.logs}")
        time.sleep(0.1 if waiting else 0.5)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    with (root / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(
                f"Bulkhead is already running on {root}. Stop it, or give this one its own BULKHEAD_DATA_DIR."
            ) from None
        yield


def _check(root: Path) -> None:
    if left := leftovers.end(_record(root)):
        _say(f"Ended {left} processes that a killed run had left behind.")
    ports.require_free()
    free = shutil.disk_usage(root).free // 2**20
    if free < SPACE and not all(build.is_built(app) for app in build.APPS):
        raise Misconfigured(
            f"no space left on the disk of {root}: {free} MB are free and the first build needs {SPACE} MB."
            " Make room, or move it with BULKHEAD_DATA_DIR."
        )


def _record(root: Path) -> Path:
    return root / "up.json"


def _mark(root: Path) -> Path:
    return root / "postgres-of-up"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _welcome(seconds: float, logs: Path) -> str:
    given = settings()
    return f"""
Bulkhead is up after {seconds:.1f} s. Ctrl-C stops it.

  Tenant app   {given.tenant_url}    ann@acme.test, adam@acme.test, max@acme.test, gil@globex.test …
  Admin app    {given.admin_url}    olga@bulkhead.test, sam@bulkhead.test
  Mailbox      {given.sandbox_url}/mail
  Stripe       {given.sandbox_url}/stripe/_control    a stand-in, with levers for its clock, network and faults
  Logs         {logs}

  Password of everybody:  {given.demo_password.get_secret_value()}
  Code for an operator:   bulkhead dev totp olga@bulkhead.test   (in .venv/bin)
"""


def _say(line: str) -> None:
    print(line, file=sys.stdout, flush=True)
