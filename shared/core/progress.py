"""One line that says what happens, how much of it is done and how long the rest takes.

Uses the standard library only, because it also runs before any package is installed.
"""

import sys
import time
from collections.abc import Callable

MIN_SHARE = 0.05  # below this share of the work, the time left is not known well enough to be shown
SECONDS_BETWEEN_LINES = 10.0  # where the output is a file and no line can be replaced


class ProgressLine:
    """On a terminal one line is replaced; elsewhere a new line follows when the step changes or time has passed."""

    def __init__(
        self,
        title: str,
        *,
        is_terminal: bool | None = None,
        write: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._is_terminal = sys.stdout.isatty() if is_terminal is None else is_terminal
        self._write = write or _write_to_stdout
        self._clock = clock
        self._started_at = clock()
        self._shown_at = -SECONDS_BETWEEN_LINES
        self._shown_step = ""

    def show(self, step: str, share: float, *, detail: str = "") -> None:
        """`share` of the whole work is done, from 0 to 1. `detail` comes before the step: "34 of 104 downloaded"."""
        now = self._clock()
        text = f"{self._title}: {detail}{step}, {share:.0%}{self._time_left(now, share)}"
        if self._is_terminal:
            self._write(f"\r\033[K{text}")
        elif step != self._shown_step or now - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._write(f"{text}\n")
            self._shown_at, self._shown_step = now, step

    def finish(self) -> None:
        """Say how long it took."""
        prefix = "\r\033[K" if self._is_terminal else ""
        self._write(f"{prefix}{self._title}: done in {format_duration(self._clock() - self._started_at)}\n")

    def clear(self) -> None:
        """Leave the line to an error message."""
        if self._is_terminal:
            self._write("\r\033[K")

    def _time_left(self, now: float, share: float) -> str:
        if share < MIN_SHARE:
            return ""
        seconds = (now - self._started_at) * (1 - share) / share
        return f", about {format_duration(seconds)} left"


def format_duration(seconds: float) -> str:
    """ "45 s", or "1 min 20 s" from a minute on."""
    minutes, remainder = divmod(max(1, round(seconds)), 60)
    return f"{minutes} min {remainder} s" if minutes else f"{remainder} s"


def _write_to_stdout(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
