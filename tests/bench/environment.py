"""The peers' own environment, made on the first run and again when their lock changed.

After a change of peers.in: uv pip compile tests/bench/peers.in --universal --python-version 3.11 --generate-hashes
--no-emit-index-url --no-header --no-annotate -o tests/bench/peers.lock
"""

import fcntl
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.broken import Broken, with_last_line

LOCK = Path(__file__).parent / "peers.lock"
HOME = (
    Path(__file__).parents[2] / ".bulkhead" / "bench" / "venv"
)  # one for all, whatever the data directory is


def python() -> str:
    """Of that environment. Raises Broken when it cannot be made."""
    program, mark = HOME / "bin" / "python", HOME / "bulkhead.made"
    fingerprint = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    HOME.parent.mkdir(parents=True, exist_ok=True)
    with HOME.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits for the first
        if not mark.exists() or mark.read_text() != fingerprint:
            print("Installing the peers (once) …", file=sys.stderr, flush=True)
            _run(sys.executable, "-m", "venv", "--clear", str(HOME))
            pip = (str(program), "-m", "pip", "install", "-q", "--disable-pip-version-check")
            _run(*pip, "--require-hashes", "--no-deps", "-r", str(LOCK))
            mark.write_text(fingerprint)
    return str(program)


def _run(*command: str) -> None:
    with tempfile.TemporaryFile() as written:
        if subprocess.run(command, check=False, stdout=written, stderr=written).returncode:
            raise Broken(with_last_line("the peers could not be installed", written))
