"""The data directory: its space, who can read it, and when the long tests and the bench last ran."""

import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from shared.cli import disk_watch
from shared.cli.doctor.check_results import CheckResult, failed, ok, warning
from shared.core.config import DEVELOPMENT_KEY_FILE, settings

LAST_RUNS = (
    "last-runs"  # one empty file per target of the Makefile; its time says when the target last succeeded
)
TARGETS = ("test-long", "bench", "attack")
PRIVATE_SUFFIXES = (".keys", ".sqlite", ".sqlite-wal", ".jsonl", ".log")
SHOWN = 3


def check_disk() -> Iterator[CheckResult]:
    root = settings().absolute_data_dir
    if not root.is_dir():
        yield warning(
            "disk", "The data directory doesn't exist yet.", "Create it, or set BULKHEAD_DATA_DIR to it."
        )
        return
    usage = shutil.disk_usage(root)
    text = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB are free in the data directory."
    if disk_watch.is_full(usage.free):
        yield failed("disk", text, "Make room: nothing can be saved until there is.")
    elif disk_watch.is_low(usage.free, usage.total):
        yield warning("disk", text, "Make room before it is full.")
    else:
        yield ok("disk", text)


def check_files() -> Iterator[CheckResult]:
    root = settings().absolute_data_dir
    if not root.is_dir():
        return
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        yield failed(
            "files",
            "The user of this process can't write into the data directory.",
            "Give it to the user that runs Bulkhead.",
        )
        return
    exposed = sorted(
        path.name
        for path in [*root.glob("*"), *root.glob("logs/*")]
        if _is_private(path) and _is_exposed(path)
    )
    if not exposed:
        yield ok("files", "Other users of this machine can't read keys, logs, mails and databases.")
        return
    text = f"Other users of this machine can read {', '.join(exposed[:SHOWN])} in the data directory ({len(exposed)} files)."
    next_step = "Run chmod go-rwx on them; whoever read the master keys may have copied them."
    if DEVELOPMENT_KEY_FILE in exposed:
        yield failed("files", text, next_step)
    else:
        yield warning("files", text, next_step)


def _is_private(path: Path) -> bool:
    return path.is_file() and path.name.endswith(PRIVATE_SUFFIXES)


def _is_exposed(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def check_last_runs() -> Iterator[CheckResult]:
    """Of development: production has no record of them, and no need to."""
    if settings().is_production:
        return
    for target in TARGETS:
        path = settings().absolute_data_dir / LAST_RUNS / target
        if path.exists():
            ran_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            yield ok(f"make {target}", f"Last succeeded on {ran_at:%-d %B %Y at %H:%M} UTC.")
        else:
            yield ok(f"make {target}", "No success is recorded in this data directory.")
