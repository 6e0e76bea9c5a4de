"""Send emails from templates. A fixed Message-ID lets mail clients recognise an email that was sent twice.

Only the template makes links: the one value `link` behind the one button. Other values may hold words that people
typed; they are shown as text that no mail client turns into a link.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formataddr
from functools import cache
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

import aiosmtplib
from jinja2 import Environment, StrictUndefined

from shared.core import transaction_retries
from shared.core.circuit_breaker import CircuitBreaker, CircuitOpen
from shared.core.config import SMTP_PLAIN, SMTP_TLS, settings

TEMPLATE_DIR = Path(__file__).parent / "templates"
PRODUCT_NAME = "Bulkhead"
COMMAND_TIMEOUT_SECONDS, TOTAL_TIMEOUT_SECONDS = 10, 30
_text_environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  plain text
_html_environment = Environment(undefined=StrictUndefined, autoescape=True)
_SCHEME = re.compile(r"\w*:(?://|\\\\)+")
# Mail clients link "word.word": ASCII dots and those that domain names treat as dots.
_LINKED_DOT = re.compile(r"(?<=\w)[.\u3002\uff0e\uff61](?=[^\W\d_]{2})")


breaker = CircuitBreaker()


class MailRejected(Exception):
    """The mail server refused this mail for good (RFC 5321 4.2.1: 5yz). The text is its reply."""


class MailDeferred(Exception):
    """The mail server took neither the mail nor a final decision; a later attempt may succeed."""


class MailServerAway(MailDeferred):
    """The mail server does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """`template` names a file in templates/: the subject, a blank line, then paragraphs.

    A paragraph in brackets is the label of the button that opens `link`.
    """

    to: str
    template: str
    message_id: str
    link: str = ""
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    is_button: bool = False


def unlink(text: str) -> str:
    """`text` without the schemes and dots by which a mail client would recognise a link."""
    return " ".join(_LINKED_DOT.sub(" ", _SCHEME.sub(" ", text)).split())


async def send(email: Email) -> None:
    """Render and send one email as plain text and HTML. Call it outside of transactions: it waits for a server.

    Raises MailRejected, MailDeferred.
    """
    message = build_message(email)
    transaction_retries.note_effect()
    try:
        with breaker.attempt(MailServerAway):
            await _deliver(message, email.to)
    except CircuitOpen:
        raise MailServerAway(
            "The mail server did not answer repeatedly; waiting for the next attempt."
        ) from None


async def _deliver(message: EmailMessage, to: str) -> None:
    try:
        async with asyncio.timeout(TOTAL_TIMEOUT_SECONDS):
            await aiosmtplib.send(
                message,
                sender=settings().mail_from,
                recipients=[to],  # never read from a header, where an encoded word means another mailbox
                timeout=COMMAND_TIMEOUT_SECONDS,
                **_smtp_options(),
            )
    except aiosmtplib.SMTPRecipientsRefused as refusal:
        _raise_reply(refusal.recipients[0])
    except aiosmtplib.SMTPDataError as refusal:
        _raise_reply(refusal)
    except (OSError, TimeoutError) as problem:  # connecting and waiting; the library's own derive from these
        raise MailServerAway(f"The mail server does not answer ({type(problem).__name__}).") from problem
    except (
        aiosmtplib.SMTPException
    ) as problem:  # before the recipient was named, so it is not about the recipient
        raise MailDeferred(f"The mail server refused us: {problem}") from problem


def _raise_reply(reply: aiosmtplib.SMTPResponseException) -> NoReturn:
    text = f"{reply.code} {' '.join(reply.message.split())}"
    raise (MailRejected if reply.code >= 500 else MailDeferred)(text) from reply


def build_message(email: Email) -> EmailMessage:
    """Raises MailRejected for an address that no header can hold."""
    words = {name: unlink(value) for name, value in email.values.items()}
    subject_source, *sources = _load_template(email.template)
    subject = _text_environment.from_string(subject_source).render(words)
    message = EmailMessage()
    try:
        message["Subject"] = " ".join(subject.split())
        message["From"] = formataddr((PRODUCT_NAME, settings().mail_from))
        message["To"] = email.to
        message["Message-ID"] = f"<{email.message_id}@{settings().mail_from.partition('@')[2]}>"
    except ValueError as problem:
        raise MailRejected("This address can’t receive email.") from problem
    paragraphs = [_render_paragraph(source, words) for source in sources]
    message.set_content("\n\n".join(_format_text(paragraph, email.link) for paragraph in paragraphs) + "\n")
    message.add_alternative(
        _html_environment.from_string((TEMPLATE_DIR / "frame.html").read_text()).render(
            subject=subject,
            heading=words.get("tenant", PRODUCT_NAME),
            paragraphs=paragraphs,
            link=email.link,
        ),
        subtype="html",
    )
    return message


@cache
def _load_template(name: str) -> tuple[str, ...]:
    """The parts of the file, split before rendering: a value can't begin a paragraph or a button."""
    source = (TEMPLATE_DIR / f"{name}.txt").read_text()
    return tuple(part.strip() for part in source.strip().split("\n\n"))


def _render_paragraph(source: str, words: dict[str, str]) -> Paragraph:
    is_button = source.startswith("[") and source.endswith("]")
    text = _text_environment.from_string(source[1:-1] if is_button else source).render(words)
    return Paragraph(text, is_button)


def _format_text(paragraph: Paragraph, link: str) -> str:
    return f"{paragraph.text}:\n{link}" if paragraph.is_button else paragraph.text


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    host: str
    port: int
    uses_tls: bool  # from the first byte
    uses_starttls: bool
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def is_encrypted(self) -> bool:
        return self.uses_tls or self.uses_starttls


def read_smtp_server() -> SmtpServer:
    """Where and how to connect. `smtp://` refuses a server without STARTTLS before it sends a password."""
    smtp_url = settings().smtp_url
    if smtp_url is None:
        return SmtpServer(host="127.0.0.1", port=settings().mailbox_port, uses_tls=False, uses_starttls=False)
    url = urlsplit(smtp_url.get_secret_value())
    return SmtpServer(
        host=url.hostname or "",
        port=url.port or (465 if url.scheme == SMTP_TLS else 587),
        uses_tls=url.scheme == SMTP_TLS,
        uses_starttls=url.scheme not in (SMTP_TLS, SMTP_PLAIN),
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
    )


def _smtp_options() -> dict[str, Any]:
    server = read_smtp_server()
    options: dict[str, Any] = {
        "hostname": server.host,
        "port": server.port,
        "use_tls": server.uses_tls,
        "start_tls": server.uses_starttls,
    }
    if server.user:
        options |= {"username": server.user, "password": server.password}
    return options
