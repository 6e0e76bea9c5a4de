"""The peers' own environment, made on the first run and again when their lock changed.

After a change of peers.in: uv pip compile tests/bench/peers.in --universal --python-version 3.11 --generate-hashes
--no-emit-index-url --no-header --no-annotate -o tests/bench/peers.lock
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from shared.core.config import settings

LOCK = Path(__file__).parent / "peers.lock"


def python() -> str:
    """Of that environment. Raises CalledProcessError when it cannot be made."""
    home = settings().absolute_data_dir / "venv"
    program, mark = home / "bin" / "python", home / "bulkhead.made"
    known = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if not mark.exists() or mark.read_text() != known:
        print("Installing the peers (once) …", file=sys.stderr, flush=True)
        _run(sys.executable, "-m", "venv", "--clear", str(home))
        pip = (str(program), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes")
        _run(*pip, "-r", str(LOCK))
        mark.write_text(known)
    return str(program)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)
