"""The process of supervisord: `python -m shared.cli.supervised_process CONFIG`. Started by shared.cli.process_supervisor.

When its parent is killed it stops the parts, and then the embedded database, because no other process is left to do it.
"""

import os
import sys

from supervisor import supervisord

from shared.cli import parent_watch
from shared.cli.database import embedded_server


def main() -> None:
    parent = os.getppid()
    os.environ[parent_watch.SUPERVISOR_VARIABLE] = str(os.getpid())  # the parts are our children
    parent_watch.end_with_parent(parent)
    try:
        supervisord.main(["-c", sys.argv[1]])
    finally:
        server = embedded_server()
        if os.getppid() != parent and server is not None:
            server.stop()


if __name__ == "__main__":
    main()
