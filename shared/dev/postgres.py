"""The embedded PostgreSQL server: its directory, its start and its end.

The programs come from elsewhere, the lifecycle is ours: after a kill -9 the wheels' own starters hand out a dead
server. The server outlives whoever started it; a second starter finds it running and uses it. It listens on a socket
in the file system only, and every role has a password: access to the socket alone gives no access.
"""

import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from shared.dev import postgres_binaries
from shared.dev.postgres_binaries import EmbeddedPostgresError

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError"]

SUPERUSER = "postgres"
PORT = 5432  # only part of the socket's name
DEFAULT_CONF = {"listen_addresses": "", "max_connections": "200"}
MAX_SOCKET_PATH_BYTES = 100  # bytes of its path; the system allows 107
RELOCATED_ROOT = Path("/var/lib/bulkhead")  # for root, when the server's user may not enter the directory
INITDB_SPACE_MB, START_SPACE_MB = (
    150,
    32,
)  # MB free before making a data directory, and before starting on one
START_RETRY_SECONDS, ORPHAN_RETRY_SECONDS = 3.0, 30.0  # seconds
NO_SPACE_MESSAGE = "No space left on device"


class EmbeddedPostgres:
    def __init__(self, root: str | Path, *, conf: dict[str, str] | None = None) -> None:
        """Cheap: `start` looks for and creates everything, except for passwords, which are created on access."""
        self.requested_root = Path(root)
        self.conf = DEFAULT_CONF | (conf or {})
        self.started = False  # by this object, and not found running
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return self.requested_root.resolve()  # may be a link to ELSEWHERE

    @property
    def pgdata_dir(self) -> Path:
        return self.root / "pgdata"

    @property
    def socket_dir(self) -> Path:
        preferred_dir = self.root / "run"
        if len(os.fsencode(preferred_dir)) + len(f"/.s.PGSQL.{PORT}") <= MAX_SOCKET_PATH_BYTES:
            return preferred_dir
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"bulkhead-{digest}"

    @cached_property
    def bin_dir(self) -> Path:
        return postgres_binaries.find_programs()

    @cached_property
    def os_user(self) -> pwd.struct_passwd | None:
        """The system user of the server when we run as root, which PostgreSQL refuses."""
        if os.geteuid() != 0:
            return None
        users_by_name = {entry.pw_name: entry for entry in pwd.getpwall()}
        return users_by_name.get("postgres") or users_by_name.get("nobody")

    def start(self) -> "EmbeddedPostgres":
        """Start the server and return when it accepts connections. Raises EmbeddedPostgresError."""
        self._make_root()
        with self._lock_root():
            if self.os_user and not self._can_access("-x", self.bin_dir / "postgres"):
                self.bin_dir = postgres_binaries.copy_programs(self.bin_dir, self.root)
            if self._find_server_pid() is None:
                self._require_space()
            if not self.pgdata_dir.exists():
                self._make_data_directory()
            self._require_same_major()
            self._wait_until_ready()
        return self

    def stop(self, sig: int = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown: sessions end, what was committed is kept."""
        if not self.root.exists():
            return
        with self._lock_root():
            pid = self._find_server_pid()
            if pid:
                os.kill(pid, sig)
            while pid and self._find_server_pid() == pid:
                if self._process:
                    self._process.poll()  # or it stays a zombie of ours
                time.sleep(0.02)
            if self._process:
                self._process.wait(60)
            self._process, self.started = None, False

    def is_running(self) -> bool:
        """Whether the server's process is there. A server that hangs is running."""
        return self.root.exists() and self._find_server_pid() is not None

    def wait_until_ready(self, timeout: float) -> bool:
        """Whether the server, which another process starts, accepts connections within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while not (self.is_running() and self._is_ready()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    @property
    def log_path(self) -> Path:
        return self.root / "postgres.log"

    def url(self, role: str = SUPERUSER, database: str = "postgres") -> str:
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{role}:{self.load_password(role)}@/{database}?host={host}&port={PORT}"

    def load_password(self, role: str) -> str:
        """The role's password, made when first asked for and kept in a file that only its owner reads."""
        path = self.root / f"{role}.pw"
        if not path.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(prefix=f"{role}-", dir=self.root)
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(24))
            try:
                os.link(draft, path)  # a second process uses the password of the first
            except FileExistsError:
                pass
            os.unlink(draft)
        return path.read_text()

    # ── the directory ────────────────────────────────────────────────────────────────────────────────────────────

    def _make_root(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if self.os_user and not self._can_access("-d", self.root / "."):
            self._relocate_root()
        self.socket_dir.mkdir(exist_ok=True)
        if self.socket_dir.stat().st_uid not in {
            os.geteuid(),
            self.os_user.pw_uid if self.os_user else os.geteuid(),
        }:
            raise EmbeddedPostgresError(
                f"{self.socket_dir} belongs to another user. Remove it, or set BULKHEAD_DATA_DIR."
            )
        self._give_to_os_user(self.socket_dir)
        for path in (self.root, self.socket_dir):
            path.chmod(0o711 if self.os_user else 0o700)

    def _relocate_root(self) -> None:
        """Below /root, say, the server's user could not enter: the directory becomes a link to one it can."""
        assert self.os_user
        new_root = RELOCATED_ROOT / hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        if self.pgdata_dir.exists() or self.requested_root.is_symlink():
            raise EmbeddedPostgresError(
                f"PostgreSQL runs as {self.os_user.pw_name}, who can't open {self.root}."
                " Open its parent directories to others (chmod o+x), or set BULKHEAD_DATA_DIR."
            )
        if new_root.exists():  # of a data directory that somebody removed: theirs to keep or to delete
            new_root.rename(new_root.with_name(f"{new_root.name}.{int(time.time())}"))
        new_root.mkdir(parents=True)
        for path in (RELOCATED_ROOT, new_root):
            path.chmod(0o711)
        for path in self.root.iterdir():
            shutil.move(path, new_root / path.name)
        self.root.rmdir()
        self.requested_root.symlink_to(new_root)

    def _require_space(self) -> None:
        needed = START_SPACE_MB if self.pgdata_dir.exists() else INITDB_SPACE_MB
        free = shutil.disk_usage(self.root).free // 2**20
        if free < needed:
            raise EmbeddedPostgresError(
                f"No space left on the disk of {self.root}: {free} MB are free and the database needs {needed} MB."
                " Make room, or set BULKHEAD_DATA_DIR to a directory on another disk."
            )

    def _make_data_directory(self) -> None:
        """In a scratch directory first: a killed initdb leaves garbage, never a data directory."""
        for garbage in self.root.glob("initdb-*"):
            shutil.rmtree(garbage, ignore_errors=True)
        self.load_password(SUPERUSER)
        self._give_to_os_user(self.root / f"{SUPERUSER}.pw")
        scratch_dir = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.root))
        self._give_to_os_user(scratch_dir)
        # fmt: off
        command: list[str | Path] = [
            self.bin_dir / "initdb", "-D", scratch_dir, "-U", SUPERUSER, "--pwfile", self.root / f"{SUPERUSER}.pw",
            "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions",
        ]
        # fmt: on
        if self.conf.get("fsync") == "off":
            command.append("--no-sync")
        result = subprocess.run(command, capture_output=True, text=True, **self._run_as_options())
        if result.returncode:
            shutil.rmtree(scratch_dir, ignore_errors=True)
            raise self._startup_error(result.stderr)
        scratch_dir.rename(self.pgdata_dir)

    def _require_same_major(self) -> None:
        data_version = (self.pgdata_dir / "PG_VERSION").read_text().strip()
        if data_version != (program_version := postgres_binaries.major_version(self.bin_dir)):
            raise EmbeddedPostgresError(
                f"The data directory {self.pgdata_dir} was made by PostgreSQL {data_version}, and the programs here are"
                f" PostgreSQL {program_version}. Set BULKHEAD_PG_BIN to the programs of PostgreSQL {data_version}, or upgrade the data"
                " with pg_upgrade, or set BULKHEAD_DATA_DIR to begin with an empty database."
            )

    # ── the process ──────────────────────────────────────────────────────────────────────────────────────────────

    def _wait_until_ready(self, timeout: float = 60) -> None:
        started_at, first_spawn, pause = time.monotonic(), 0.0, 0.02
        while not self._is_ready():
            now = time.monotonic()
            if self._find_server_pid() is None and (
                self._process is None or self._process.poll() is not None
            ):
                # A busy backend survives its killed server, and PostgreSQL waits for it rather than share its memory.
                orphan = "pre-existing shared memory" in self._read_log_tail()
                if first_spawn and now - first_spawn > (
                    ORPHAN_RETRY_SECONDS if orphan else START_RETRY_SECONDS
                ):
                    raise self._startup_error(self._read_log_tail())
                pause = min(pause * 2, 0.5) if first_spawn else pause
                first_spawn = first_spawn or now
                self._spawn_server()
            if now - started_at > timeout:
                raise self._startup_error(self._read_log_tail())
            time.sleep(pause)

    def _is_ready(self) -> bool:
        command: list[str | Path] = [
            self.bin_dir / "pg_isready",
            "-q",
            "-h",
            self.socket_dir,
            "-p",
            str(PORT),
        ]
        return subprocess.run(command).returncode == 0

    def _spawn_server(self) -> None:
        settings: list[str | Path] = [f"--{key}={value}" for key, value in self.conf.items()]
        command: list[str | Path] = [
            self.bin_dir / "postgres",
            "-D",
            self.pgdata_dir,
            "-k",
            self.socket_dir,
            "-p",
            str(PORT),
        ]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command + settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._run_as_options(),
            )
        self.started = True

    def _find_server_pid(self) -> int | None:
        """The process id of the running server; None without one. Removes files that a killed server left."""
        pidfile = self.pgdata_dir / "postmaster.pid"
        try:
            pid = int(pidfile.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        if not Path("/proc/self/stat").exists():  # cannot look closer: PostgreSQL judges its own pid file
            return pid if _is_process_alive(pid) else None
        if self._is_server(pid):
            return pid
        for stale in (pidfile, *self.socket_dir.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        return None

    def _is_server(self, pid: int) -> bool:
        """True when the process runs, is no zombie, and is no other program with the same id."""
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            return (
                state != "Z" and name == "postgres" and Path(f"/proc/{pid}/cwd").readlink() == self.pgdata_dir
            )
        except OSError:
            return False

    @contextmanager
    def _lock_root(self) -> Iterator[None]:
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # freed when the file is closed, so also by a kill -9
            yield

    def _run_as_options(self) -> dict[str, Any]:
        if self.os_user is None:
            return {}
        # Not from a directory which the user may not enter: initdb wants to return to where it began.
        return {"user": self.os_user.pw_uid, "group": self.os_user.pw_gid, "extra_groups": [], "cwd": "/"}

    def _can_access(self, test: str, path: Path) -> bool:
        return subprocess.run(["test", test, path], **self._run_as_options()).returncode == 0

    def _give_to_os_user(self, path: Path) -> None:
        if self.os_user:
            os.chown(path, self.os_user.pw_uid, self.os_user.pw_gid)

    def _startup_error(self, output: str) -> EmbeddedPostgresError:
        if NO_SPACE_MESSAGE in output:
            return EmbeddedPostgresError(
                f"No space left on the disk of {self.root}. Make room, or set BULKHEAD_DATA_DIR to another disk."
            )
        return EmbeddedPostgresError(
            f"PostgreSQL doesn't start. Its output:\n{output[-1500:]}\nLog: {self.log_path}"
        )

    def _read_log_tail(self) -> str:
        return self.log_path.read_text(errors="replace")[-1500:] if self.log_path.exists() else ""


def _is_process_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
