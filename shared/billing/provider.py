"""The interface to the payment provider, in our terms. `stripe_adapter` implements it for Stripe.

No call here runs inside a transaction of ours: the provider may take seconds, or not respond at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

# How long a call may take, retries included: a lease on webhooks has to outlive it.
MAX_CALL_S = 25.0

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
MIN_CHECKOUT_LEFT = timedelta(minutes=10)  # of a payment page that is handed out again
CANCELLATION_FEEDBACK = (  # why customers cancel; the provider's own list
    *("too_expensive", "missing_features", "switched_service", "unused"),
    *("customer_service", "too_complex", "low_quality", "other"),
)
SUBSCRIBED = "subscribed"  # code of a refusal: the customer has a subscription that hasn't ended
CHECKOUT_PAID = "checkout_paid"  # code of a refusal: a payment page was paid before it could be closed


class ProviderDown(Exception):
    """The provider didn't respond or failed. Retry later."""


class ProviderBusy(ProviderDown):
    """We sent too many requests. Retry after `retry_after_s` seconds."""

    def __init__(self, retry_after_s: float = 1.0) -> None:
        super().__init__("rate limited")
        self.retry_after_s = retry_after_s


class KeyRefused(Exception):
    """The provider rejected our key. All requests fail until the key is replaced."""


# What a refusal is about. "card": the payment method; "price": a price that can't be bought; "customer" and
# "subscription": they were deleted or have ended; "checkout": it was completed or has expired; "tax_id": it is malformed;
# "tax_location": the customer's address doesn't say where they are taxed; "tax_setup": our account can't calculate taxes.
RefusalKind = Literal[
    "card", "price", "customer", "subscription", "checkout", "tax_id", "tax_location", "tax_setup", "other"
]


class ProviderRefused(Exception):
    """The provider declined the request. `message`: in its words, for logs and operators.

    Only messages of the kind "card" are meant for customers. `provider_errors` has our sentences for the others.
    """

    def __init__(self, message: str, code: str = "", *, kind: RefusalKind = "other") -> None:
        super().__init__(f"{code}: {message}")
        self.message, self.code, self.kind = message, code, kind


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


