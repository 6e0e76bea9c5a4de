"""What surrounds the words of a mail: whose look it has, how it is declined, and the headers for both."""

from dataclasses import dataclass
from email import policy
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage

DEFAULT_COLOUR = "#3e5bd9"
LOGO_ID = "logo"
ONE_CLICK = "List-Unsubscribe=One-Click"  # https://www.rfc-editor.org/rfc/rfc8058, section 3.1


@dataclass(frozen=True, slots=True, kw_only=True)
class MailFrame:
    """Without values: an essential mail of the platform in its own look."""

    kind: str = ""  # core.notification_kinds: whether the mail is essential
    unsubscribe_link: str = ""  # "" for what can't be declined
    settings_link: str = ""
    sender: str = ""  # the organisation, as its members see it
    colour: str = ""  # "#rrggbb"
    logo: bytes = b""  # PNG
    names_product: bool = True  # False: white label
    ignores_suppression: bool = False  # for the mail by which a person proves the address again

    @property
    def button_colour(self) -> str:
        return self.colour or DEFAULT_COLOUR

    @property
    def button_ink(self) -> str:
        """Black or white, whichever is easier to read on the button (WCAG 2, relative luminance)."""
        channels = [int(self.button_colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels
        )
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        return "#ffffff" if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else "#000000"


class UnfoldedHeader(UnstructuredHeader, BaseHeader):
    """A header on one line. The library would break a long address into encoded words, which no mail client follows."""

    def fold(self, *, policy: policy.Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


_registry = HeaderRegistry()
_registry.map_to_type("list-unsubscribe", UnfoldedHeader)
_policy = policy.EmailPolicy(header_factory=_registry)


def create_message(frame: MailFrame) -> EmailMessage:
    """An empty message with the headers of the frame (RFC 2369, RFC 8058)."""
    message = EmailMessage(policy=_policy)
    if frame.unsubscribe_link:
        message["List-Unsubscribe"] = f"<{frame.unsubscribe_link}>"
        message["List-Unsubscribe-Post"] = ONE_CLICK
    return message


def format_footer(frame: MailFrame, product_name: str, sender: str) -> list[str]:
    """The last paragraphs of the text part. `sender`: as a mail may show it."""
    lines = []
    if frame.unsubscribe_link:
        lines.append(f"Stop these emails:\n{frame.unsubscribe_link}")
    if frame.settings_link:
        lines.append(f"Choose which emails you get:\n{frame.settings_link}")
    if sender and frame.names_product:
        lines.append(f"{product_name} sent this email for {sender}.")
    return lines
