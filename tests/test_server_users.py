"""The test server ends with its last user."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.dev.postgres import EmbeddedPostgres
from tests.support import server_users, source

USE_UNTIL_CLOSED = """
import sys
from shared.dev.postgres import EmbeddedPostgres
from tests.support import server_users
server_users.hold(EmbeddedPostgres(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "postgres", conf={"fsync": "off"})
    server_users.hold(server)
    server.start()
    yield server
    server.stop()


def test_server_stops_only_after_its_last_user(server: EmbeddedPostgres) -> None:
    command = [sys.executable, "-c", USE_UNTIL_CLOSED, server.requested_root]
    with subprocess.Popen(
        command, cwd=source.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == "held\n"
        assert not server_users.stop_if_unused(server)
        assert server.is_running()
        user.kill()
    assert server_users.stop_if_unused(server)
    assert not server.is_running()
