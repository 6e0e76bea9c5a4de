"""The parts of a running installation, under supervisord: started again when one ends, stopped together.

docs/decisions/2026-11-24-supervision.md says why supervisord, and why it is a process of its own.
"""

import getpass
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

ROOT = Path(__file__).parents[2]
SERVICES = {  # name of its log: arguments of `bulkhead`
    "stand-ins": "serve stand-ins",
    "tenant": "serve tenant",
    "admin": "serve admin",
    "worker": "worker",
}
STOP_TIMEOUT = 8  # seconds for one part, then it is killed
MAX_SOCKET_PATH_BYTES = 90  # bytes of its path; the system allows 107 and supervisord adds some


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    name: str
    state: str  # supervisord's word, RUNNING say
    pid: int
    last_exit: str  # how it ended last, "" when it never did


class ProcessSupervisor:
    def __init__(self, root: Path) -> None:
        self.logs = root / "logs"
        self._run_dir = root / "run"
        self._socket = _short_socket_path(self._run_dir / "supervisor.sock")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for folder in (self.logs, self._run_dir):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o700)  # also one of an earlier version
        config = self._run_dir / "supervisord.conf"
        config.write_text(self._render_config())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "shared.cli.supervised_process", config],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.logs / "supervisor.err").open("wb"),
            umask=0o077,  # of every part: logs, mails and databases of the stand-ins are for their owner only
            start_new_session=True,  # a Ctrl-C in the terminal reaches `up`, and `up` stops us in order
        )

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def list_processes(self) -> list[ServiceProcess]:
        """Empty while supervisord itself is not ready yet."""
        try:
            process_infos = self._connect().supervisor.getAllProcessInfo()
        except (OSError, Fault):
            return []
        assert isinstance(process_infos, list)
        return [
            ServiceProcess(info["name"], info["statename"], info["pid"], self._describe_exit(info))
            for info in process_infos
        ]

    def start_process(self, name: str) -> None:
        """Start a part that supervisord gave up."""
        with suppress(OSError, Fault):
            self._connect().supervisor.startProcess(name, False)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT * 2)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the parts notice and end
            self._process.wait()

    def _connect(self) -> ServerProxy:
        transport = SupervisorTransport(None, None, serverurl=f"unix://{self._socket}")
        return ServerProxy("http://127.0.0.1", transport=transport)

    def _describe_exit(self, info: dict[str, int | str]) -> str:
        """From the log of supervisord, whose answer knows the status of a process only until it is started again."""
        if not info["stop"]:
            return ""
        log = self.logs / "supervisor.log"
        pattern = rf"exited: {info['name']} \((?:terminated by (\w+)|exit status (\d+))"
        exits = re.findall(pattern, log.read_text()) if log.exists() else []
        if not exits:
            return "ended"
        signal_name, status = exits[-1]
        return f"was killed ({signal_name})" if signal_name else f"ended with status {status}"

    def read_log_tail(self, name: str) -> str:
        log = self.logs / f"{name}.log"
        return log.read_text(errors="replace")[-1500:].rstrip() if log.exists() else ""

    def _render_config(self) -> str:
        user = f"user={getpass.getuser()}" if os.geteuid() == 0 else ""  # or it warns, as root
        lines = f"""
            [supervisord]
            nodaemon=true
            silent=true
            {user}
            logfile={_escape_path(self.logs / "supervisor.log")}
            logfile_maxbytes=1MB
            logfile_backups=1
            pidfile={_escape_path(self._run_dir / "supervisor.pid")}

            [unix_http_server]
            file={_escape_path(self._socket)}
            chmod=0700

            [rpcinterface:supervisor]
            supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
        """ + "".join(
            f"""
            [program:{name}]
            command="{_escape_path(Path(sys.executable))}" -m shared.cli {arguments}
            directory={_escape_path(ROOT)}
            autorestart=true
            startsecs=3
            startretries=3
            stopwaitsecs={STOP_TIMEOUT}
            stopasgroup=true
            killasgroup=true
            redirect_stderr=true
            stdout_logfile={_escape_path(self.logs / name)}.log
            stdout_logfile_maxbytes=5MB
            stdout_logfile_backups=1
            """
            for name, arguments in SERVICES.items()
        )
        return "\n".join(line.strip() for line in lines.splitlines())


def _escape_path(path: Path) -> str:
    return str(path).replace("%", "%%")


def _short_socket_path(socket: Path) -> Path:
    if len(os.fsencode(socket)) <= MAX_SOCKET_PATH_BYTES:
        return socket
    digest = hashlib.sha256(os.fsencode(socket)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"bulkhead-{digest}.sock"
