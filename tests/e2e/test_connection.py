"""An open page tells the truth: about a lost or slow server, and after a download."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from playwright.sync_api import expect

from tests.e2e.conftest import TENANT, NewVisitor, Platform, Visitor, is_answering
from tests.e2e.exports import download_export, start_export

LOST = "Reconnecting. What you see may be old."
SLOW = "The server is slow to answer. What you see may be old."


def find_tenant_app(platform: Platform) -> psutil.Process:
    (process,) = [process for process in platform._running() if process.cmdline()[-2:] == ["serve", "tenant"]]
    return process


@contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def found_with_member(new_visitor: type[NewVisitor], word: str) -> tuple[Visitor, str]:
    ann = new_visitor()
    home = ann.create_organisation(f"Ann {word}", f"ann@{word.lower()}.test", word)
    ann.page.goto(f"{home}/members")
    ann.expect_text(f"Ann {word}")
    return ann, home


def test_download_leaves_the_page_connected(platform: Platform, new_visitor: type[NewVisitor]) -> None:
    """The page hears of a change in another tab, and closes when its session ends."""
    adam, acme = new_visitor(), f"{TENANT}/t/acme"
    adam.sign_in("adam@acme.test")  # a session of its own, which ends here
    adam.page.wait_for_url("**/home")
    adam.page.goto(f"{acme}/members")
    start_export(adam, "CSV")
    download_export(adam)
    other = adam.open_tab()
    for name in ("Acme renamed", "Acme"):  # as the other tests expect it
        other.goto(f"{acme}/settings")
        other.get_by_label("Name", exact=True).fill(name)
        other.get_by_role("button", name="Save name").click()
        expect(adam.page.get_by_role("button", name=re.compile(f"^.?{name}")).first).to_be_visible()
    expect(adam.page.get_by_test_id("connection")).to_have_text("")

    other.goto(f"{TENANT}/organisations")
    other.get_by_role("button", name="Sign out").click()
    adam.page.wait_for_url("**/sign-in**", timeout=12_000)


def test_page_that_was_not_left_connects_again(platform: Platform, new_visitor: type[NewVisitor]) -> None:
    ann, home = found_with_member(new_visitor, "Cancelled")
    ann.page.evaluate("dispatchEvent(new Event('beforeunload'))")  # as a cancelled navigation does
    other = ann.open_tab()
    other.goto(f"{home}/settings")
    other.get_by_label("Name", exact=True).fill("Connected again")
    other.get_by_role("button", name="Save name").click()
    expect(ann.page.get_by_text("Connected again").first).to_be_visible(timeout=12_000)


def test_slow_server_is_announced_until_it_answers(platform: Platform, new_visitor: type[NewVisitor]) -> None:
    ann, _ = found_with_member(new_visitor, "Slow")
    notice = ann.page.get_by_test_id("connection")
    with frozen(find_tenant_app(platform)):
        ann.page.get_by_label("Search members").fill("nobody by this name")
        expect(notice).to_have_text(SLOW, timeout=12_000)
        ann.take_picture("connection-slow")
    expect(notice).to_have_text("", timeout=12_000)
    ann.expect_text("No members match your search")


def list_listeners(url: str) -> list[int | None]:
    """Ids of the processes that listen at the port of this address."""
    port = int(url.rpartition(":")[2])
    return [
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == "LISTEN" and connection.laddr.port == port
    ]


def test_lost_server_is_announced_until_it_is_back(platform: Platform, new_visitor: type[NewVisitor]) -> None:
    """`bulkhead up` starts it again, and says so."""
    ann, home = found_with_member(new_visitor, "Lost")
    notice = ann.page.get_by_test_id("connection")
    app = find_tenant_app(platform)
    assert list_listeners(TENANT) == [app.pid]  # no child of it would hold the port
    os.kill(app.pid, signal.SIGKILL)
    expect(notice).to_have_text(LOST, timeout=12_000)
    assert "Cannot connect to server" not in ann.page.content()
    ann.take_picture("connection-lost")
    ann.page.get_by_label("Search members").fill("nobody by this name")  # waits in the browser
    until = time.monotonic() + 60
    while not is_answering(f"{TENANT}/healthz") and time.monotonic() < until:
        time.sleep(0.2)
    expect(notice).to_have_text("", timeout=20_000)
    ann.expect_text("No members match your search")
    ann.page.get_by_label("Search members").fill("Ann Lo")
    expect(ann.page.get_by_text("ann@lost.test").first).to_be_visible()
    ann.page.goto(f"{home}/members")
    ann.expect_text("Ann Lost")
    until = time.monotonic() + 20
    while "The part tenant was killed (SIGKILL); it was started again." not in platform.log.read_text():
        assert time.monotonic() < until, "`up` does not say what happened"
        time.sleep(0.2)
