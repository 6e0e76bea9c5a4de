"""A webhook from its creation over a broken receiver to a replay, as a person and their receiver see it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page, expect
from standardwebhooks import Webhook

from tests.e2e.conftest import RECEIVER_PORT, TENANT, NewVisitor, connect_to_database
from tests.e2e.looks import list_problems

PAGE = f"{TENANT}/t/acme/webhooks"
URL = f"http://127.0.0.1:{RECEIVER_PORT}/crm"
ANN = "ann@acme.test"


@dataclass
class PlainReceiver:
    status: int = 200
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[PlainReceiver]:
    state = PlainReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.requests.append(({name.lower(): value for name, value in self.headers.items()}, body))
            answer = b"stored" if state.status == 200 else b"the database is away"
            self.send_response(state.status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            """It says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", RECEIVER_PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def add_webhook(page: Page) -> str:
    """Its secret."""
    page.get_by_test_id("add-webhook").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Address").fill(URL)
    dialog.get_by_role("textbox", name="Description").fill("Our CRM")
    dialog.get_by_role("checkbox", name="A member was removed").check()
    dialog.get_by_role("button", name="Add webhook").click()
    secret = page.get_by_test_id("secret")
    expect(secret).to_contain_text("whsec_")
    text = secret.inner_text()
    page.get_by_role("button", name="I’ve stored it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    return text


def send_test(page: Page) -> None:
    page.get_by_test_id("send-test").click()


def pass_a_day() -> None:
    """As if the endpoint had taken nothing for more than a day, and its next attempt were due."""
    with connect_to_database() as superuser:
        superuser.execute(
            "update webhook_endpoint set failing_since = now() - interval '25 hours', failure_count = 9,"
            " turn_at = now() where url = %s",
            [URL],
        )
        superuser.execute("update webhook_delivery set due_at = now() where status = 'pending'")


def test_webhook_is_tested_broken_paused_with_a_mail_and_replayed(
    new_visitor: type[NewVisitor], receiver: PlainReceiver
) -> None:
    ann = new_visitor()
    ann.sign_in_as(ANN)
    page = ann.page
    page.goto(PAGE)
    secret = add_webhook(page)
    send_test(page)
    deliveries = page.get_by_test_id("deliveries")
    expect(deliveries.get_by_role("row").nth(1)).to_contain_text("Delivered")
    headers, body = receiver.requests[0]
    assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"
    page.get_by_test_id("open-delivery").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_test_id("body")).to_contain_text('"sent_by": "Ann')
    expect(dialog.get_by_test_id("attempts")).to_contain_text("stored")
    problems = list_problems(ann, "webhook-delivery")
    dialog.get_by_role("button", name="Close").last.click()

    receiver.status = 500
    send_test(page)
    first = deliveries.get_by_role("row").nth(1)
    expect(first).to_contain_text("Answered 500.")
    pass_a_day()
    endpoint = page.get_by_test_id("endpoint")
    expect(endpoint).to_contain_text("Paused because it took no event for a day.")
    ann.platform.wait_for_link(ANN, "/webhooks")
    assert any("paused" in mail["subject"] for mail in ann.platform.list_mails(ANN))
    problems += list_problems(ann, "webhooks", whole_suffix="-whole")

    receiver.status = 200
    expect(first).to_contain_text("Waits until the webhook is resumed.")
    page.get_by_test_id("resume").click()
    expect(first).to_contain_text("Delivered")
    page.get_by_test_id("open-delivery").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Send again").click()
    ann.expect_text("Event queued again.")
    expect(first).to_contain_text("1 attempt")
    assert [headers["webhook-id"] for headers, _ in receiver.requests[-2:]] == [
        receiver.requests[-1][0]["webhook-id"]
    ] * 2
    assert problems == []
