"""Why a measurement does not count."""

import os
from typing import IO


class Broken(Exception):
    """A wrong answer, a page that does not come, a listener that is not ours. The message goes into the row."""


def reason(problem: Exception) -> str:
    """Its first line, after its kind where it is not one of ours."""
    text = next((line for line in str(problem).splitlines() if line.strip()), "")
    if isinstance(problem, Broken):
        return text or type(problem).__name__
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def with_last_line(message: str, written: IO[bytes]) -> str:
    """`message`, then the last line that a child wrote to this file. The child's own position in it stays."""
    size = os.fstat(written.fileno()).st_size
    tail = os.pread(written.fileno(), 4_096, max(0, size - 4_096)).decode(errors="replace")
    lines = [line.strip() for line in tail.splitlines() if line.strip()]
    return f"{message}: {lines[-1]}" if lines else message
