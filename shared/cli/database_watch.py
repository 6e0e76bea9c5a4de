"""Keeps the embedded database running while `bulkhead up` runs, and says why when it cannot."""

import time
from collections.abc import Callable

from shared.dev.postgres import EmbeddedPostgres, EmbeddedPostgresError

SECONDS_BETWEEN_STARTS = 5.0


class DatabaseWatch:
    def __init__(self, server: EmbeddedPostgres, print_line: Callable[[str], None]) -> None:
        self._server = server
        self._print_line = print_line
        self._is_reported = False  # that it ended
        self._last_error = ""
        self._next_start = 0.0

    def check(self) -> None:
        """Start the server again when it has ended. A cause is printed once, not with each attempt."""
        if self._server.is_running() or time.monotonic() < self._next_start:
            return
        if not self._is_reported:
            self._print_line(
                f"The database ended unexpectedly. It is started again. Its log: {self._server.log_path}"
            )
            self._is_reported = True
        try:
            self._server.start()
        except EmbeddedPostgresError as error:
            if str(error) != self._last_error:
                self._print_line(f"The database can't start, and is tried again every few seconds. {error}")
            self._last_error = str(error)
            self._next_start = time.monotonic() + SECONDS_BETWEEN_STARTS
        else:
            self._print_line("The database runs again.")
            self._is_reported, self._last_error = False, ""
