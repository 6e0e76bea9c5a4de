"""A streaming replica of a database server of our own: a base backup that follows it."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from shared.dev.postgres import PORT, SUPERUSER, EmbeddedPostgres
from tests.support.database import WITHOUT_DISK

TIMEOUT_S = 20


@contextmanager
def run_replica(primary: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A hot standby, which has applied what is in the primary now. It ends with the block."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-replica-") as folder:
        Path(folder).chmod(0o711)  # the server's user is another one where tests run as root
        replica = EmbeddedPostgres(Path(folder) / "postgres", conf=WITHOUT_DISK)
        replica.root.mkdir()
        if primary.os_user is not None:
            os.chown(replica.root, primary.os_user.pw_uid, primary.os_user.pw_gid)
        _copy(primary, replica)
        (replica.root / f"{SUPERUSER}.pw").write_text(primary.load_password(SUPERUSER))
        try:
            replica.start()
            wait_for_replay(primary, replica)
            yield replica
        finally:
            replica.stop(signal.SIGQUIT)


def _copy(primary: EmbeddedPostgres, replica: EmbeddedPostgres) -> None:
    """With the settings that make the copy follow."""
    # fmt: off
    command: list[str | Path] = [
        primary.bin_dir / "pg_basebackup", "-D", replica.pgdata_dir, "-h", primary.socket_dir, "-p", str(PORT),
        "-U", SUPERUSER, "--checkpoint=fast", "--no-sync", "--no-manifest", "--wal-method=stream", "--write-recovery-conf",
    ]
    # fmt: on
    environment = os.environ | {"PGPASSWORD": primary.load_password(SUPERUSER)}
    subprocess.run(command, check=True, env=environment, **primary._run_as_options())


def wait_for_replay(primary: EmbeddedPostgres, replica: EmbeddedPostgres) -> None:
    """Until the replica has applied what the primary has written so far."""
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        position = connection.execute("select pg_current_wal_flush_lsn()::text").fetchone()
    assert position is not None
    deadline = time.monotonic() + TIMEOUT_S
    with psycopg.connect(replica.url(), autocommit=True) as connection:
        while connection.execute("select pg_last_wal_replay_lsn() < %s::pg_lsn", position).fetchone() != (
            False,
        ):
            assert time.monotonic() < deadline, "the replica does not follow"
            time.sleep(0.02)


def set_replay(replica: EmbeddedPostgres, *, is_paused: bool) -> None:
    with psycopg.connect(replica.url(), autocommit=True) as connection:
        connection.execute("select pg_wal_replay_pause()" if is_paused else "select pg_wal_replay_resume()")
