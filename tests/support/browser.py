"""A Chromium for the browser tests: one that is here, Debian's, or Playwright's. `python -m tests.support.browser`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, Playwright, sync_playwright

# Made for this, and cheaper than a whole browser whose window nobody sees.
SHELL_PACKAGE = "chromium-headless-shell"
SYSTEM_PATHS = (
    f"/usr/bin/{SHELL_PACKAGE}",
    "/usr/bin/chromium",
    "/usr/bin/chromium-browser",
    "/usr/bin/google-chrome",
)
NOT_INSTALLED_TEXT = (
    "The browser tests need a Chromium, and none could be installed. Install one (Debian: apt-get install chromium;"
    " elsewhere: .venv/bin/playwright install --with-deps chromium), or run `make test-fast`, which needs none."
)


def find_browser(playwright: Playwright) -> str:
    """Playwright's own, or the distribution's; "" when there is none."""
    return next((path for path in (playwright.chromium.executable_path, *SYSTEM_PATHS) if _can_run(path)), "")


def launch_browser(playwright: Playwright, *arguments: str) -> Browser:
    """Without what a browser asks the world of its own accord. `arguments`: more of its command line."""
    quiet = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
    return playwright.chromium.launch(executable_path=find_browser(playwright), args=[*quiet, *arguments])


def install_browser() -> None:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        _run_command("apt-get", "update", "-qq")
        for package in (SHELL_PACKAGE, "chromium"):
            if not is_installed():
                _run_command(
                    *"apt-get install -y -qq --no-install-recommends fonts-liberation".split(), package
                )
    if not is_installed():
        deps = ["--with-deps"] if os.geteuid() == 0 else []
        _run_command(sys.executable, "-m", "playwright", "install", *deps, "chromium")


def is_installed() -> bool:
    with sync_playwright() as playwright:
        return bool(find_browser(playwright))


def _can_run(path: str) -> bool:
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


def _run_command(*command: str) -> None:
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=False)


def main() -> None:
    if not is_installed():
        print("Installing a Chromium (once) …", flush=True)
        install_browser()
    if not is_installed():
        sys.exit(NOT_INSTALLED_TEXT)


if __name__ == "__main__":
    main()
