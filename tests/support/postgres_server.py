"""A database server of its own for tests that change what all databases of a server share, or stop the server."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.dev.postgres import EmbeddedPostgres
from tests.support.database import WITHOUT_DISK


@contextmanager
def run_own_server() -> Iterator[EmbeddedPostgres]:
    """A new, empty server. It ends with the block."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-pg-") as folder:
        Path(folder).chmod(0o711)  # the server's user is another one where tests run as root
        server = EmbeddedPostgres(Path(folder) / "postgres", conf=WITHOUT_DISK).start()
        try:
            yield server
        finally:
            server.stop(signal.SIGQUIT)
