"""Hand mails to Mailgun's HTTP API, where no SMTP port is open
(https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages/post-v3--domain-name--messages-mime).
"""

from dataclasses import dataclass, field
from email.message import EmailMessage

import httpx

from shared.jobs.mail_errors import MailDeferred, MailRejected, MailServerAway

TIMEOUT_SECONDS = 10
MAX_REPLY_LENGTH = 200  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class MailgunTransport:
    base_url: str  # as in "https://api.mailgun.net/v3/mg.example.com"
    key: str = field(repr=False)

    async def deliver(self, message: EmailMessage, to: str) -> None:
        """As `mail.MailTransport`."""
        file = {"message": ("message.eml", message.as_bytes(), "message/rfc822")}
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
                answer = await client.post(
                    f"{self.base_url}/messages.mime", data={"to": to}, files=file, auth=("api", self.key)
                )
        except httpx.HTTPError as problem:
            raise MailServerAway(f"Mailgun does not answer ({type(problem).__name__}).") from problem
        if answer.status_code == 200:
            return
        reply = f"{answer.status_code} {' '.join(answer.text.split())[:MAX_REPLY_LENGTH]}"
        if answer.status_code == 400:  # about this mail; the others are about us or about now
            raise MailRejected(reply)
        raise (MailServerAway if answer.status_code >= 500 else MailDeferred)(reply)
