"""`bulkhead up`: everything, in order, supervised; and nothing of it left when it stops."""

import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from honcho.manager import Manager
from honcho.printer import Printer

from shared.cli import build, database
from shared.core.config import Misconfigured, settings

SPACE = 1_500_000_000  # bytes: two builds with their packages, and a database
ANSWER_WITHIN = 60  # seconds
PARTS = {  # name in the log folder: arguments of `bulkhead`
    "stand-ins": ["serve", "stand-ins"],
    "worker": ["worker"],
    "tenant": ["serve", "tenant"],
    "admin": ["serve", "admin"],
}


def up() -> int:
    """Blocks until Ctrl-C. 0 after a clean stop; 1 when a part ended by itself."""
    began = time.monotonic()
    root = settings().root
    root.mkdir(parents=True, exist_ok=True)
    _enough_space(root)
    with _alone(root):
        _end_leftovers(root)
        _free_ports()
        server = database.embedded()
        ours = server is not None and not server.running()
        database.prepare()
        try:
            _seed()
            build.build_all(say=_say)
            return _supervise(root, began)
        finally:
            if server is not None and ours:
                server.stop()
                _say("Stopped.")


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  this is what a person reads


def _enough_space(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < SPACE and not (root / "web").exists():
        raise Misconfigured(
            f"only {free // 1_000_000:,} MB are free at {root}; {SPACE // 1_000_000:,} MB are needed."
            " Make room, or move it with BULKHEAD_DATA_DIR."
        )


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


def _record(root: Path) -> Path:
    return root / "up.json"


def _end_leftovers(root: Path) -> None:
    """What a killed supervisor left behind: exactly the processes it wrote down, known by id and time of birth."""
    try:
        known = json.loads(_record(root).read_text())
    except (OSError, ValueError):
        return
    left = []
    for pid, born in known:
        try:
            process = psutil.Process(pid)
            if abs(process.create_time() - born) < 1:
                left += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    for process in left:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, stubborn = psutil.wait_procs(left, timeout=5)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=5)
    _record(root).unlink(missing_ok=True)


def _free_ports() -> None:
    for name, url in _urls().items():
        port = urlsplit(url).port or 80
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise Misconfigured(
                    f"port {port} is taken. Stop what listens there, or move this part: {name}=http://localhost:<port>"
                ) from None


def _urls() -> dict[str, str]:
    return {
        "BULKHEAD_TENANT_URL": settings().tenant_url,
        "BULKHEAD_ADMIN_URL": settings().admin_url,
        "BULKHEAD_SANDBOX_URL": settings().sandbox_url,
    }


def _seed() -> None:
    import asyncio  # noqa: PLC0415

    from shared.dev.seed import seed  # noqa: PLC0415

    asyncio.run(seed())


def _supervise(root: Path, began: float) -> int:
    logs = root / "logs"
    logs.mkdir(exist_ok=True)
    manager = Manager(Printer(open(os.devnull, "w")))  # noqa: SIM115, PTH123  each part writes its own log
    env = os.environ | {"BULKHEAD_SUPERVISOR": str(os.getpid()), "PYTHONPATH": str(database.ROOT)}
    for name, words in PARTS.items():
        command = f'exec "{sys.executable}" -m shared.cli {" ".join(words)} >>"{logs / name}.log" 2>&1'
        manager.add_process(name, command, env=env, cwd=str(database.ROOT))
    threading.Thread(target=_announce, args=(root, began), daemon=True).start()
    _say("Starting …")
    asked = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: asked.set())
    manager.loop()
    _record(root).unlink(missing_ok=True)
    code = manager.returncode or 0
    if code > 0 and code not in (130, 143):
        _say(f"A part ended by itself. Its log says why: {logs}")
        return 1
    return 0


def _announce(root: Path, began: float) -> None:
    me = psutil.Process()
    until = time.monotonic() + ANSWER_WITHIN
    waiting = list(_urls().values())
    while waiting and time.monotonic() < until:
        children = [(child.pid, child.create_time()) for child in me.children(recursive=True)]
        _record(root).write_text(json.dumps(children))
        waiting = [url for url in waiting if not _answers(f"{url}/healthz")]
        time.sleep(0.1)
    if waiting:
        _say(f"No answer yet from {', '.join(waiting)}. See {root / 'logs'}")
        return
    password = settings().demo_password.get_secret_value()
    _say(
        f"""
Bulkhead is up after {time.monotonic() - began:.1f} s. Ctrl-C stops it.

  Tenant app   {settings().tenant_url}    ann@acme.test, adam@acme.test, max@acme.test, gil@globex.test, …
  Admin app    {settings().admin_url}    olga@bulkhead.test, sam@bulkhead.test
  Mailbox      {settings().sandbox_url}/mail

  Password of all of them: {password}
  Code for an operator:    .venv/bin/python -m shared.cli dev totp olga@bulkhead.test
"""
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  our own address
            return bool(response.status == 200)
    except OSError:
        return False
