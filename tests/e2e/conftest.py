"""The whole house, started by its own command, and people with browsers of their own in front of it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

ROOT = Path(__file__).parents[2]
SHOTS = ROOT / ".artifacts" / "shots"
TENANT, ADMIN, SANDBOX = (f"http://localhost:{port}" for port in (3100, 3101, 3102))
PASSWORD = "violet teapot under the bridge"
DEMO = "bulkhead-demo"


def chromium(playwright: Playwright) -> Browser:
    """Playwright's own, or the distribution's."""
    own = Path(playwright.chromium.executable_path)
    found = own if own.exists() else Path("/usr/bin/chromium")
    return playwright.chromium.launch(
        executable_path=str(found),
        args=[
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
        ],
    )


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@dataclass
class House:
    process: subprocess.Popen[bytes]
    env: dict[str, str]
    tenant: str = TENANT
    admin: str = ADMIN
    sandbox: str = SANDBOX
    taken: set[str] = field(default_factory=set)

    def mails(self, to: str) -> list[dict[str, str]]:
        """Newest last: keys `to`, `subject`, `text`."""
        with urllib.request.urlopen(f"{self.sandbox}/mail.json", timeout=5) as response:
            return [mail for mail in json.load(response) if to in mail["to"]]

    def link(self, to: str, part: str, *, seconds: float = 30) -> str:
        """The first address with `part` in the newest mail to this person that has one; waits for the mail."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for mail in reversed(self.mails(to)):
                for word in mail["text"].split():
                    if word.startswith("http") and part in word and word not in self.taken:
                        self.taken.add(word)
                        return word
            time.sleep(0.2)
        raise AssertionError(f"no mail with {part} for {to}")

    def command(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "shared.cli", *words],
            cwd=ROOT,
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One house, so one process for all who visit it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture(scope="session", autouse=True)
def schema() -> None:
    """The house brings its own database."""


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """Those of the house are its own."""


@pytest.fixture(scope="session")
def house() -> Iterator[House]:
    env = os.environ | {
        "BULKHEAD_DATA_DIR": str(ROOT / ".bulkhead" / "e2e"),
        "BULKHEAD_TENANT_URL": TENANT,
        "BULKHEAD_ADMIN_URL": ADMIN,
        "BULKHEAD_SANDBOX_URL": SANDBOX,
    }
    log = ROOT / ".artifacts" / "e2e.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "shared.cli", "up"],
            cwd=ROOT,
            env=env,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    until = time.monotonic() + 300
    while not all(answers(f"{one}/healthz") for one in (TENANT, ADMIN, SANDBOX)):
        if process.poll() is not None or time.monotonic() > until:
            raise AssertionError(f"the house does not stand:\n{log.read_text()[-3000:]}")
        time.sleep(0.5)
    yield House(process, env)
    process.send_signal(signal.SIGINT)
    assert process.wait(40) in (0, -signal.SIGINT, 130)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Its event loop must be gone before other tests of this process begin."""
    with sync_playwright() as playwright:
        yield chromium(playwright)


@dataclass
class Someone:
    context: BrowserContext
    page: Page
    house: House
    errors: list[str]

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=str(SHOTS / f"{name}.png"))

    def signs_in(self, email: str, password: str = DEMO, app: str = TENANT) -> None:
        self.page.goto(f"{app}/sign-in")
        self.page.fill("input[name=email]", email)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")

    def operates(self, email: str) -> None:
        self.signs_in(email, app=ADMIN)
        self.page.fill("input[name=code]", self.house.command("dev", "totp", email))
        self.page.click("button[type=submit]")


@pytest.fixture
def someone(house: House, browser: Browser) -> Iterator["type[Newcomer]"]:
    made: list[Someone] = []

    class Newcomer(Someone):
        """A person with a browser of their own."""

        def __init__(self) -> None:
            context = browser.new_context(viewport={"width": 1280, "height": 860})
            page = context.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            super().__init__(context, page, house, errors)
            made.append(self)

    yield Newcomer
    for one in made:
        one.context.close()
    assert [error for one in made for error in one.errors] == []


class Newcomer(Someone):
    """Only for annotations; see the fixture."""

    def __init__(self) -> None: ...
