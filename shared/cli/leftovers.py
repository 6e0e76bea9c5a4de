"""What a killed `bulkhead up` left behind: exactly the processes it wrote down, known by id and time of birth."""

import json
from collections.abc import Iterable
from pathlib import Path

import psutil

PATIENCE = 10  # seconds; they notice by themselves and are stopping already


def write(record: Path, pids: Iterable[int]) -> None:
    """All or nothing, so that a kill between two bytes leaves the last list."""
    draft = record.with_suffix(".new")
    draft.write_text(json.dumps([[pid, born] for pid in pids if (born := _born(pid))]))
    draft.replace(record)


def end(record: Path) -> int:
    """How many were still there."""
    left = [process for pid, born in _read(record) if (process := _find(pid, born))]
    for process in left:
        _signal(process, "terminate")
    _, stubborn = psutil.wait_procs(left, timeout=PATIENCE)
    for process in stubborn:
        _signal(process, "kill")
    psutil.wait_procs(stubborn, timeout=PATIENCE)
    record.unlink(missing_ok=True)
    return len(left)


def _read(record: Path) -> list[tuple[int, float]]:
    try:
        return [(int(pid), float(born)) for pid, born in json.loads(record.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _born(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _find(pid: int, born: float) -> psutil.Process | None:
    return psutil.Process(pid) if abs(_born(pid) - born) < 0.5 else None


def _signal(process: psutil.Process, verb: str) -> None:
    try:
        getattr(process, verb)()
    except psutil.NoSuchProcess:
        pass
