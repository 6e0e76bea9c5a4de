"""`bulkhead up`: restarts in seconds, stops completely, and survives a kill."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from tests.e2e.conftest import DATA, EXTERNAL_URL, ROOT, TENANT, NewVisitor, Platform, is_answering
from tests.e2e.test_connection import find_tenant_app

# Processor time of a restart, in starts of one app: it loads the parts, and builds no frontend. In seconds it would judge
# the machine; on two idle cores it is under 10 seconds.
MAX_RESTART_COST = 7.0


def measure_restart_cost(platform: Platform) -> float:
    """Processor time of everything that was just started, divided by that of the tenant app alone."""
    app_times = find_tenant_app(platform).cpu_times()
    return platform.cpu_seconds() / (app_times.user + app_times.system)


def wait_for_processes(platform: Platform, seconds: float = 20) -> list[str]:
    until = time.monotonic() + seconds
    while platform.list_processes() and time.monotonic() < until:
        time.sleep(0.2)
    return platform.list_processes()


def test_restart_after_ctrl_c_is_quick_and_loses_nothing(
    platform: Platform, new_visitor: type[NewVisitor]
) -> None:
    ann = new_visitor()
    home = ann.create_organisation("Ann Lasting", "ann@lasting.test", "Lasting")
    assert platform.list_processes()
    assert platform.stop() in (0, -signal.SIGINT, 130)
    assert wait_for_processes(platform, 2) == []

    platform.start()
    assert measure_restart_cost(platform) < MAX_RESTART_COST
    ann.page.goto(f"{home}/members")  # the session of before
    ann.expect_text("Ann Lasting")


def test_restart_after_a_kill_loses_nothing(platform: Platform, new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    home = ann.create_organisation("Ann Killed", "ann@killed.test", "Killed")
    assert platform.process is not None
    platform.process.send_signal(signal.SIGKILL)
    platform.process.wait(10)
    assert wait_for_processes(platform) == []  # its parts notice and end by themselves

    platform.start()
    assert measure_restart_cost(platform) < MAX_RESTART_COST
    ann.page.goto(f"{home}/members")
    ann.expect_text("Ann Killed")


@pytest.mark.skipif(bool(EXTERNAL_URL), reason="`up` starts no server where DATABASE_URL names one")
def test_killed_database_is_restarted_and_belongs_to_up_alone(
    platform: Platform, new_visitor: type[NewVisitor]
) -> None:
    ann = new_visitor()
    home = ann.create_organisation("Ann Database", "ann@database.test", "Database")
    killed = database_pid()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: database_pid() not in (0, killed) and is_answering(f"{TENANT}/readyz"))
    ann.page.goto(f"{home}/members")
    ann.expect_text("Ann Database")

    restarted, (worker,) = database_pid(), find_workers(platform)
    worker.terminate()
    wait_until(lambda: find_workers(platform) not in ([], [worker]))
    assert database_pid() == restarted
    assert "The database ended unexpectedly. It is started again." in platform.log.read_text()


def database_pid() -> int:
    """0 while none runs."""
    file = DATA / "postgres" / "pgdata" / "postmaster.pid"
    words = file.read_text().split() if file.exists() else []
    return int(words[0]) if words else 0


def find_workers(platform: Platform) -> list[psutil.Process]:
    return [process for process in platform._running() if process.cmdline()[-1:] == ["worker"]]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_taken_port_is_named_with_its_setting(platform: Platform) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "shared.cli", "up"],
        cwd=ROOT,
        env=platform.env | {"BULKHEAD_DATA_DIR": str(ROOT / ".bulkhead" / "e2e-second")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 2
    assert re.search(r"port 3100 \(BULKHEAD_TENANT_URL\) is taken", process.stderr)
    assert "BULKHEAD_TENANT_URL=http://localhost:4100" in process.stderr