class Provider(Protocol):
    """One account. Raises ProviderDown, ProviderBusy, KeyRefused, ProviderRefused, and no exceptions of the SDK.

    A `key` parameter makes a call idempotent: two calls with the same key have one effect.
    """

    async def get_account_id(self) -> str: ...

    async def get_tax_setup(self) -> TaxSetup: ...

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        """Id of the new customer. Repeated calls for a tenant return the same one."""
        ...

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        """The full state: all subscriptions and invoices, ended ones included.

        A customer that no longer exists is `deleted`.
        """
        ...

    async def fetch_billing_details(self, customer_id: str) -> BillingDetails: ...

    async def update_billing_details(
        self, customer_id: str, details: BillingDetails, *, removed_tax_ids: Sequence[str] = ()
    ) -> None:
        """Replaces name, email and address, adds tax ids that are missing, and then removes those with these ids.

        A repeated call completes one that failed. A refusal of the kind "tax_id" leaves everything but the tax ids
        changed, any other one leaves nothing changed.
        """
        ...

    async def get_tenant_id(self, customer_id: str) -> str:
        """The tenant that a customer was created for; "" for a customer of another product, or a deleted one."""
        ...

    async def find_customer_id(self, object_id: str) -> str:
        """The customer of an object that an event named, such as a subscription or an invoice; "" without one."""
        ...

    async def create_checkout(self, order: CheckoutOrder) -> Checkout:
        """A payment page that can be paid for less than an hour."""
        ...

    async def close_checkouts(self, customer_id: str, *, keep: str = "") -> OpenCheckouts:
        """Closes the customer's open payment pages; afterwards no one can pay on them.

        `keep`: fingerprint of the order whose newest page stays open, where `MIN_CHECKOUT_LEFT` is left. Raises
        ProviderRefused of the kind "checkout" with code `CHECKOUT_PAID` where one was paid meanwhile; all other pages
        are closed then.
        """
        ...

    async def create_portal(self, customer_id: str, return_url: str) -> str:
        """A page where the customer replaces the payment method and finds invoices."""
        ...

    async def save_portal_settings(self) -> bool:
        """Saves what customers may do on that page. False where it was saved already."""
        ...

    async def has_portal_settings(self) -> bool: ...

    async def preview_change(
        self,
        customer_id: str,
        subscription_id: str,
        lines: Sequence[OrderLine],
        as_of: datetime | None = None,
        *,
        bill_now: bool = False,
    ) -> ChangePreview:
        """`lines`: all lines of the new subscription.

        `bill_now`: the invoice that the change makes at once, instead of the next one.
        """
        ...

    async def change_subscription(
        self,
        subscription_id: str,
        lines: Sequence[OrderLine],
        *,
        as_of: datetime | None,
        prorate: bool,
        bill_now: bool = False,
        canceled_addons: Sequence[CanceledAddon] = (),
        key: str,
    ) -> PendingChange | None:
        """`bill_now`: the proration is invoiced at once, instead of with the next period.

        Returns None where it took effect. A change that is due today and not paid leaves everything as it was.
        A scheduled change is dropped.
        """
        ...

    async def schedule_change(self, subscription_id: str, lines: Sequence[OrderLine], key: str) -> None:
        """Changes an active subscription at the end of its period, without proration.

        `lines`: all lines of the new subscription. Replaces a change that is scheduled already.
        """
        ...

    async def drop_scheduled_change(self, subscription_id: str, key: str) -> None:
        """Keeps what the subscription has now. Does nothing without a scheduled change."""
        ...

    async def cancel_subscription(
        self,
        subscription_id: str,
        *,
        at_period_end: bool,
        reason: Cancellation = NO_REASON,
        key: str,
    ) -> None:
        """A scheduled change is dropped. The credit of a paused subscription is added to the customer's balance."""
        ...

    async def resume_subscription(self, subscription_id: str, key: str) -> None:
        """Resumes a subscription that is paused or ends with its period, and forgets why it was cancelled."""
        ...

    async def pause_subscription(self, subscription_id: str, key: str) -> None:
        """Pauses an active subscription now. No invoice is made until it is resumed, whose invoice takes the credit for
        unused time and the charge for usage.
        """
        ...

    async def pause_collection(self, subscription_id: str, dispute_id: str, key: str) -> None:
        """Keeps the invoices of a subscription as drafts from now on, and marks it with the dispute. It stays active.

        Does nothing where its collection is paused already.
        """
        ...

    async def resume_collection(self, subscription_id: str, key: str) -> None:
        """Ends a pause of `pause_collection`, and collects the drafts. A pause that was made elsewhere stays."""
        ...

    async def preview_pause(self, customer_id: str, subscription_id: str) -> ChangePreview:
        """That credit and that charge. Without lines where there is neither."""
        ...

    async def preview_resume(self, customer_id: str, subscription_id: str) -> ChangePreview:
        """The invoice of resuming a paused subscription now."""
        ...

    async def undo_unpaid_tax(self, subscription_id: str, before: datetime, key: str) -> None:
        """Turns the tax off where it was turned on before that time for a change that wasn't paid."""
        ...

    async def end_trial(self, subscription_id: str, key: str) -> None:
        """Ends a trial now, which charges the first period. Does nothing without one.

        Raises ProviderRefused of the kind "card" where that isn't paid; the trial then goes on.
        """
        ...

    async def extend_trial(self, subscription_id: str, until: datetime, key: str) -> None:
        """Moves the end of a running trial to a later time. Nothing is charged; periods are counted from then.

        Does nothing where it ends then or later. Raises ProviderRefused of the kind "subscription" without a trial.
        """
        ...

    async def start_transfer_subscription(self, order: TransferOrder) -> str:
        """Id of a subscription that is active at once and sends an invoice for each period. Nothing is charged.

        Idempotent by the key of the order without a time limit. The customer has an email address. Raises
        ProviderRefused with code `SUBSCRIBED` for a customer who has another subscription.
        """
        ...

    async def mark_paid(self, invoice_id: str, key: str) -> None:
        """Marks an invoice as paid by a transfer. Final. Does nothing where that was done.

        Raises ProviderRefused for one that is void, or paid in another way.
        """
        ...

    async def void_invoice(self, invoice_id: str, key: str) -> None:
        """Voids an open invoice, so that it is never collected. Raises ProviderRefused for a paid one.

        A change that waits for its payment is dropped.
        """
        ...

    async def push_price(self, tag: PriceTag) -> str:
        """Id of the price at the provider. Idempotent."""
        ...

    async def read_price(self, tag: PriceTag) -> RemotePrice: ...

    async def add_credit(
        self, customer_id: str, amount: int, currency: str, description: str, key: str
    ) -> str:
        """Credits the next invoices; a negative amount is charged. Returns the id of the entry.

        Idempotent by `key` without a time limit, as refunds are.
        """
        ...

    async def refund_invoice(self, invoice_id: str, amount: int, key: str) -> str: ...

    async def charge_once(
        self, customer_id: str, amount: int, currency: str, description: str, *, method_id: str, key: str
    ) -> SingleCharge:
        """Charges this payment method now, by an invoice of its own that has nothing else. Tax is added to the amount.

        Raises ProviderRefused of the kind "card" where the payment failed; the invoice is void then. Idempotent by `key`
        without a time limit, as refunds are.
        """
        ...

    async def close_charge(self, customer_id: str, key: str) -> SingleCharge | None:
        """What became of the charge with this key, which is not tried any more. None: nothing was or will be charged.

        An invoice that isn't paid, and that no bank settles at the moment, is closed.
        """
        ...

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        """Repeated reports with the same identifier count once."""
        ...
