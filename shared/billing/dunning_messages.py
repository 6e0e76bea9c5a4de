"""What billing tells members, and how amounts and days are written in it."""

from dataclasses import dataclass
from datetime import datetime

from shared.billing.models import BillingInvoice
from shared.core import money


@dataclass(frozen=True, slots=True)
class DunningMessage:
    """A message by email and in the app. `about`: id of the object that gets each kind of message once."""

    kind: str
    about: str
    title: str
    body: str


def format_invoice_amount(invoice: BillingInvoice) -> str:
    return money.format_amount(invoice.due or invoice.total, invoice.currency)


def format_day(at: datetime) -> str:
    return f"{at:%-d %B %Y}"
