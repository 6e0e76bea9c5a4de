"""What the payment provider takes and returns, in our terms: customers, subscriptions, invoices, orders, prices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

STATUSES = (  # of a subscription, keys of `access_schedule.ACCESS_TABLE`; any other status is kept as it is
    *("trialing", "active", "past_due", "unpaid", "incomplete", "incomplete_expired", "canceled", "paused"),
)


AfterTrial = Literal["cancel", "pause", "invoice"]


PauseCause = Literal["trial", "payment", "request", ""]  # "": unknown, or not paused


FAILED_REFUND_STATUSES = ("failed", "canceled")


UNANSWERED_DISPUTE_STATUSES = ("needs_response", "warning_needs_response")


ENDED_DISPUTE_STATUSES = ("won", "lost", "warning_closed", "prevented")


PAUSING_DISPUTE_STATUSES = ("needs_response", "under_review")  # nothing else is collected meanwhile


WITHDRAWN_DISPUTE_STATUSES = ("needs_response", "under_review", "lost")  # the bank has taken the money


CANCELLATION_FEEDBACK = (  # why customers cancel; the provider's own list
    *("too_expensive", "missing_features", "switched_service", "unused"),
    *("customer_service", "too_complex", "low_quality", "other"),
)


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """One price in a subscription. `price_id` is ours, "" for one that was never ours."""

    id: str  # the provider's
    price_id: str
    external_price_id: str
    quantity: int  # 0 for metered prices
    starts_at: datetime | None  # of the current period
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class CanceledAddon:
    """A cancelled add-on that is paid until its period ends."""

    price_id: str
    quantity: int
    until: datetime


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A change that takes effect when its invoice is paid, and is dropped at `expires_at`."""

    invoice_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class OrderLine:
    """`quantity` None: metered."""

    price_id: str
    external_price_id: str
    quantity: int | None


