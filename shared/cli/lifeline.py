"""Ending with whoever started us, even when they were killed and could not say so."""

import os
import signal
import threading
import time

SUPERVISOR = "BULKHEAD_SUPERVISOR"  # process id of the parent to end with
GRACE = 10  # seconds between asking ourselves to stop and stopping


def end_with(parent: int) -> None:
    """`parent` has to be the parent process: whoever adopts us has another number."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def end_with_supervisor() -> None:
    if parent := os.environ.get(SUPERVISOR):
        end_with(int(parent))


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
