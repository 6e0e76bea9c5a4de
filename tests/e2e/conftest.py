"""The whole platform, started by its own command, and people with browsers of their own in front of it."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError
from psycopg import sql
from sqlalchemy.engine import make_url

from shared.core import crypto
from shared.core.config import DEMO_STRIPE_KEY, DEMO_STRIPE_SECRET, Settings
from shared.dev.postgres import EmbeddedPostgres
from shared.dev.stripe_sandbox.contract import API_VERSION
from shared.dev.stripe_sandbox.objects import make_object
from shared.dev.stripe_sandbox.store import Sandbox
from shared.identity import mfa
from tests.e2e.looks import HEIGHT, LIGHT, Look
from tests.support import otlp_receiver, sizes
from tests.support.browser import launch_browser
from tests.support.otlp_receiver import OtlpReceiver

ROOT = Path(__file__).parents[2]
EXTERNAL_URL = os.environ.get("DATABASE_URL", "")  # of a server that the shell names; no test has run yet
DATA = ROOT / ".bulkhead" / "e2e"
SHOTS = ROOT / ".artifacts" / "shots"
TENANT, ADMIN, SANDBOX = (f"http://localhost:{port}" for port in (3100, 3101, 3102))
RECEIVER_PORT = 3109  # of a customer's webhooks
EXTERNAL_DATABASE = "bulkhead_e2e"
# Runs async functions of the platform, each named on a line with its arguments.
RUNNER = """
import asyncio, importlib, sys
from shared.cli import database
from shared.core import db
database.use_embedded_server()
db.log_in_as_worker()
async def run():
    while line := await asyncio.to_thread(sys.stdin.readline):
        module, function, *arguments = line.split()
        await getattr(importlib.import_module(module), function)(*arguments)
        await db.dispose()
        print("done", flush=True)
with database.running_server():
    asyncio.run(run())
"""
PASSWORD = "violet teapot under the bridge"
DEMO = "bulkhead-demo"
READ_STORAGE = "JSON.stringify([document.cookie, {...localStorage}, {...sessionStorage}])"
TABLES: LiteralString = """
select relname from pg_class
where relkind in ('r', 'p') and not relispartition and relnamespace = 'public'::regnamespace
"""
expect.set_options(
    timeout=10_000
)  # a busy machine is no fault of the page; what is promised within a time says so


def is_answering(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def build_database_url() -> str:
    """Of a superuser, in the platform's database."""
    if not EXTERNAL_URL:
        return EmbeddedPostgres(DATA / "postgres").url(database="bulkhead")
    url = make_url(EXTERNAL_URL).set(drivername="postgresql", database=EXTERNAL_DATABASE)
    return url.render_as_string(hide_password=False)


def connect_to_database() -> psycopg.Connection:
    """As a superuser, in autocommit."""
    return psycopg.connect(build_database_url(), autocommit=True)


