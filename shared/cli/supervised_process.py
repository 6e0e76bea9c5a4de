"""The process of supervisord: `python -m shared.cli.supervised_process CONFIG`. Started by shared.cli.process_supervisor.

When its parent is killed it stops the parts, and then the embedded database, because no other process is left to do it.
"""

import os
import sys
from contextlib import suppress
from typing import TextIO, cast

from supervisor import supervisord

from shared.cli import parent_watch
from shared.cli.database import embedded_server


class _QuietStream:
    """The standard error of supervisord, without its errors.

    When a log can't be written, supervisord prints a traceback. On a full disk that fails too, and would end it with
    all parts.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return False


def main() -> None:
    parent = os.getppid()
    os.environ[parent_watch.SUPERVISOR_VARIABLE] = str(os.getpid())  # the parts are our children
    parent_watch.end_with_parent(parent)
    sys.stderr = cast(TextIO, _QuietStream(sys.stderr))
    try:
        supervisord.main(["-c", sys.argv[1]])
    finally:
        server = embedded_server()
        if os.getppid() != parent and server is not None:
            server.stop()


if __name__ == "__main__":
    main()
