"""The parts of a running installation, under supervisord: started again when one ends, stopped together.

docs/decisions/2026-11-24-supervision.md says why supervisord, and why it is a process of its own.
"""

import getpass
import hashlib
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

ROOT = Path(__file__).parents[2]
PARTS = {  # name of its log: arguments of `bulkhead`
    "stand-ins": "serve stand-ins",
    "tenant": "serve tenant",
    "admin": "serve admin",
    "worker": "worker",
}
STOP_WITHIN = 8  # seconds for one part, then it is killed
LONGEST_SOCKET = 90  # bytes of its path; the system allows 107 and supervisord adds some


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    state: str  # supervisord's word, RUNNING say
    pid: int
    ended: str  # how it ended last, "" when it never did


class Supervision:
    def __init__(self, root: Path) -> None:
        self.logs = root / "logs"
        self._run = root / "run"
        self._socket = _short(self._run / "supervisor.sock")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for folder in (self.logs, self._run):
            folder.mkdir(exist_ok=True)
        config = self._run / "supervisord.conf"
        config.write_text(self._config())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "shared.cli.supervised", config],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.logs / "supervisor.err").open("wb"),
            start_new_session=True,  # a Ctrl-C in the terminal reaches `up`, and `up` stops us in order
        )

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def parts(self) -> list[Part]:
        """Empty while supervisord itself is not ready yet."""
        server = ServerProxy(
            "http://127.0.0.1", transport=SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        )
        try:
            found = server.supervisor.getAllProcessInfo()
        except (OSError, Fault):
            return []
        assert isinstance(found, list)
        return [Part(one["name"], one["statename"], one["pid"], _ending(one)) for one in found]

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_WITHIN * 2)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the parts notice and end
            self._process.wait()

    def last_words(self, part: str) -> str:
        log = self.logs / f"{part}.log"
        return log.read_text(errors="replace")[-1500:].rstrip() if log.exists() else ""

    def _config(self) -> str:
        user = f"user={getpass.getuser()}" if os.geteuid() == 0 else ""  # or it warns, as root
        lines = f"""
            [supervisord]
            nodaemon=true
            silent=true
            {user}
            logfile={_text(self.logs / "supervisor.log")}
            logfile_maxbytes=1MB
            logfile_backups=1
            pidfile={_text(self._run / "supervisor.pid")}

            [unix_http_server]
            file={_text(self._socket)}
            chmod=0700

            [rpcinterface:supervisor]
            supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
        """ + "".join(
            f"""
            [program:{name}]
            command="{_text(Path(sys.executable))}" -m shared.cli {words}
            directory={_text(ROOT)}
            autorestart=true
            startsecs=3
            startretries=3
            stopwaitsecs={STOP_WITHIN}
            stopasgroup=true
            killasgroup=true
            redirect_stderr=true
            stdout_logfile={_text(self.logs / name)}.log
            stdout_logfile_maxbytes=5MB
            stdout_logfile_backups=1
            """
            for name, words in PARTS.items()
        )
        return "\n".join(line.strip() for line in lines.splitlines())


def _text(path: Path) -> str:
    return str(path).replace("%", "%%")


def _short(socket: Path) -> Path:
    if len(os.fsencode(socket)) <= LONGEST_SOCKET:
        return socket
    digest = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"bulkhead-{digest}.sock"


def _ending(info: dict[str, int]) -> str:
    """supervisord keeps the exit status of the last time: -1 stands for a signal, or for a failed start."""
    if not info["stop"]:
        return ""
    status = info["exitstatus"]
    return "was killed" if status == -1 else f"ended with status {status}"
