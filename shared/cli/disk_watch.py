"""Says that the disk of the data directory is filling up, before and when it is full."""

import shutil
from collections.abc import Callable
from pathlib import Path

LOW_SPACE_SHARE, LOW_SPACE_MB = 0.05, 1_000  # below both, so that a large disk does not warn early
FULL_SPACE_MB = 32  # below it the database does not start


class DiskWatch:
    def __init__(self, root: Path, print_line: Callable[[str], None]) -> None:
        self._root = root
        self._print_line = print_line
        self._printed = ""

    def check(self) -> None:
        """Print a change between enough space, little space and none."""
        usage = shutil.disk_usage(self._root)
        text = _describe_space(self._root, usage.free, usage.total)
        if text != self._printed:
            self._print_line(text or f"The disk of {self._root} has enough space again.")
            self._printed = text


def is_full(free: int) -> bool:
    """Whether a database on a disk with so many free bytes does not start."""
    return free < FULL_SPACE_MB * 2**20


def is_low(free: int, total: int) -> bool:
    """Whether the disk is almost full. Both in bytes."""
    return free < min(total * LOW_SPACE_SHARE, LOW_SPACE_MB * 2**20)


def _describe_space(root: Path, free: int, total: int) -> str:
    """Both in bytes. "" when there is enough. The text does not change with each byte."""
    if is_full(free):
        return (
            f"No space left on the disk of {root}. Changes can't be saved until there is."
            " Make room: everything goes on automatically then."
        )
    if is_low(free, total):
        return f"The disk of {root} is almost full. Make room before it is."
    return ""
