"""A mailbox that receives every mail by SMTP and shows it on a page. Development only.

It reads an address as a mail server does: literally, and only as a dot-string of RFC 5321 4.1.2. Addresses at two domains
are refused, so that a failing delivery can be seen in development; a test sets further replies and can freeze the server.
"""

import asyncio
import json
import re
from dataclasses import asdict, dataclass, field
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from aiosmtpd.controller import UnthreadedController
from aiosmtpd.smtp import SMTP, Envelope
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from shared.core.config import settings
from shared.core.db import now

MAX_MAILS = 500
REPLIES_BY_DOMAIN = {
    "undeliverable.test": "550 5.1.1 No such user here",
    "busy.test": "451 4.7.1 Try again later",
}
SHOWN_HEADERS = ("From", "List-Unsubscribe", "List-Unsubscribe-Post")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_MAILBOX_PATTERN = re.compile(rf"<({_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*)>(.*)")


@dataclass(frozen=True, slots=True)
class Mail:
    id: str
    at: str
    to: str
    sender: str
    subject: str
    text: str
    html: str
    headers: dict[str, str] = field(default_factory=dict)  # those that mail programs act on


class Mailbox:
    """The received mails, in memory and in a file of the data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.replies = dict[str, str]()  # to RCPT, by address; in tests
        self.running = asyncio.Event()  # while it is cleared, no command gets an answer
        self.running.set()
        self.mails: list[Mail] = []
        if path.exists():
            self.mails = [Mail(**json.loads(line)) for line in path.read_text().splitlines()][-MAX_MAILS:]

    async def handle_RCPT(  # noqa: N802  aiosmtpd's name
        self,
        server: Any,  # noqa: ARG002
        session: Any,  # noqa: ARG002
        envelope: Envelope,
        address: str,
        rcpt_options: list[str],
    ) -> str:
        await self.running.wait()
        reply = self.replies.get(address) or REPLIES_BY_DOMAIN.get(address.rpartition("@")[2].lower())
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(rcpt_options)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802, ARG002  aiosmtpd's name
        content = envelope.content
        raw = content if isinstance(content, bytes) else (content or "").encode()
        message = BytesParser(policy=policy.default).parsebytes(raw)
        assert isinstance(message, EmailMessage)
        mail = Mail(
            id=str(message["Message-ID"] or "").strip("<>"),
            at=now().isoformat(timespec="seconds"),
            to=", ".join(envelope.rcpt_tos),
            sender=str(message["From"] or ""),
            subject=str(message["Subject"] or ""),
            text=_get_body(message, "plain"),
            html=_show_logo(message, _get_body(message, "html")),
            headers={name: str(message[name]) for name in SHOWN_HEADERS if message[name]},
        )
        self.mails = [*self.mails, mail][-MAX_MAILS:]
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(mail)) + "\n")
        return "250 Kept"


class StrictSmtp(SMTP):
    """Takes addresses literally. The library would decode encoded words, as a mail program does with a header."""

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        match = _MAILBOX_PATTERN.fullmatch(arg.strip())
        if match is None or len(match[1].rpartition("@")[0]) > 64 or len(match[1]) > 254:
            return None, None
        return match[1], match[2]


class StrictController(UnthreadedController):
    def factory(self) -> SMTP:
        return StrictSmtp(self.handler, **self.SMTP_kwargs)


def _show_logo(message: EmailMessage, html: str) -> str:
    """The HTML with its attached images in it, as a mail program shows it."""
    for part in message.walk():
        if part.get_content_maintype() == "image" and part["Content-ID"]:
            address = f"data:{part.get_content_type()};base64,{''.join(str(part.get_payload()).split())}"
            html = html.replace(f"cid:{str(part['Content-ID']).strip('<>')}", address)
    return html


def _get_body(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    return str(body.get_content()) if body is not None else ""


PAGE_TEMPLATE = Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Mailbox stand-in</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
 body { font: 14px/20px system-ui, sans-serif; max-width: 860px; margin: 40px auto; padding: 0 16px }
 h1 { font-size: 22px } li { border-top: 1px solid #8884; padding: 10px 0; list-style: none } ul { padding: 0 }
 .muted { opacity: .65 } pre { white-space: pre-wrap; font: inherit } iframe { width: 100%; height: 70vh; border: 1px solid #8884; background: #fff }
</style></head><body>
<h1>Mailbox</h1><p class="muted">A stand-in that keeps every email Bulkhead sends in development.</p>
{% if mail %}
 <p><a href="/mail">All mail</a></p><h2>{{ mail.subject }}</h2><p class="muted">To {{ mail.to }}, {{ mail.at }}</p>
{% for name, value in mail.headers.items() %} <p class="muted">{{ name }}: {{ value }}</p>
{% endfor %} <h3>Text</h3>
 <pre>{{ mail.text | urlize }}</pre>
 <h3>HTML</h3>
 <iframe sandbox srcdoc="{{ mail.html }}" title="HTML part"></iframe>
{% elif mails %}<ul>{% for one in mails %}
 <li><a href="/mail/{{ one.id | urlencode }}">{{ one.subject }}</a><br><span class="muted">{{ one.to }}, {{ one.at }}</span></li>
{% endfor %}</ul>{% else %}<p>No mail yet.</p>{% endif %}</body></html>""")


def build_routes(mailbox: Mailbox) -> list[Route]:
    async def page(request: Request) -> Response:  # noqa: ARG001
        return HTMLResponse(PAGE_TEMPLATE.render(mails=mailbox.mails[::-1]))

    async def one(request: Request) -> Response:
        matching_mails = [mail for mail in mailbox.mails if mail.id == request.path_params["id"]]
        return (
            HTMLResponse(PAGE_TEMPLATE.render(mail=matching_mails[-1]))
            if matching_mails
            else HTMLResponse(PAGE_TEMPLATE.render(), 404)
        )

    async def as_json(request: Request) -> Response:  # noqa: ARG001
        return JSONResponse([asdict(mail) for mail in mailbox.mails])

    return [Route("/mail", page), Route("/mail.json", as_json), Route("/mail/{id:path}", one)]


def build_smtp_controller(mailbox: Mailbox) -> UnthreadedController:
    """An SMTP server on the running event loop. Without a loop, the controller creates one and never closes it."""
    loop = asyncio.get_running_loop()
    return StrictController(mailbox, hostname="127.0.0.1", port=settings().mailbox_port, loop=loop)
