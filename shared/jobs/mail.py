"""Send emails from templates. A fixed Message-ID lets mail clients recognise an email that was sent twice."""

from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formataddr
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiosmtplib
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from shared.core.config import settings
from shared.core.errors import Invalid

TEMPLATE_DIR = Path(__file__).parent / "templates"
SENDER_NAME = "Bulkhead"
_text_templates = Environment(
    loader=FileSystemLoader(TEMPLATE_DIR),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701  plain text
)
_html_templates = Environment(
    loader=FileSystemLoader(TEMPLATE_DIR), undefined=StrictUndefined, autoescape=True
)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text, or a button's label and its `url`."""

    text: str
    url: str = ""


async def send(to: str, template: str, message_id: str, **values: object) -> None:
    """Render and send one email as plain text and HTML. Raises Invalid for an address that can't receive email.

    `template` names a file in templates/: the subject, a blank line, then paragraphs. A paragraph of two lines, a
    label and a link, becomes a button in the HTML part.
    """
    subject, _, body = _text_templates.get_template(f"{template}.txt").render(**values).partition("\n")
    message = EmailMessage()
    try:
        message["Subject"] = " ".join(subject.split())
        message["From"] = formataddr((SENDER_NAME, settings().mail_from))
        message["To"] = to
        message["Message-ID"] = f"<{message_id}@{settings().mail_from.partition('@')[2]}>"
    except ValueError as problem:
        raise Invalid("We can't send email to this address.", "Check it.") from problem
    body = body.strip() + "\n"
    message.set_content(body)
    paragraphs = [_parse_paragraph(part.strip()) for part in body.split("\n\n")]
    message.add_alternative(
        _html_templates.get_template("frame.html").render(subject=subject, paragraphs=paragraphs),
        subtype="html",
    )
    host, port, options = _smtp_server()
    await aiosmtplib.send(message, hostname=host, port=port, timeout=10, **options)


def _parse_paragraph(text: str) -> Paragraph:
    label, _, url = text.rpartition("\n")
    return Paragraph(label.rstrip(":"), url) if label and url.startswith("http") else Paragraph(text)


def _smtp_server() -> tuple[str, int, dict[str, Any]]:
    smtp_url = settings().smtp_url
    if smtp_url is None:
        return "127.0.0.1", settings().mailbox_port, {"start_tls": False}
    url = urlsplit(smtp_url.get_secret_value())
    options: dict[str, Any] = {"use_tls": url.scheme == "smtps"}
    if url.username:
        options |= {"username": unquote(url.username), "password": unquote(url.password or "")}
    return url.hostname or "localhost", url.port or (465 if url.scheme == "smtps" else 587), options
