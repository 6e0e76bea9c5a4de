"""A receiver of webhooks in a process of its own, which is killed with -9 and started again on the same port.

What it has received is in a file, also what it never answered.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.webhook_receiver import HOST, ReceivedRequest

PROGRAM = Path(__file__).with_name("recording_receiver.py")


@dataclass
class ReceiverProcess:
    file: Path
    port: int = 0
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/hook"

    @property
    def target(self) -> tuple[str, int]:
        return HOST, self.port

    def start(self, *, delay_s: float = 0.0) -> None:
        """`delay_s`: between a request and its answer."""
        command = [sys.executable, str(PROGRAM), str(self.port), str(self.file), str(delay_s)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def list_requests(self) -> list[ReceivedRequest]:
        """In the order in which they came."""
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [ReceivedRequest(**json.loads(line)) for line in lines]


@contextmanager
def run_process(file: Path, *, delay_s: float = 0.0) -> Iterator[ReceiverProcess]:
    receiver = ReceiverProcess(file)
    receiver.start(delay_s=delay_s)
    try:
        yield receiver
    finally:
        receiver.kill()