@dataclass
class Platform:
    tenant: str = TENANT
    admin: str = ADMIN
    sandbox: str = SANDBOX
    used_links: set[str] = field(default_factory=set)
    secrets: set[str] = field(
        default_factory=set
    )  # cookies and client tokens of all browsers, seen at their end
    cookies: set[str] = field(default_factory=set)  # those of them that no script may read
    browser_states: list[str] = field(default_factory=list)  # storage and content of pages, at their end
    people: dict[str, Any] = field(default_factory=dict)  # cookies of the demo cast
    operators: dict[str, Any] = field(default_factory=dict)  # their cookies: a code works once in 30 seconds
    process: subprocess.Popen[bytes] | None = None
    runner: subprocess.Popen[str] | None = None
    more_env: dict[str, str] = field(default_factory=dict)
    collector: OtlpReceiver | None = None  # of traces and metrics

    @property
    def env(self) -> dict[str, str]:
        return os.environ | {
            "BULKHEAD_DATA_DIR": str(DATA),
            "BULKHEAD_TENANT_URL": TENANT,
            "BULKHEAD_ADMIN_URL": ADMIN,
            "BULKHEAD_SANDBOX_URL": SANDBOX,
            "BULKHEAD_CUSTOMERS_CAN_PAUSE": "1",
            "BULKHEAD_OUTBOUND_ALLOW": f"127.0.0.1:{RECEIVER_PORT}",
            **({"DATABASE_URL": build_database_url()} if EXTERNAL_URL else {}),
            **({"OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.address} if self.collector else {}),
            **self.more_env,
        }

    @contextmanager
    def restarted_with(self, env: dict[str, str]) -> Iterator[None]:
        """Runs with these environment variables as well, and without them afterwards."""
        before = self.more_env
        self.stop()
        self.more_env = before | env
        try:
            self.start()
            yield
            self.stop()
        finally:
            self.more_env = before
        self.start()

    @property
    def log(self) -> Path:
        return ROOT / ".artifacts" / "e2e.log"

    def start(self) -> float:
        """Seconds until everything answers. Raises AssertionError with what the command said."""
        began = time.monotonic()
        if any(is_answering(f"{url}/healthz") for url in (TENANT, ADMIN, SANDBOX)):
            raise AssertionError("another platform answers at our ports")
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "shared.cli", "up"],
                cwd=ROOT,
                env=self.env,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        while not all(is_answering(f"{url}/healthz") for url in (TENANT, ADMIN, SANDBOX)):
            if self.process.poll() is not None or time.monotonic() > began + 300:
                raise AssertionError(f"the platform does not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.2)
        return time.monotonic() - began

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """As Ctrl-C does. How the command ended."""
        assert self.process is not None
        if self.runner is not None:
            self.runner.communicate()  # it ends with its input
            self.runner = None
        self.process.send_signal(how)
        return self.process.wait(40)

    def cpu_seconds(self) -> float:
        """Seconds of processor time of everything that runs now, since it was started."""
        times = [process.cpu_times() for process in self._running()]
        return sum(usage.user + usage.system + usage.children_user + usage.children_system for usage in times)

    def list_processes(self) -> list[str]:
        """The running processes of this platform, with the database."""
        return [f"{process.name()} {process.pid}" for process in self._running()]

    def _running(self) -> list[psutil.Process]:
        processes = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if (
                    process.environ().get("BULKHEAD_DATA_DIR") == str(DATA)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    processes.append(process)
        return processes

    def read_logs(self) -> str:
        files = [self.log, *(DATA / "logs").glob("*.log")]
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())

    def read_exported(self) -> str:
        """Traces and metrics as they were sent: texts are readable in the protocol's encoding."""
        bodies = self.collector.bodies if self.collector is not None else []
        return b"\n".join(bodies).decode(errors="replace")

    def note_secrets(self, context: BrowserContext) -> None:
        cookies = [cookie for cookie in context.cookies() if len(cookie["value"]) >= 20]
        self.secrets |= {cookie["value"] for cookie in cookies}
        self.cookies |= {cookie["value"] for cookie in cookies if cookie["httpOnly"]}
        for page in context.pages:
            with suppress(PlaywrightError):  # a page that is elsewhere, or has gone
                if token := page.evaluate("window.sessionStorage.getItem('token')"):
                    self.secrets.add(str(token))
                self.browser_states += [page.evaluate(READ_STORAGE), page.content()]

    def read_rows(self) -> str:
        """Every row of every table, the audit logs and the queue among them."""
        with connect_to_database() as connection:
            tables = connection.execute(TABLES).fetchall()
            rows = [
                row
                for (table,) in tables
                for (row,) in connection.execute(
                    sql.SQL("select row_text::text from {} row_text").format(sql.Identifier(table))
                )
            ]
        assert any("session.started" in row for row in rows), "the audit log was not read"
        return "\n".join(rows)

    def read_metrics(self) -> str:
        """What the tenant app shows to whoever collects metrics. The admin app shows none without an address of their own."""
        with urllib.request.urlopen(f"{TENANT}/metrics", timeout=5) as response:
            text = str(response.read().decode())
        assert "# TYPE" in text, "no metric was read"
        return text

    def read_files(self) -> str:
        """Files of tenants, which are exports and what they uploaded."""
        files = [path for path in (DATA / "files").rglob("*") if path.is_file()]
        return "\n".join(path.read_bytes().decode(errors="replace") for path in files)

    def find_kept(self) -> list[str]:
        """Secrets that are where they stay: in rows, metrics and files, and cookies in what a script can read.

        While the platform runs.
        """
        secrets = self.secrets | self._list_mailed_tokens()
        places = {"rows": self.read_rows(), "metrics": self.read_metrics(), "files": self.read_files()}
        leaks = [
            f"{place}: {secret[:6]}…"
            for place, text in places.items()
            for secret in secrets
            if secret in text
        ]
        states = "\n".join(self.browser_states)
        return leaks + [f"browser: {cookie[:6]}…" for cookie in self.cookies if cookie in states]

    def _list_mailed_tokens(self) -> set[str]:
        mails = (DATA / "mail.jsonl").read_text() if (DATA / "mail.jsonl").exists() else ""
        return set(re.findall(r"[?&]token=([\w.-]{20,})", mails))

    def find_leaks(self) -> list[str]:
        """Secrets of the browsers and links of the mails that are in a log, a trace or a metric, and refused frames.

        Mails themselves count as well: a line of their text that is long enough to be told apart.
        """
        logs = self.read_logs() + self.read_exported()
        mails = (DATA / "mail.jsonl").read_text() if (DATA / "mail.jsonl").exists() else ""
        secrets = self.secrets | self._list_mailed_tokens()
        leaks = [f"a secret of {len(secret)} characters" for secret in secrets if secret in logs]
        bodies = {line for mail in mails.splitlines() for line in json.loads(mail)["text"].splitlines()}
        leaks += [f"a line of a mail: {line[:20]}" for line in bodies if len(line) >= 60 and line in logs]
        return leaks + [
            word for word in ("malformed_frame", "event_flood", "too_many_sockets") if word in logs
        ]

    def list_mails(self, to: str) -> list[dict[str, str]]:
        """Newest last: keys `to`, `subject`, `text`."""
        with urllib.request.urlopen(f"{self.sandbox}/mail.json", timeout=5) as response:
            return [mail for mail in json.load(response) if to in mail["to"]]

    def wait_for_link(self, to: str, part: str, *, seconds: float = 30) -> str:
        """The first address with `part` in the newest mail to this person that has one; waits for the mail."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for mail in reversed(self.list_mails(to)):
                for word in mail["text"].split():
                    if word.startswith("http") and part in word and word not in self.used_links:
                        self.used_links.add(word)
                        return word
            time.sleep(0.2)
        raise AssertionError(f"no mail with {part} for {to}")

    def make_factor_code(self, email: str, realm: str) -> str:
        """What `bulkhead dev totp` prints, without the seconds that its process takes to load the product."""
        with connect_to_database() as connection:
            row = connection.execute(
                f'select person.id, sealed, last_step, kek_id, wrapped from "{realm}" as person'
                f" join {realm}_totp on {realm}_id = person.id join platform_key on platform_key.id = %s"
                " where email = %s",
                [realm, email],
            ).fetchone()
        assert row is not None
        person_id, sealed, last_step, kek_id, wrapped = row
        kek = Settings(BULKHEAD_DATA_DIR=DATA).load_master_keys()[kek_id]
        seed = crypto.open_sealed(
            crypto.unwrap_with(kek, wrapped), sealed, realm, f"{realm}_totp.sealed", person_id
        )
        step = max(int(time.time()) // mfa.STEP_SECONDS, last_step + 1)
        return pyotp.TOTP(base64.b32encode(seed).decode()).generate_otp(step)

    def run_now(self, module: str, function: str, *arguments: str) -> None:
        """What a process of the platform does once in a while, done now in a process that waits for the next."""
        if self.runner is None:
            self.runner = subprocess.Popen(
                [sys.executable, "-c", RUNNER],
                cwd=ROOT,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self.runner.stdin is not None
        assert self.runner.stdout is not None
        print(module, function, *arguments, file=self.runner.stdin, flush=True)
        assert self.runner.stdout.readline() == "done\n"

    def run_command(self, *words: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "shared.cli", *words],
            cwd=ROOT,
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One platform, so one process for all who visit it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("e2e"))


@pytest.fixture(scope="session", autouse=True)
def schema() -> None:
    """The platform brings its own database."""


@pytest.fixture(scope="module", autouse=True)
def few_tenants() -> None:
    """Nor are there any in a database of this process, whose event loop can't run beside that of the browsers."""


@pytest.fixture(autouse=True)
def fresh_limits() -> None:
    """The platform counts its own."""


def drop_data() -> None:
    """Nobody of an earlier run. The builds stay: they take half a minute and depend on the sources alone."""
    if EXTERNAL_URL:
        drop_database(EXTERNAL_URL, EXTERNAL_DATABASE)
    else:
        server = EmbeddedPostgres(DATA / "postgres").start()
        drop_database(server.url(), "bulkhead")
        server.stop()
    for kept in ("mail.jsonl", "stripe.sqlite*"):
        for file in DATA.glob(kept):
            file.unlink()


def drop_database(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def register_webhook_endpoint() -> None:
    """The tenant app hears of what happens at the stand-in for Stripe, with the secret of the demo."""
    sandbox = Sandbox(DATA / "stripe.sqlite", f"{SANDBOX}/stripe")
    account, url = sandbox.get_account(DEMO_STRIPE_KEY), f"{TENANT}/webhooks/stripe"
    if url not in [endpoint["url"] for endpoint in account.list_objects("webhook_endpoint")]:
        fields = {"status": "enabled", "metadata": {}, "api_version": API_VERSION, "url": url}
        endpoint = make_object(
            account, "webhook_endpoint", **fields, enabled_events=["*"], _secret=DEMO_STRIPE_SECRET
        )
        endpoint.pop("secret", None)
        account.put(endpoint)
        sandbox.save()
    sandbox.close()


@pytest.fixture(scope="package")
def platform() -> Iterator[Platform]:
    """Stands while these tests run, and takes no processor time from later ones."""
    drop_data()
    register_webhook_endpoint()
    made = Platform()
    with otlp_receiver.receiving() as collector:
        made.collector = collector
        try:
            made.start()
            yield made
            kept = made.find_kept() if made.secrets else []
        finally:
            status = made.stop() if made.process else 0  # also one that is not up in time: it would be later
    assert status in (0, -signal.SIGINT, 130)
    assert not made.secrets or '"event": "request"' in made.read_logs(), "no log was read"
    assert not made.secrets or any(span.name == "event" for span in collector.spans), "no trace was exported"
    assert made.find_leaks() == []
    assert kept == []
    assert not made.secrets or made.browser_states, "no page was looked at"


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Its event loop must be gone before other tests of this process begin."""
    with sync_playwright() as playwright:
        yield launch_browser(playwright, "--in-process-gpu")  # one process less to hand every picture to


@dataclass
class Visitor:
    context: BrowserContext
    page: Page
    platform: Platform
    errors: list[str]
    look: Look = LIGHT

    def take_picture(self, *names: str, whole: bool = False) -> None:
        """In the long run: one picture of the screen, or of the whole page, under each of these names."""
        if not sizes.is_full():
            return
        SHOTS.mkdir(parents=True, exist_ok=True)
        picture = self.page.screenshot(full_page=whole)
        for name in names:
            (SHOTS / f"{name}.png").write_bytes(picture)

    def sign_in(self, email: str, password: str = DEMO, app: str = TENANT) -> None:
        self.page.goto(f"{app}/sign-in")
        self.page.fill("input[name=email]", email)
        self.page.fill("input[name=password]", password)
        self.page.click("button[type=submit]")

    def sign_in_as(self, email: str) -> None:
        """Signs in somebody of the demo cast: once for all tests, because only so many tries an account are let in.

        Opens no page, except for the first time.
        """
        if email in self.platform.people:
            self.context.add_cookies(self.platform.people[email])
            return
        self.sign_in(email)
        self.page.wait_for_url(re.compile("/organisations|/home"))
        self.platform.people[email] = self.context.cookies(TENANT)

    def sign_in_as_operator(self, email: str) -> None:
        """As `enters`, for an operator."""
        if email in self.platform.operators:
            self.context.add_cookies(self.platform.operators[email])
            return
        self.sign_in(email, app=ADMIN)
        self.page.fill("input[name=code]", self.platform.make_factor_code(email, "operator"))
        self.page.click("button[type=submit]")
        self.page.wait_for_url(f"{ADMIN}/")
        self.platform.operators[email] = self.context.cookies(ADMIN)

    def open_tab(self) -> Page:
        """Of the same browser: the same cookie, another page."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def expect_text(self, text: str | re.Pattern[str], *, seconds: float = 10) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible(timeout=seconds * 1000)

    def sign_up(self, name: str, email: str, organisation: str) -> None:
        """Sign-up, mail, verification; ends in the wizard."""
        page = self.page
        page.goto(f"{TENANT}/sign-up")
        for field_, value in (("name", name), ("email", email), ("organisation", organisation)):
            page.fill(f"input[name={field_}]", value)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url("**/verify**")
        page.goto(self.platform.wait_for_link(email, "/verify"))
        page.click("button[type=submit]")
        page.wait_for_url("**/onboarding**")

    def create_organisation(self, name: str, email: str, organisation: str, *, invited: str = "") -> str:
        """The same by the requests of those pages, and through the wizard to its end. The address of the organisation.

        Opens no page. `invited`: the address of somebody who is invited in the wizard.
        """
        fields = {"name": name, "email": email, "organisation": organisation, "password": PASSWORD}
        self.post_form("/auth/sign-up", **fields)
        token = self.platform.wait_for_link(email, "/verify").partition("token=")[2]
        wizard = self.post_form("/auth/verify", token=token)
        slug = re.fullmatch(r"/onboarding\?t=([^&]+)", wizard)
        assert slug is not None, wizard
        last_step = "people" if invited else "finish"
        home = self.post_form(f"/onboarding/{last_step}", t=slug.group(1), email1=invited)
        assert home == f"/t/{slug.group(1)}/home"
        return f"{TENANT}/t/{slug.group(1)}"

    def post_form(self, path: str, **fields: str) -> str:
        """Sends a form of the tenant app with this browser's cookies. The path that it leads to."""
        headers = {"origin": TENANT, "accept": "text/html"}
        answer = self.context.request.post(f"{TENANT}{path}", form=fields, headers=headers, max_redirects=0)
        assert answer.status == 303, answer.text()
        return answer.headers["location"]

    def invite(self, home: str, email: str, role: str = "Member") -> str:
        """The link of the mail."""
        self.page.goto(f"{home}/members")
        self.page.get_by_test_id("invite").click()
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("Email").fill(email)
        dialog.get_by_role("radio", name=role).check()
        dialog.get_by_role("button", name="Send invitation").click()
        expect(self.page.get_by_test_id("invitations")).to_contain_text(email)
        return self.platform.wait_for_link(email, "/invitations/accept")

    def accept_invitation(self, link: str, name: str) -> None:
        """As somebody without an account, by the request of the form; opens no page."""
        token = link.partition("token=")[2]
        assert self.post_form("/invitations/accept", token=token, name=name, password=PASSWORD).endswith(
            "/home"
        )


@pytest.fixture
def new_visitor(platform: Platform, browser: Browser) -> Iterator["type[NewVisitor]"]:
    made: list[Visitor] = []

    class NewVisitor(Visitor):
        """A person with a browser of their own.

        They asked for less motion, as our style sheets respect: nothing fades, so that nobody waits for it and no
        frame is drawn on the way. `still=False`: like most people.
        """

        def __init__(self, look: Look = LIGHT, *, still: bool = True) -> None:
            context = browser.new_context(
                viewport={"width": look.width, "height": HEIGHT},
                color_scheme="dark" if look.dark else "light",
                reduced_motion="reduce" if still else "no-preference",
            )
            page = context.new_page()
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            super().__init__(context, page, platform, errors, look)
            made.append(self)

    yield NewVisitor
    for newcomer in made:
        platform.note_secrets(newcomer.context)
        newcomer.context.close()
    assert [error for newcomer in made for error in newcomer.errors] == []


class NewVisitor(Visitor):
    """Only for annotations; see the fixture."""

    def __init__(self, look: Look = LIGHT, *, still: bool = True) -> None: ...
