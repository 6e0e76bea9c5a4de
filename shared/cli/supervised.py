"""The process of supervisord: `python -m shared.cli.supervised CONFIG`. Started by shared.cli.supervision.

When its parent is killed it stops the parts, and then the embedded database, because nobody else is left to do it.
"""

import os
import sys

from supervisor import supervisord

from shared.cli import lifeline
from shared.cli.database import embedded


def main() -> None:
    parent = os.getppid()
    os.environ[lifeline.SUPERVISOR] = str(os.getpid())  # the parts are our children
    lifeline.end_with(parent)
    try:
        supervisord.main(["-c", sys.argv[1]])
    finally:
        server = embedded()
        if os.getppid() != parent and server is not None:
            server.stop()


if __name__ == "__main__":
    main()
