"""Servers under measurement, each a child of ours. A stranger on a port is a reason not to measure."""

import os
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench import nonce, sockets
from tests.bench.broken import Broken, with_last_line

ROOT = Path(__file__).parents[2]
START_WITHIN, STOP_WITHIN = 180, 10  # seconds


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    pid: int
    word: str

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def is_ours(self) -> bool:
        """Nobody else listens at its port, and it knows what only the child was told."""
        try:
            with urllib.request.urlopen(self.url + nonce.PATH, timeout=2) as response:
                answer = response.read().decode()
        except OSError:
            return False
        listeners = {
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.laddr
            and connection.laddr.port == self.port
        }
        return listeners == {self.pid} and answer == self.word

    def require_ours(self) -> None:
        if not self.is_ours():
            raise Broken(f"the listener at port {self.port} is not the {self.name} that was started")

    def socket_bytes(self) -> int:
        """That its websockets took on the wire so far. Raises Broken where it does not count them."""
        try:
            with urllib.request.urlopen(self.url + sockets.PATH, timeout=5) as response:
                return int(response.read())
        except (OSError, ValueError) as problem:
            raise Broken(f"{self.name} does not say how many bytes its websockets took") from problem

    def cpu(self) -> float:
        """Milliseconds of user and system time so far, its children's included."""
        spent = psutil.Process(self.pid).cpu_times()
        return 1_000 * (spent.user + spent.system + spent.children_user + spent.children_system)


@contextmanager
def serving(name: str, port: int, command: list[str], env: dict[str, str]) -> Iterator[Server]:
    """Raises Broken when the port is taken or the server does not come."""
    _require_free(port, name)
    word, log = secrets.token_hex(16), ROOT / ".artifacts" / f"bench-{name}.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | env | {nonce.VARIABLE: word},
            stdin=subprocess.PIPE,  # its end is ours: the peers stop with it
            stdout=out,
            stderr=out,
        )
    server = Server(name, port, process.pid, word)
    try:
        until = time.monotonic() + START_WITHIN
        while not server.is_ours():
            if process.poll() is not None or time.monotonic() > until:
                with log.open("rb") as written:
                    raise Broken(
                        with_last_line(f"{name} does not start; see {log.relative_to(ROOT)}", written)
                    )
            time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _require_free(port: int, name: str) -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as probe:
            probe.settimeout(2)
            if probe.connect_ex((address, port)) == 0:
                raise Broken(f"port {port} of {name} is taken")
