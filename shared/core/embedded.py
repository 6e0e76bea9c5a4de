"""The embedded PostgreSQL server: its directory, its start and its end.

The programs come from elsewhere, the lifecycle is ours: after a kill -9 the wheels' own starters hand out a dead
server. The server outlives whoever started it; a second starter finds it running and uses it. It listens on a socket
in the file system only, and every role has a password: whoever reaches the socket is still nobody.
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

from shared.core import embedded_binaries
from shared.core.embedded_binaries import EmbeddedError

__all__ = ["EmbeddedError", "EmbeddedPostgres"]

SUPERUSER = "postgres"
PORT = 5432  # only part of the socket's name
CONF = {"listen_addresses": "", "max_connections": "200"}
LONGEST_SOCKET = 100  # bytes of its path; the system allows 107
ELSEWHERE = Path("/var/lib/bulkhead")  # for root, when the server's user may not enter the directory
FIRST_NEED, NEED = 150, 32  # MB free before making a data directory, and before starting on one
FIRST_TRIES, ORPHAN_TRIES = 3.0, 30.0  # seconds
NO_SPACE = "No space left on device"


class EmbeddedPostgres:
    def __init__(self, root: str | Path, *, conf: dict[str, str] | None = None) -> None:
        """Cheap: nothing is looked for or made before `start`, except the passwords that are asked for."""
        self.given = Path(root)
        self.conf = CONF | (conf or {})
        self.started = False  # by this object, and not found running
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return self.given.resolve()  # may be a link to ELSEWHERE

    @property
    def data(self) -> Path:
        return self.root / "pgdata"

    @property
    def sockets(self) -> Path:
        near = self.root / "run"
        if len(os.fsencode(near)) + len(f"/.s.PGSQL.{PORT}") <= LONGEST_SOCKET:
            return near
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"bulkhead-{digest}"

    @cached_property
    def programs(self) -> Path:
        return embedded_binaries.find()

    @cached_property
    def user(self) -> pwd.struct_passwd | None:
        """PostgreSQL refuses to run as root; then it runs as this one."""
        if os.geteuid() != 0:
            return None
        known = {one.pw_name: one for one in pwd.getpwall()}
        return known.get("postgres") or known.get("nobody")

    def start(self) -> "EmbeddedPostgres":
        """Returns when it answers. Raises EmbeddedError."""
        self._make_root()
        with self._lock():
            if self.user and not self._may("-x", self.programs / "postgres"):
                self.programs = embedded_binaries.copy(self.programs, self.root)
            if self._pid() is None:
                self._require_space()
            if not self.data.exists():
                self._make_data()
            self._require_same_major()
            self._wait_until_ready()
        return self

    def stop(self, sig: int = signal.SIGINT) -> None:
        """SIGINT is PostgreSQL's fast shutdown: sessions end, what was committed is kept."""
        if not self.root.exists():
            return
        with self._lock():
            pid = self._pid()
            if pid:
                os.kill(pid, sig)
            while pid and self._pid() == pid:
                if self._process:
                    self._process.poll()  # or it stays a zombie of ours
                time.sleep(0.02)
            if self._process:
                self._process.wait(60)
            self._process, self.started = None, False

    def running(self) -> bool:
        return self.data.exists() and self._pid() is not None

    def url(self, role: str = SUPERUSER, database: str = "postgres") -> str:
        host = quote(str(self.sockets), safe="")
        return f"postgresql://{role}:{self.secret(role)}@/{database}?host={host}&port={PORT}"

    def secret(self, role: str) -> str:
        """The role's password, made when first asked for and kept in a file that only its owner reads."""
        path = self.root / f"{role}.pw"
        if not path.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            handle, draft = tempfile.mkstemp(prefix=f"{role}-", dir=self.root)
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(24))
            try:
                os.link(draft, path)  # whoever is second uses the first one's
            except FileExistsError:
                pass
            os.unlink(draft)
        return path.read_text()

    # ── the directory ────────────────────────────────────────────────────────────────────────────────────────────

    def _make_root(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        if self.user and not self._may("-d", self.root / "."):
            self._move_root()
        self.sockets.mkdir(exist_ok=True)
        if self.sockets.stat().st_uid not in {os.geteuid(), self.user.pw_uid if self.user else os.geteuid()}:
            raise EmbeddedError(
                f"{self.sockets} belongs to somebody else. Remove it, or set BULKHEAD_DATA_DIR."
            )
        self._own(self.sockets)
        for path in (self.root, self.sockets):
            path.chmod(0o711 if self.user else 0o700)

    def _move_root(self) -> None:
        """Below /root, say, the server's user could not enter: the directory becomes a link to one it can."""
        assert self.user
        away = ELSEWHERE / hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        if self.data.exists() or self.given.is_symlink():
            raise EmbeddedError(
                f"PostgreSQL runs as {self.user.pw_name}, who may not enter {self.root}."
                " Open its parent directories to others (chmod o+x), or set BULKHEAD_DATA_DIR."
            )
        if away.exists():  # of a data directory that somebody removed: theirs to keep or to delete
            away.rename(away.with_name(f"{away.name}.{int(time.time())}"))
        away.mkdir(parents=True)
        for path in (ELSEWHERE, away):
            path.chmod(0o711)
        for path in self.root.iterdir():
            shutil.move(path, away / path.name)
        self.root.rmdir()
        self.given.symlink_to(away)

    def _require_space(self) -> None:
        need = NEED if self.data.exists() else FIRST_NEED
        free = shutil.disk_usage(self.root).free // 2**20
        if free < need:
            raise EmbeddedError(
                f"No space left on the disk of {self.root}: {free} MB are free and the database needs {need} MB."
                " Make room, or set BULKHEAD_DATA_DIR to a directory on another disk."
            )

    def _make_data(self) -> None:
        """In a scratch directory first: a killed initdb leaves garbage, never a data directory."""
        for garbage in self.root.glob("initdb-*"):
            shutil.rmtree(garbage, ignore_errors=True)
        self.secret(SUPERUSER)
        self._own(self.root / f"{SUPERUSER}.pw")
        fresh = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.root))
        self._own(fresh)
        # fmt: off
        command: list[str | Path] = [
            self.programs / "initdb", "-D", fresh, "-U", SUPERUSER, "--pwfile", self.root / f"{SUPERUSER}.pw",
            "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions",
        ]
        # fmt: on
        done = subprocess.run(command, capture_output=True, text=True, **self._as_user())
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise self._trouble(done.stderr)
        fresh.rename(self.data)

    def _require_same_major(self) -> None:
        have = (self.data / "PG_VERSION").read_text().strip()
        if have != (ours := embedded_binaries.major(self.programs)):
            raise EmbeddedError(
                f"The data directory {self.data} was made by PostgreSQL {have}, and the programs here are"
                f" PostgreSQL {ours}. Set BULKHEAD_PG_BIN to the programs of PostgreSQL {have}, or upgrade the data"
                " with pg_upgrade, or set BULKHEAD_DATA_DIR to begin with an empty database."
            )

    # ── the process ──────────────────────────────────────────────────────────────────────────────────────────────

    def _wait_until_ready(self, timeout: float = 60) -> None:
        begun, first_spawn, pause = time.monotonic(), 0.0, 0.02
        while not self._answers():
            now = time.monotonic()
            if self._pid() is None and (self._process is None or self._process.poll() is not None):
                # A busy backend survives its killed server, and PostgreSQL waits for it rather than share its memory.
                orphan = "pre-existing shared memory" in self._log_tail()
                if first_spawn and now - first_spawn > (ORPHAN_TRIES if orphan else FIRST_TRIES):
                    raise self._trouble(self._log_tail())
                pause = min(pause * 2, 0.5) if first_spawn else pause
                first_spawn = first_spawn or now
                self._spawn()
            if now - begun > timeout:
                raise self._trouble(self._log_tail())
            time.sleep(pause)

    def _answers(self) -> bool:
        command: list[str | Path] = [self.programs / "pg_isready", "-q", "-h", self.sockets, "-p", str(PORT)]
        return subprocess.run(command).returncode == 0

    def _spawn(self) -> None:
        settings: list[str | Path] = [f"--{key}={value}" for key, value in self.conf.items()]
        command: list[str | Path] = [
            self.programs / "postgres",
            "-D",
            self.data,
            "-k",
            self.sockets,
            "-p",
            str(PORT),
        ]
        with (self.root / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                command + settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_user(),
            )
        self.started = True

    def _pid(self) -> int | None:
        """Of the live server of this data directory. Removes what a killed one left behind."""
        pidfile = self.data / "postmaster.pid"
        try:
            pid = int(pidfile.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        if not Path("/proc/self/stat").exists():  # cannot look closer: PostgreSQL judges its own pid file
            return pid if _exists(pid) else None
        if self._is_server(pid):
            return pid
        for stale in (pidfile, *self.sockets.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        return None

    def _is_server(self, pid: int) -> bool:
        """Not dead, not a zombie, and not another program that was given the same number."""
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            return state != "Z" and name == "postgres" and Path(f"/proc/{pid}/cwd").readlink() == self.data
        except OSError:
            return False

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # freed when the file is closed, so also by a kill -9
            yield

    def _as_user(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        # Not from a directory which the user may not enter: initdb wants to return to where it began.
        return {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": [], "cwd": "/"}

    def _may(self, test: str, path: Path) -> bool:
        return subprocess.run(["test", test, path], **self._as_user()).returncode == 0

    def _own(self, path: Path) -> None:
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def _trouble(self, said: str) -> EmbeddedError:
        if NO_SPACE in said:
            return EmbeddedError(
                f"No space left on the disk of {self.root}. Make room, or set BULKHEAD_DATA_DIR to another disk."
            )
        return EmbeddedError(
            f"PostgreSQL does not start. It said:\n{said[-1500:]}\nLog: {self.root / 'postgres.log'}"
        )

    def _log_tail(self) -> str:
        log = self.root / "postgres.log"
        return log.read_text(errors="replace")[-1500:] if log.exists() else ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