@dataclass(frozen=True, slots=True)
class ScheduledChange:
    """A change at the end of a period. `lines`: all lines of the subscription from then on."""

    at: datetime
    lines: tuple[OrderLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """Why a customer cancelled, here or at the provider, and when. Empty where they didn't say.

    `feedback`: one of CANCELLATION_FEEDBACK. `comment`: in their own words; never written to logs.
    """

    feedback: str = ""
    comment: str = ""
    canceled_at: datetime | None = None


NO_REASON = Cancellation()


@dataclass(frozen=True, slots=True)
class Subscription:
    id: str
    status: str
    created_at: datetime
    lines: tuple[SubscriptionItem, ...] = ()
    kept: tuple[CanceledAddon, ...] = ()
    trial_ends_at: datetime | None = None
    after_trial: AfterTrial = "invoice"  # what happens then without a payment method
    pays: bool = False  # has a payment method
    cancel_at: datetime | None = None  # also for an end with the period
    ended_at: datetime | None = None
    failed_since: datetime | None = None  # when the first invoice that is still unpaid fell due
    currency: str = ""
    pause_cause: PauseCause = ""
    paused_collection: str = ""  # what happens to its invoices instead of charging them; "": they are charged
    pending_change: PendingChange | None = None
    is_taxed: bool = False  # the provider calculates the tax of its invoices
    cancellation: Cancellation = NO_REASON
    scheduled_change: ScheduledChange | None = None
    paused_at: datetime | None = None
    # When its tax was turned on for a change that wasn't paid; None where that is paid, waits for its payment, or never was.
    unpaid_tax_at: datetime | None = None
    dispute_mark: str = ""  # the dispute because of which we paused its collection
    days_until_due: int = 0  # of its invoices, which are paid by transfer; 0: they are charged automatically


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    said: str
    amount: int
    quantity: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    proration: bool
    from_item: bool = False  # a separate item, such as a proration, that is charged even without a renewal
    item_id: str = field(default="", compare=False)  # of that item, "" where the provider names none
    external_price_id: str = field(default="", compare=False)  # the provider's, "" for a line without a price


@dataclass(frozen=True, slots=True)
class Invoice:
    """`total`: `subtotal`, less `discount`, plus the part of `tax` that isn't `included_tax`."""

    id: str
    number: str
    status: str  # draft, open, paid, void, uncollectible
    currency: str
    total: int
    due: int
    paid: int
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    starts_at: datetime | None
    ends_at: datetime | None
    page_url: str
    pdf_url: str
    subscription_id: str
    lines: tuple[InvoiceLine, ...] = ()
    credited: int = 0  # by credit notes
    subtotal: int | None = None  # the sum of the lines; None where the provider doesn't tell it
    discount: int = 0
    tax: int = 0
    included_tax: int = 0  # the part of it that prices contain
    key: str = ""  # of the single charge that made it
    due_at: datetime | None = None  # of one that is paid by transfer; None: it is charged automatically


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleCharge:
    """A charge beside the subscriptions. `is_paid`: False while a bank settles the payment, which takes days."""

    invoice_id: str
    is_paid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpcomingInvoice:
    """The next invoice of a subscription as the provider previews it, with usage so far.

    `total` is the sum of `lines`, less `discount`, plus `tax`. `due` is what is charged after the customer's credit.
    """

    subscription_id: str
    currency: str
    at: datetime | None
    total: int
    due: int
    lines: tuple[InvoiceLine, ...] = ()
    discount: int = 0
    tax: int = 0  # on top of the lines
    included_tax: int = 0  # within them
    is_last: bool = False  # the subscription ends then; usage until then is added


@dataclass(frozen=True, slots=True)
class UpcomingCharges:
    """`unknown_ids`: live subscriptions for which the provider refused a preview."""

    invoices: tuple[UpcomingInvoice, ...] = ()
    unknown_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money on its way back to the customer. `key`: of the request, "" for one made at the provider."""

    id: str
    invoice_id: str
    credit_note_id: str
    key: str
    amount: int
    currency: str
    status: str  # pending, requires_action, succeeded, failed, canceled
    failure_reason: str
    created_at: datetime
    tax: int = 0  # the part of the amount that was tax, as far as a credit note tells it


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A payment that the customer disputed at their bank."""

    id: str
    invoice_id: str
    amount: int
    currency: str
    reason: str
    status: str
    is_refundable: bool
    respond_by: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FraudWarning:
    """The bank of a card suspects that a payment is fraudulent.

    `is_actionable`: the payment was neither disputed nor fully refunded since.
    """

    id: str
    invoice_id: str
    amount: int
    currency: str
    fraud_type: str
    is_actionable: bool
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMethod:
    """`expires_at`: of a card, which can be charged until then; None for other methods."""

    id: str
    text: str  # as in "Visa ending in 4242"
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CustomerState:
    """The state of a customer at one fetch."""

    id: str
    deleted: bool = False
    method: str = ""  # how they pay, as in "Visa ending in 4242"
    balance: int = 0  # credit is negative
    currency: str = ""
    subscriptions: tuple[Subscription, ...] = ()
    invoices: tuple[Invoice, ...] = ()
    upcoming: UpcomingCharges = UpcomingCharges()
    refunds: tuple[Refund, ...] = ()
    disputes: tuple[Dispute, ...] = ()
    fraud_warnings: tuple[FraudWarning, ...] = ()
    # What pays each live subscription, by its id; without those that nothing is known to pay.
    methods: Mapping[str, PaymentMethod] = field(default_factory=dict)
    # Of what pays each live subscription, by its id: the same for every payment method of one card or bank account.
    card_fingerprints: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaxId:
    type: str  # as in "eu_vat"
    value: str
    id: str = ""  # the provider's, "" for one that it doesn't have yet

    def is_same_number(self, other: "TaxId") -> bool:
        """Whatever blanks and punctuation they are written with."""
        return self.type == other.type and _strip_number(self.value) == _strip_number(other.value)


def _strip_number(value: str) -> str:
    return "".join(character for character in value.upper() if character.isalnum())


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingDetails:
    """What is on a customer's invoices. Empty fields are not set."""

    name: str = ""
    email: str = ""
    line1: str = ""
    line2: str = ""
    postal_code: str = ""
    city: str = ""
    state: str = ""
    country: str = ""  # two letters, as in "DE"
    tax_ids: tuple[TaxId, ...] = ()  # the newest first; all are on the invoices


@dataclass(frozen=True, slots=True)
class CheckoutOrder:
    customer_id: str
    lines: tuple[OrderLine, ...]
    trial_days: int
    return_url: str  # after paying; the provider replaces {CHECKOUT_SESSION_ID} with the session's id
    cancel_url: str  # for people who leave without paying
    key: str  # idempotency key of this order
    fingerprint: str = ""  # equal for equal orders
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferOrder:
    """A subscription whose invoices are paid by bank transfer. `days_until_due`: of each invoice, from its creation."""

    customer_id: str
    lines: tuple[OrderLine, ...]
    days_until_due: int
    key: str  # of this order
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkout:
    """A payment page of the provider."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class OpenCheckouts:
    """A customer's payment pages after closing.

    `kept`: was still open when the others had been closed. `newest_id`: of the newest page, open or not, "" without one.
    """

    kept: Checkout | None
    newest_id: str


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """The cost of a change. `due`: charged now or with the next invoice; `lines`, less `discount`, plus `tax`, plus `balance`.

    `change_tax`, `change_included_tax`: of the lines that this change causes, without those of earlier ones.
    """

    currency: str
    due: int
    lines: tuple[InvoiceLine, ...]
    as_of: datetime  # proration starts here; the change has to pass the same time
    discount: int = 0
    tax: int = 0  # on top of the lines
    included_tax: int = 0  # within them
    balance: int = 0  # of earlier invoices and credits; credit is negative
    change_tax: int = 0
    change_included_tax: int = 0


@dataclass(frozen=True, slots=True)
class PriceTag:
    """A price in the provider's terms."""

    id: str  # ours
    product_id: str  # ours: of the plan version
    product_name: str
    period: Literal["month", "year"]
    kind: Literal["flat", "seat", "metered"]
    currency: str
    amount: int
    tiers: tuple[tuple[int | None, int, int], ...] = ()  # up to, per unit, flat
    tiers_mode: str = ""
    meter: str = ""
    tax_behavior: str = ""  # "exclusive", "inclusive", or "" for the provider's default


@dataclass(frozen=True, slots=True)
class RemotePrice:
    external_id: str
    tag: PriceTag | None  # None: no price with this id
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxSetup:
    """`is_ready`: our account can calculate taxes. `has_default`: and of prices without a tax behavior too."""

    is_ready: bool
    has_default: bool
