"""What a killed `bulkhead up` left behind: exactly the processes it wrote down, known by id and time of birth."""

import json
from collections.abc import Iterable
from pathlib import Path

import psutil

STOP_TIMEOUT = 10  # seconds; they notice by themselves and are stopping already


def write_record(record: Path, pids: Iterable[int]) -> None:
    """All or nothing, so that a kill between two bytes leaves the last list."""
    draft = record.with_suffix(".new")
    draft.write_text(json.dumps([[pid, started_at] for pid in pids if (started_at := _get_start_time(pid))]))
    draft.replace(record)


def end_recorded(record: Path) -> int:
    """How many were still there."""
    processes = [
        process for pid, started_at in _read_record(record) if (process := _find_process(pid, started_at))
    ]
    for process in processes:
        _send_signal(process, "terminate")
    _, stubborn = psutil.wait_procs(processes, timeout=STOP_TIMEOUT)
    for process in stubborn:
        _send_signal(process, "kill")
    psutil.wait_procs(stubborn, timeout=STOP_TIMEOUT)
    record.unlink(missing_ok=True)
    return len(processes)


def _read_record(record: Path) -> list[tuple[int, float]]:
    try:
        return [(int(pid), float(started_at)) for pid, started_at in json.loads(record.read_text())]
    except (OSError, ValueError, TypeError):
        return []


def _get_start_time(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _find_process(pid: int, started_at: float) -> psutil.Process | None:
    return psutil.Process(pid) if abs(_get_start_time(pid) - started_at) < 0.5 else None


def _send_signal(process: psutil.Process, verb: str) -> None:
    try:
        getattr(process, verb)()
    except psutil.NoSuchProcess:
        pass
