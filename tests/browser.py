"""A Chromium for the browser tests: one that is here, Debian's, or Playwright's. `python -m tests.browser`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SYSTEM = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
NOTHING = (
    "The browser tests need a Chromium, and none could be installed. Install one (Debian: apt-get install chromium;"
    " elsewhere: .venv/bin/playwright install --with-deps chromium), or run `make test-fast`, which needs none."
)


def find() -> str:
    """ "" when there is none."""
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return next((path for path in (own, *SYSTEM) if _works(path)), "")


def install() -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium")
    if not find():
        deps = ["--with-deps"] if os.geteuid() == 0 else []
        _run(sys.executable, "-m", "playwright", "install", *deps, "chromium")


def _works(path: str) -> bool:
    """A package of that name may only be a note where to get one."""
    if not Path(path).exists():
        return False
    try:
        return (
            subprocess.run([path, "--version", "--no-sandbox"], capture_output=True, timeout=30).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(*command: str) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=False)


def main() -> None:
    if not find():
        print("Installing a Chromium (once) …", flush=True)
        install()
    if not find():
        sys.exit(NOTHING)


if __name__ == "__main__":
    main()
