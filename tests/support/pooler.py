"""pgbouncer in transaction mode between the tests and their server.

`python -m tests.support.pooler COMMAND …` runs a command whose processes reach their databases through it, and the
server itself where they say "direct". Fails by name where pgbouncer is missing.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from shared.dev.postgres import EmbeddedPostgres
from tests.support.database import POOLER

MISSING = "pgbouncer is missing: install it from the system's packages (apt-get install pgbouncer)."
# The server checks each login's own password: pgbouncer asks it for the verifier.
CONFIGURATION = """
[databases]
* = host={host} port={server_port} auth_user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
auth_query = select usename, passwd from pg_shadow where usename = $1
pool_mode = transaction
default_pool_size = 4
max_client_conn = 500
max_db_connections = 40
logfile = {log}
pidfile = {folder}/pgbouncer.pid
"""
START_TIMEOUT_S = 10


def find_pgbouncer() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def run_pooler(server: EmbeddedPostgres) -> Iterator[str]:
    """Host and port of a pgbouncer in front of a running server."""
    program = find_pgbouncer()
    assert program is not None, MISSING
    url, port = make_url(server.url()), _find_free_port()
    with tempfile.TemporaryDirectory(prefix="bulkhead-pooler-") as folder:
        users, log, configuration = (Path(folder) / name for name in ("users.txt", "log", "pgbouncer.ini"))
        users.write_text(f'"{url.username}" "{url.password}"\n')
        log.touch()
        values = {"host": url.query["host"], "server_port": url.query["port"], "port": port, "folder": folder}
        configuration.write_text(CONFIGURATION.format(users=users, log=log, **values))
        command = [program, str(configuration)]
        if server.os_user is not None:  # pgbouncer refuses to run as root
            for path in (Path(folder), users, log, configuration):
                os.chown(path, server.os_user.pw_uid, server.os_user.pw_gid)
            command[1:1] = ["-u", server.os_user.pw_name]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, log)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _find_free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)


def main(command: list[str]) -> int:
    if find_pgbouncer() is None:
        print(MISSING, file=sys.stderr)
        return 2
    from tests.support import database

    os.environ.setdefault("BULKHEAD_DATA_DIR", str(database.ROOT / ".bulkhead" / "test"))
    with database.building():
        pass
    with run_pooler(database._server()) as address:
        return subprocess.run(command, env=os.environ | {POOLER: address}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
