"""What `bulkhead up` notices while it runs: a full disk, logs that can't be written, and whose the database is."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.cli import database, up_lock
from shared.cli.disk_watch import DiskWatch
from shared.core.config import ConfigurationError, settings
from tests.support import source

MB = 2**20
# Its log and its standard error are on a full disk.
SUPERVISOR_CONFIG = """
[supervisord]
nodaemon=true
silent=true
logfile=/dev/full
logfile_maxbytes=0
pidfile={folder}/supervisor.pid
[program:part]
command={python} -uc "import time; [print('x' * 100) or time.sleep(0.05) for _ in range(200)]"
redirect_stderr=true
stdout_logfile=/dev/full
stdout_logfile_maxbytes=0
"""


def test_disk_that_fills_up_is_named_once_for_each_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []
    watch = DiskWatch(tmp_path, printed.append)
    for free_mb in (9_000, 8_000, 400, 300, 10, 0, 5_000):
        usage = shutil._ntuple_diskusage(total=10_000 * MB, used=0, free=free_mb * MB)  # type: ignore[attr-defined]
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        watch.check()
    assert [text.partition(f" of {tmp_path}")[0] for text in printed] == [
        "The disk",  # is almost full
        "No space left on the disk",
        "The disk",  # has enough space again
    ]
    assert "almost full" in printed[0]
    assert "enough space again" in printed[2]


def test_supervisor_survives_logs_that_cannot_be_written(tmp_path: Path) -> None:
    config = tmp_path / "supervisord.conf"
    config.write_text(SUPERVISOR_CONFIG.format(folder=tmp_path, python=sys.executable))
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "shared.cli.supervised_process", config]
        process = subprocess.Popen(command, cwd=source.ROOT, stdout=subprocess.DEVNULL, stderr=full)
    try:
        until = time.monotonic() + 20
        while not (tmp_path / "supervisor.pid").exists() and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(2)  # the part has written its lines by then
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BULKHEAD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.delenv("DATABASE_URL")
    settings.cache_clear()
    database.use_embedded_server()
    yield tmp_path
    os.environ.pop("DATABASE_URL", None)
    monkeypatch.undo()
    settings.cache_clear()
    database.db.login_url.cache_clear()


def test_command_does_not_start_the_database_of_a_running_up(
    data_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts it stops it in the end, and with it the pages of everybody."""
    monkeypatch.setattr(database, "UP_RESTART_SECONDS", 0.2)
    with up_lock.hold(data_directory):
        with (
            pytest.raises(
                ConfigurationError, match="the database of the running `bulkhead up` does not answer"
            ),
            database.running_server(),
        ):
            raise AssertionError("not reached")
        assert not (data_directory / "postgres" / "pgdata").exists()


def test_data_directory_is_held_by_one_up(tmp_path: Path) -> None:
    assert not up_lock.is_held(tmp_path)
    with up_lock.hold(tmp_path):
        assert up_lock.is_held(tmp_path)
        with pytest.raises(ConfigurationError, match="already running"), up_lock.hold(tmp_path):
            pass
    assert not up_lock.is_held(tmp_path)
