"""A clock that jumps: processes get the time of day plus an offset that may change while they run.

A library of a few functions is compiled for it. `python -m tests.support.fake_clock COMMAND …` runs a command where there
is a C compiler, and else fails by name. Waits go by the monotonic clock, which stays as it is.
"""

import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

MISSING = "A C compiler is missing: install one from the system's packages (apt-get install gcc libc6-dev)."
SOURCE = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *seconds;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("FAKE_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(0, sizeof *seconds, PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) seconds = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (!result && seconds && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *seconds;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &exact)) return -1;
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
"""


def find_compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


@dataclass(frozen=True)
class FakeClock:
    """Of the processes that are started with its environment, and of all their children."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "FAKE_CLOCK": str(self._file)}

    @property
    def _library(self) -> Path:
        return self.folder / "fake_clock.so"

    @property
    def _file(self) -> Path:
        return self.folder / "offset"

    def build(self) -> None:
        """Compiles the library. The clock is right at first."""
        compiler = find_compiler()
        assert compiler is not None, MISSING
        source = self.folder / "fake_clock.c"
        source.write_text(SOURCE)
        self._file.write_bytes(struct.pack("q", 0))
        for path in (self.folder, self._file):  # the database may run as another user
            path.chmod(0o755)
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", self._library, source], check=True)

    def set_offset(self, offset: timedelta) -> None:
        """Every process has it at once."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", round(offset.total_seconds())))


def main(command: list[str]) -> int:
    if find_compiler() is None:
        print(MISSING, file=sys.stderr)
        return 2
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
