"""Mails: one button, which only the template makes; a recipient that no header can change; an encrypted connection."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser

import pytest

from shared.core import circuit_breaker
from shared.core.config import settings
from shared.jobs import mail
from shared.jobs.mail import Email
from tests.support.stand_in_mail import run_mailbox

LINK = "http://localhost:3000/invitations/accept?token=x"
HOSTILE_NAME = "https://evil.example/login?x="
VALUES = {
    "access_ended": ("by", "name", "tenant"),
    "account_changed": ("name", "title", "body"),
    "account_exists": ("name",),
    "alert": ("alerts", "name", "urgency"),
    "billing": ("body", "name", "tenant", "title"),
    "digest": ("name", "tenant"),
    "factor_reset": ("name", "title", "body"),
    "invitation": ("inviter", "role", "tenant"),
    "left": ("name", "tenant"),
    "new_device": ("name", "device", "address", "time"),
    "notice": ("body", "name", "tenant", "title"),
    "operator_notice": ("name", "title", "body"),
    "password_changed": ("name",),
    "reset": ("name",),
    "support_access": ("name", "reason", "scope", "subject", "tenant", "ticket", "what"),
    "verify": ("name",),
    "welcome": ("name", "tenant"),
    "webhook_paused": ("cause", "name", "tenant", "url"),
}
WITHOUT_BUTTON = {"access_ended", "left"}


def build_email(template: str, *, to: str = "ann@acme.test", **values: str) -> Email:
    return Email(to=to, template=template, message_id="m-1", link=LINK, values=values)


class Links(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [str(value) for name, value in attrs if name in ("href", "src")]


def test_every_template_is_known_here() -> None:
    assert {path.stem for path in mail.TEMPLATE_DIR.glob("*.txt")} == set(VALUES)


@pytest.mark.parametrize("template", VALUES)
@pytest.mark.parametrize(
    "words",
    [
        HOSTILE_NAME,
        "www.evil.example",
        "evil.example/pay",
        "[Sign in]",
        "a\n\n[Sign in]\n\nhttps://evil.example",
        "Sign in:\nhttps://evil.example",
        '<a href="https://evil.example">',
        "evil\u3002example",
    ],
)
async def test_typed_words_never_become_a_link_or_a_button(template: str, words: str) -> None:
    async with run_mailbox() as box:
        await mail.send(build_email(template, **dict.fromkeys(VALUES[template], words)))
    (received,) = box.mails
    buttons = [] if template in WITHOUT_BUTTON else [LINK]
    assert Links(received.html).targets == buttons
    assert re.findall(r"\S+://\S+", received.text) == buttons
    shown = received.text.replace(LINK, "") + received.subject
    assert "evil.example" not in shown
    assert "evil\u3002example" not in shown
    assert "evil.example" not in re.sub(r"<[^>]*>", "", received.html)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Nora Lind", "Nora Lind"),
        ("J. R. Smith Jr.", "J. R. Smith Jr."),
        ("Payment of $80.00 failed", "Payment of $80.00 failed"),
        ("Acme GmbH & Co. KG", "Acme GmbH & Co. KG"),
        ("https://evil.example/x", "evil example/x"),
        ("www.evil.example", "www evil example"),
    ],
)
def test_only_what_a_client_would_link_is_taken_from_a_name(text: str, shown: str) -> None:
    assert mail.unlink(text) == shown


async def test_mail_names_the_tenant_in_both_parts() -> None:
    async with run_mailbox() as box:
        await mail.send(build_email("invitation", inviter="Nora Lind", tenant="Acme", role="Member"))
    (received,) = box.mails
    assert "Nora Lind invited you to join Acme" in received.text
    assert "Nora Lind invited you to join Acme" in received.html
    assert f"Accept invitation:\n{LINK}" in received.text.replace("\r\n", "\n")


async def test_envelope_recipient_is_the_stored_address() -> None:
    """Also for an address that was stored before such addresses were refused."""
    address = "=?utf-8?q?=61=6e=6e?=@acme.test"
    async with run_mailbox() as box:
        await mail.send(build_email("reset", to=address, name="Ann"))
    assert [received.to for received in box.mails] == [address]


@pytest.fixture
def smtp_setting(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    mail.breaker.reset()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()


@asynccontextmanager
async def server_without_tls() -> AsyncIterator[tuple[int, list[str]]]:
    """Its port, and every line that a client sends."""
    lines: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 plain.test ESMTP\r\n")
        while line := (await reader.readline()).decode().strip():
            lines.append(line)
            verb = line.partition(" ")[0].upper()
            replies = {"EHLO": b"250-plain.test\r\n250 AUTH PLAIN LOGIN\r\n", "AUTH": b"235 ok\r\n"}
            writer.write(replies.get(verb, b"354 go\r\n" if verb == "DATA" else b"250 ok\r\n"))
            if verb == "QUIT":
                break
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], lines


async def test_smtp_without_starttls_sends_neither_password_nor_mail(
    smtp_setting: pytest.MonkeyPatch,
) -> None:
    async with server_without_tls() as (port, lines):
        smtp_setting.setenv("SMTP_URL", f"smtp://user:secret@127.0.0.1:{port}")
        settings.cache_clear()
        with pytest.raises(mail.MailDeferred, match="STARTTLS"):
            await mail.send(build_email("reset", name="Ann"))
    assert {line.partition(" ")[0] for line in lines} <= {"EHLO", "QUIT"}


async def test_plain_smtp_is_used_only_when_the_scheme_says_so(smtp_setting: pytest.MonkeyPatch) -> None:
    async with server_without_tls() as (port, lines):
        smtp_setting.setenv("SMTP_URL", f"smtp+plain://user:secret@127.0.0.1:{port}")
        settings.cache_clear()
        await mail.send(build_email("reset", name="Ann"))
    assert "RCPT TO:<ann@acme.test>" in lines


async def test_refused_recipient_is_final_with_the_servers_reply() -> None:
    async with run_mailbox() as box:
        box.replies["ann@acme.test"] = "550 5.1.1 No such user here"
        with pytest.raises(mail.MailRejected, match=r"550 5\.1\.1 No such user here"):
            await mail.send(build_email("reset", name="Ann"))


async def test_busy_recipient_may_be_tried_again() -> None:
    async with run_mailbox() as box:
        box.replies["ann@acme.test"] = "451 4.7.1 Try again later"
        with pytest.raises(mail.MailDeferred, match="451"):
            await mail.send(build_email("reset", name="Ann"))
        box.replies.clear()
        await mail.send(build_email("reset", name="Ann"))  # a busy recipient opens no breaker


async def test_breaker_answers_at_once_after_repeated_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "TOTAL_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(mail, "COMMAND_TIMEOUT_SECONDS", 0.2)  # it also waits for the answer to QUIT
    clock = [1000.0]
    monkeypatch.setattr(circuit_breaker, "monotonic", lambda: clock[0])
    async with run_mailbox() as box:
        box.running.clear()
        for _ in range(3):
            with pytest.raises(mail.MailServerAway):
                await mail.send(build_email("reset", name="Ann"))
        monkeypatch.setattr(mail, "read_transport", None)  # no attempt is made
        with pytest.raises(mail.MailServerAway, match="waiting"):
            await mail.send(build_email("reset", name="Ann"))
        monkeypatch.undo()
        monkeypatch.setattr(circuit_breaker, "monotonic", lambda: clock[0])
        box.running.set()
        clock[0] += 31
        for _ in range(2):  # the first attempt after the pause closes it
            await mail.send(build_email("reset", name="Ann"))
        assert len(box.mails) == 2
