"""`bulkhead up`: everything, in order, supervised; and nothing of it left when it stops."""

import asyncio
import os
import shutil
import signal
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from shared import modules
from shared.cli import database, frontend_build, parent_watch, ports, stale_processes, up_lock
from shared.cli.database_watch import SECONDS_BETWEEN_STARTS, DatabaseWatch
from shared.cli.disk_watch import DiskWatch
from shared.cli.process_supervisor import ProcessSupervisor, ServiceProcess
from shared.core.config import ConfigurationError, settings
from shared.dev.postgres import EmbeddedPostgres
from shared.dev.seed import cast

FIRST_BUILD_SPACE_MB = 1_000  # MB free before the first build: two apps with their packages, and a database
START_TIMEOUT = 60.0  # seconds


def up(*, with_parent: bool = False) -> int:
    """Blocks until Ctrl-C or SIGTERM, and returns 0 then. Raises ConfigurationError when something cannot run."""
    started_at = time.monotonic()
    if with_parent:
        parent_watch.end_with_parent(os.getppid())
    for signal_number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # both end the same way, also where a shell had SIGINT ignored
        signal.signal(signal_number, signal.default_int_handler)
    root = settings().absolute_data_dir
    root.mkdir(parents=True, exist_ok=True)
    try:
        with up_lock.hold(root):
            _prepare_start(root)
            _run_services(root, started_at)
    except KeyboardInterrupt:
        _print_line("Stopped. The data is kept.")
    return 0


def _run_services(root: Path, started_at: float) -> None:
    server = database.embedded_server()
    adopted = _marker_path(root).exists()  # left running by an `up` that was killed: ours to stop
    supervision = ProcessSupervisor(root)
    try:
        if server is not None:
            _start_database(server, root)
        database.prepare_database()
        if not settings().is_production:
            modules.load()
            asyncio.run(cast.seed())
        frontend_build.build_all()
        supervision.start()
        _watch_services(supervision, root, _wait_until_answering(supervision, root, started_at))
    finally:
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(
                signal_number, signal.SIG_IGN
            )  # an impatient second Ctrl-C must not leave half of it
        supervision.stop()
        _record_path(root).unlink(missing_ok=True)
        if server is not None and (server.started or adopted):
            server.stop()
        _marker_path(root).unlink(missing_ok=True)


def _start_database(server: EmbeddedPostgres, root: Path) -> None:
    server.start()
    if server.started:
        _marker_path(root).touch()


def _wait_until_answering(supervision: ProcessSupervisor, root: Path, started_at: float) -> dict[str, int]:
    """Returns the process ids of the parts by name. Raises ConfigurationError when one does not start."""
    waiting_urls, pids = list(ports.urls_by_setting().values()), dict[str, int]()
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        parts = _list_parts(supervision)
        for part in parts:
            if part.state == "FATAL" or part.last_exit:
                raise ConfigurationError(
                    f"the part {part.name} {part.last_exit or 'does not start'}, so everything was stopped."
                    f" The end of its log, {supervision.logs / part.name}.log:\n{supervision.read_log_tail(part.name)}"
                )
        _record_processes(supervision, root, parts, pids)
        waiting_urls = [url for url in waiting_urls if not _is_answering(f"{url}/healthz")]
        if not waiting_urls and len(pids) == len(parts):
            _print_line(_welcome_text(time.monotonic() - started_at, supervision.logs))
            return pids
        if time.monotonic() > deadline:
            raise ConfigurationError(f"no answer from {', '.join(waiting_urls)}. See {supervision.logs}")
        time.sleep(0.1)


def _watch_services(supervision: ProcessSupervisor, root: Path, pids: dict[str, int]) -> None:
    """Returns never: ends by a signal, or raises ConfigurationError when the supervisor ended.

    Whatever else ends is started again, and the cause is printed.
    """
    server = database.embedded_server()
    database_watch = DatabaseWatch(server, _print_line) if server is not None else None
    disk_watch = DiskWatch(root, _print_line)
    retry_times: dict[str, float] = {}  # of the parts that supervisord gave up
    while True:
        disk_watch.check()
        if database_watch is not None:
            database_watch.check()
        parts = _list_parts(supervision)
        for part in parts:
            if part.pid and part.pid != pids.get(part.name):
                _print_line(
                    f"The part {part.name} {part.last_exit}; it was started again. Its log: {supervision.logs}"
                )
            if part.state != "FATAL":
                retry_times.pop(part.name, None)
            elif time.monotonic() > retry_times.get(part.name, 0.0):
                if part.name not in retry_times:
                    _print_line(_stopped_text(supervision, part))
                supervision.start_process(part.name)
                retry_times[part.name] = time.monotonic() + SECONDS_BETWEEN_STARTS
        _record_processes(supervision, root, parts, pids)
        time.sleep(0.5)


def _list_parts(supervision: ProcessSupervisor) -> list[ServiceProcess]:
    if not supervision.is_alive():
        raise ConfigurationError(
            f"the supervisor ended unexpectedly, and with it everything else. See {supervision.logs}"
        )
    return supervision.list_processes()


def _record_processes(
    supervision: ProcessSupervisor, root: Path, parts: list[ServiceProcess], pids: dict[str, int]
) -> None:
    """Remember the process ids. The next `up` ends what a killed one left running."""
    current_pids = {part.name: part.pid for part in parts if part.pid}
    if current_pids.items() <= pids.items():
        return
    pids |= current_pids
    with suppress(OSError):  # on a full disk the next `up` may find processes that it can't end by itself
        stale_processes.write_record(_record_path(root), [supervision.pid, *pids.values()])


def _stopped_text(supervision: ProcessSupervisor, part: ServiceProcess) -> str:
    return (
        f"The part {part.name} {part.last_exit or 'does not start'}. It is tried again every few seconds. The end of its"
        f" log, {supervision.logs / part.name}.log:\n{supervision.read_log_tail(part.name)}"
    )


def _prepare_start(root: Path) -> None:
    if ended_count := stale_processes.end_recorded(_record_path(root)):
        _print_line(f"Ended {ended_count} processes that a killed run had left behind.")
    ports.require_free()
    free = shutil.disk_usage(root).free // 2**20
    if free < FIRST_BUILD_SPACE_MB and not all(frontend_build.is_built(app) for app in frontend_build.APPS):
        raise ConfigurationError(
            f"no space left on the disk of {root}: {free} MB are free and the first build needs {FIRST_BUILD_SPACE_MB} MB."
            " Make room, or move it with BULKHEAD_DATA_DIR."
        )


def _record_path(root: Path) -> Path:
    return root / "up.json"


def _marker_path(root: Path) -> Path:
    return root / "postgres-of-up"


def _is_answering(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _welcome_text(seconds: float, logs: Path) -> str:
    config = settings()
    return f"""
Bulkhead is up after {seconds:.1f} s. Ctrl-C stops it.

  Tenant app   {config.tenant_url}    ann@acme.test, adam@acme.test, max@acme.test, gil@globex.test …
  Admin app    {config.admin_url}    olga@bulkhead.test, sam@bulkhead.test
  Mailbox      {config.sandbox_url}/mail
  Stripe       {config.sandbox_url}/stripe/_control    a stand-in; controls for its clock, network and faults
  Logs         {logs}

  Password for all accounts:  {config.demo_password.get_secret_value()}
  Code for an operator:   bulkhead dev totp olga@bulkhead.test   (in .venv/bin)
"""


def _print_line(line: str) -> None:
    print(line, file=sys.stdout, flush=True)
