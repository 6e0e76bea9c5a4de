"""Install a lock file with pip, and say how far it is. `python -m shared.dev.install_packages FILE`.

Uses the standard library only: it runs before any package is installed. The lock files are complete, so `--no-deps`
keeps a package that is released tomorrow from changing the installation.
"""

import queue
import re
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path

from shared.core.progress import ProgressLine

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-color")
INSTALL = (*PIP, "install", "--progress-bar", "off", "--require-hashes", "--no-deps", "--no-compile", "-r")
REQUIREMENT = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[^]]*\])?==", re.MULTILINE)
FETCHED = re.compile(r"^(Collecting |Processing |Requirement already satisfied: )")
SHOWN_LINES = 20  # of pip's output, when it fails
OFFLINE = (
    "The packages could not be installed; the lines above say why. The first run needs the network, or a package index"
    " that pip knows. Later runs don't."
)


def install(lock_file: Path) -> int:
    """Returns pip's exit status. When it is not 0, the end of pip's output was printed."""
    total = len(REQUIREMENT.findall(lock_file.read_text()))
    progress = ProgressLine("Packages")
    process = subprocess.Popen(
        [*INSTALL, lock_file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = _read_in_background(process)
    output: list[str] = []
    fetched_count, ignored_count, is_installing = 0, 0, False
    while (line := _next_line(lines)) is not None:
        output.append(line)
        fetched_count += bool(FETCHED.match(line))
        ignored_count += line.startswith("Ignoring ")
        is_installing = is_installing or line.startswith("Installing collected packages")
        total_wanted = max(1, total - ignored_count)
        installed_count = _count_installed() if is_installing else 0
        count, step = (installed_count, "installed") if is_installing else (fetched_count, "downloaded")
        share = min(0.99, (fetched_count + installed_count) / (2 * total_wanted))
        progress.show(step, share, detail=f"{min(count, total_wanted)} of {total_wanted} ")
    status = process.wait()
    if status:
        progress.clear()
        sys.stderr.write("".join([*output[-SHOWN_LINES:], OFFLINE, "\n"]))
    else:
        progress.show("compiling", 0.99)
        _compile_packages()
        progress.finish()
    return status


def _compile_packages() -> None:
    """On all cores; pip would do it on one. Templates among the packages that are no Python are left as they are."""
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0", sysconfig.get_path("purelib")]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _read_in_background(process: subprocess.Popen[str]) -> queue.Queue[str | None]:
    """pip says nothing while it installs, so that its lines can't be what the progress waits for."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _next_line(lines: queue.Queue[str | None]) -> str | None:
    """The next line; "" when none came for half a second, None after the last one."""
    try:
        return lines.get(timeout=0.5)
    except queue.Empty:
        return ""


def _count_installed() -> int:
    return sum(1 for _ in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))


def main() -> int:
    status = install(Path(sys.argv[1]))
    if status:
        return status
    check = subprocess.run([*PIP, "check"], capture_output=True, text=True, check=False)
    if check.returncode:
        sys.stderr.write(check.stdout)
    return check.returncode


if __name__ == "__main__":
    sys.exit(main())
