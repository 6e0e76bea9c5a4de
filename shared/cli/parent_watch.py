"""End this process when its parent process ends, even when the parent was killed."""

import os
import signal
import threading
import time

SUPERVISOR_VARIABLE = "BULKHEAD_SUPERVISOR"  # process id of the parent to end with
GRACE_SECONDS = 10  # seconds between asking ourselves to stop and stopping


def end_with_parent(parent_pid: int) -> None:
    """`parent_pid` is the id of the parent process. When the parent ends, this process gets another parent id."""
    threading.Thread(target=_watch_parent, args=(parent_pid,), daemon=True).start()


def end_with_supervisor() -> None:
    """Without `SUPERVISOR_VARIABLE`, the process was started by hand and has no supervisor."""
    if parent := os.environ.get(SUPERVISOR_VARIABLE):
        end_with_parent(int(parent))


def _watch_parent(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
