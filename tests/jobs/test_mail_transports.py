"""The contract of what takes mails: SMTP and Mailgun's HTTP API pass the same tests, over real sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Protocol

import pytest
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from shared.core.config import settings
from shared.jobs import mail, mailgun_transport
from shared.jobs.mail import Email, MailTransport
from shared.jobs.mail_errors import MailDeferred, MailRejected, MailServerAway
from tests.support.billing.stub_server import serve_app
from tests.support.stand_in_mail import run_mailbox

TO = "ann@acme.test"


class Server(Protocol):
    """A server that takes mails, whatever it speaks."""

    async def refuse(self) -> None: ...
    async def be_busy(self) -> None: ...
    async def hang(self) -> None: ...
    def list_mails(self) -> list[tuple[str, str]]: ...  # recipient and subject


class SmtpServer:
    def __init__(self, box: object) -> None:
        self.box = box

    async def refuse(self) -> None:
        self.box.replies[TO] = "550 5.1.1 No such user here"  # type: ignore[attr-defined]

    async def be_busy(self) -> None:
        self.box.replies[TO] = "451 4.7.1 Try again later"  # type: ignore[attr-defined]

    async def hang(self) -> None:
        self.box.running.clear()  # type: ignore[attr-defined]

    def list_mails(self) -> list[tuple[str, str]]:
        return [(email.to, email.subject) for email in self.box.mails]  # type: ignore[attr-defined]


class MailgunServer:
    def __init__(self) -> None:
        self.status, self.received = 200, list[tuple[str, str]]()

    async def refuse(self) -> None:
        self.status = 400

    async def be_busy(self) -> None:
        self.status = 429

    async def hang(self) -> None:
        self.status = 503

    def list_mails(self) -> list[tuple[str, str]]:
        return self.received

    async def answer(self, request: Request) -> Response:
        assert request.url.path == "/v3/mg.acme.test/messages.mime"
        assert request.headers["authorization"] == "Basic YXBpOmtleQ=="
        async with request.form() as form:
            file = form["message"]
            assert isinstance(file, UploadFile)
            message = message_from_bytes(await file.read(), policy=policy.default)
            if self.status == 200:
                self.received.append((str(form["to"]), str(message["Subject"])))
        return PlainTextResponse("no such user", self.status)


@asynccontextmanager
async def run_smtp(environment: pytest.MonkeyPatch) -> AsyncIterator[tuple[MailTransport, Server]]:
    environment.setattr(mail, "TOTAL_TIMEOUT_SECONDS", 0.2)
    environment.setattr(mail, "COMMAND_TIMEOUT_SECONDS", 0.2)
    async with run_mailbox() as box:
        yield mail.read_transport(), SmtpServer(box)


@asynccontextmanager
async def run_mailgun(environment: pytest.MonkeyPatch) -> AsyncIterator[tuple[MailTransport, Server]]:
    server = MailgunServer()
    app = Starlette(routes=[Route("/{path:path}", server.answer, methods=["POST"])])
    async with serve_app(app) as url:
        host = url.removeprefix("http://")
        environment.setenv("SMTP_URL", f"mailgun+plain://api:key@{host}/mg.acme.test")
        settings.cache_clear()
        yield mail.read_transport(), server


TRANSPORTS = {"smtp": run_smtp, "mailgun": run_mailgun}


@pytest.fixture(params=TRANSPORTS)
async def transport(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[MailTransport, Server]]:
    async with TRANSPORTS[request.param](monkeypatch) as running:
        yield running
    monkeypatch.undo()
    settings.cache_clear()


def build_message() -> EmailMessage:
    email = Email(to=TO, template="reset", message_id="m-1", link="https://x.test", values={"name": "Zoë 🏢"})
    return mail.build_message(email)


async def test_mail_arrives_for_its_recipient(transport: tuple[MailTransport, Server]) -> None:
    carrier, server = transport
    await carrier.deliver(build_message(), TO)
    assert server.list_mails() == [(TO, "Choose a new password")]


async def test_refused_mail_is_refused_for_good_with_the_reply(
    transport: tuple[MailTransport, Server],
) -> None:
    carrier, server = transport
    await server.refuse()
    with pytest.raises(MailRejected, match=r"(?i)no such user"):
        await carrier.deliver(build_message(), TO)
    assert server.list_mails() == []


async def test_busy_server_may_be_tried_again(transport: tuple[MailTransport, Server]) -> None:
    carrier, server = transport
    await server.be_busy()
    with pytest.raises(MailDeferred) as deferred:
        await carrier.deliver(build_message(), TO)
    assert not isinstance(deferred.value, MailServerAway)  # it opens no circuit breaker


async def test_server_that_is_away_is_said_to_be(transport: tuple[MailTransport, Server]) -> None:
    carrier, server = transport
    await server.hang()
    with pytest.raises(MailServerAway):
        await carrier.deliver(build_message(), TO)


async def test_key_of_mailgun_is_in_no_text_of_the_transport() -> None:
    shown = repr(mailgun_transport.MailgunTransport(base_url="https://x", key="secret-key"))
    assert "secret-key" not in shown
