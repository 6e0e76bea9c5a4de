"""Send emails from templates. A fixed Message-ID lets mail clients recognise an email that was sent twice.

Only the template makes links: the one value `link` behind the one button. Other values may hold words that people
typed; they are shown as text that no mail client turns into a link.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formataddr
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import unquote, urlsplit

import aiosmtplib
from jinja2 import Environment, StrictUndefined

from shared.core import db, log, transaction_retries
from shared.core.circuit_breaker import CircuitBreaker, CircuitOpen
from shared.core.config import MAILGUN, MAILGUN_PLAIN, SMTP_PLAIN, SMTP_TLS, settings
from shared.core.notification_kinds import NOTIFICATION_KINDS
from shared.jobs import mail_frames, mail_suppression_repository
from shared.jobs.mail_errors import MailDeferred as MailDeferred
from shared.jobs.mail_errors import MailRejected as MailRejected
from shared.jobs.mail_errors import MailServerAway as MailServerAway
from shared.jobs.mail_frames import LOGO_ID, MailFrame
from shared.jobs.mailgun_transport import MailgunTransport

TEMPLATE_DIR = Path(__file__).parent / "templates"
PRODUCT_NAME = "Bulkhead"
ITEMS = "[[items]]"  # in a template: a paragraph for each of `items`
COMMAND_TIMEOUT_SECONDS, TOTAL_TIMEOUT_SECONDS = 10, 30
_text_environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  plain text
_html_environment = Environment(undefined=StrictUndefined, autoescape=True)
_SCHEME = re.compile(r"\w*:(?://|\\\\)+")
# Mail clients link "word.word": ASCII dots and those that domain names treat as dots.
_LINKED_DOT = re.compile(r"(?<=\w)[.\u3002\uff0e\uff61](?=[^\W\d_]{2})")


breaker = CircuitBreaker()


class MailTransport(Protocol):
    """What takes mails from us: `SmtpTransport` or `MailgunTransport`, by the scheme of SMTP_URL."""

    async def deliver(self, message: EmailMessage, to: str) -> None:
        """Hand over one mail for one recipient. Raises MailRejected, MailDeferred, MailServerAway."""


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
    items: Sequence[str] = ()  # of a template that lists something
    frame: MailFrame = MailFrame()  # noqa: RUF009  immutable

    @property
    def is_essential(self) -> bool:
        """Whether it is sent after a complaint."""
        kind = NOTIFICATION_KINDS.get(self.frame.kind)
        return kind is None or kind.is_essential


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str
    is_button: bool = False


def unlink(text: str) -> str:
    """`text` without the schemes and dots by which a mail client would recognise a link."""
    return " ".join(_LINKED_DOT.sub(" ", _SCHEME.sub(" ", text)).split())


async def send(email: Email) -> str:
    """Render and send one email as plain text and HTML. Call it outside of transactions: it waits for a server.

    Returns "" for a sent email; the cause where the address gets no more mail, which is recorded.
    Raises MailRejected, MailDeferred.
    """
    message = build_message(email)
    transaction_retries.note_effect()
    if cause := await _withhold(email):
        log.get_logger(__name__).info("mail_withheld", template=email.template, cause=cause)
        return cause
    try:
        with breaker.attempt(MailServerAway):
            await read_transport().deliver(message, email.to)
    except CircuitOpen:
        raise MailServerAway(
            "The mail server did not answer repeatedly; waiting for the next attempt."
        ) from None
    return ""


async def _withhold(email: Email) -> str:
    if email.frame.ignores_suppression:
        return ""
    async with db.transaction() as session:
        return await mail_suppression_repository.withhold_mail(
            session,
            email.to,
            is_essential=email.is_essential,
            message_id=email.message_id,
            template=email.template,
        )


class SmtpTransport:
    async def deliver(self, message: EmailMessage, to: str) -> None:
        """As `MailTransport`."""
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
        except (
            OSError,
            TimeoutError,
        ) as problem:  # connecting and waiting; the library's own derive from these
            raise MailServerAway(f"The mail server does not answer ({type(problem).__name__}).") from problem
        except (
            aiosmtplib.SMTPException
        ) as problem:  # before the recipient was named, so it is not about the recipient
            raise MailDeferred(f"The mail server refused us: {problem}") from problem


def read_transport() -> MailTransport:
    """By SMTP_URL."""
    smtp_url = settings().smtp_url
    url = urlsplit(smtp_url.get_secret_value()) if smtp_url else None
    if url is None or url.scheme not in (MAILGUN, MAILGUN_PLAIN):
        return SmtpTransport()
    scheme = "https" if url.scheme == MAILGUN else "http"
    port = f":{url.port}" if url.port else ""
    domain = url.path.strip("/")
    return MailgunTransport(
        base_url=f"{scheme}://{url.hostname}{port}/v3/{domain}", key=unquote(url.password or "")
    )


def _raise_reply(reply: aiosmtplib.SMTPResponseException) -> NoReturn:
    text = f"{reply.code} {' '.join(reply.message.split())}"
    raise (MailRejected if reply.code >= 500 else MailDeferred)(text) from reply


def build_message(email: Email) -> EmailMessage:
    """Raises MailRejected for an address that no header can hold."""
    words = {name: unlink(value) for name, value in email.values.items()}
    subject_source, *sources = _load_template(email.template)
    subject = _text_environment.from_string(subject_source).render(words)
    message = mail_frames.create_message(email.frame)
    try:
        message["Subject"] = " ".join(subject.split())
        message["From"] = formataddr((PRODUCT_NAME, settings().mail_from))
        message["To"] = email.to
        message["Message-ID"] = f"<{email.message_id}@{settings().mail_from.partition('@')[2]}>"
    except ValueError as problem:
        raise MailRejected("This address can’t receive email.") from problem
    paragraphs = list(_render_paragraphs(sources, words, email.items))
    footer = mail_frames.format_footer(email.frame, PRODUCT_NAME, unlink(email.frame.sender))
    text_parts = [*(_format_text(paragraph, email.link) for paragraph in paragraphs), *footer]
    message.set_content("\n\n".join(text_parts) + "\n")
    _add_html(
        message, email, subject=subject, paragraphs=paragraphs, heading=words.get("tenant", PRODUCT_NAME)
    )
    return message


def _add_html(
    message: EmailMessage, email: Email, *, subject: str, paragraphs: Sequence[Paragraph], heading: str
) -> None:
    html = _html_environment.from_string((TEMPLATE_DIR / "frame.html").read_text()).render(
        subject=subject,
        heading=heading,
        paragraphs=paragraphs,
        link=email.link,
        frame=email.frame,
        sender=unlink(email.frame.sender),
        product_name=PRODUCT_NAME,
        logo_id=LOGO_ID,
    )
    message.add_alternative(html, subtype="html")
    if email.frame.logo:
        html_part = message.get_body(("html",))
        assert isinstance(html_part, EmailMessage)  # added above
        html_part.add_related(email.frame.logo, "image", "png", cid=f"<{LOGO_ID}>", disposition="inline")


@cache
def _load_template(name: str) -> tuple[str, ...]:
    """The parts of the file, split before rendering: a value can't begin a paragraph or a button."""
    source = (TEMPLATE_DIR / f"{name}.txt").read_text()
    return tuple(part.strip() for part in source.strip().split("\n\n"))


def _render_paragraphs(
    sources: Sequence[str], words: dict[str, str], items: Sequence[str]
) -> Iterator[Paragraph]:
    for source in sources:
        if source == ITEMS:
            yield from (Paragraph(unlink(item)) for item in items)
        else:
            yield _render_paragraph(source, words)


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
