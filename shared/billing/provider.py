"""The interface to the payment provider, in our terms. `stripe_adapter` implements it for Stripe.

No call here runs inside a transaction of ours: the provider may take seconds, or not respond at all.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol

from shared.billing.provider_values import (
    NO_REASON,
    BillingDetails,
    CanceledAddon,
    Cancellation,
    ChangePreview,
    Checkout,
    CheckoutOrder,
    CustomerState,
    OpenCheckouts,
    OrderLine,
    PendingChange,
    PriceTag,
    RemotePrice,
    SingleCharge,
    TaxSetup,
    TransferOrder,
)

# How long a call may take, retries included: a lease on webhooks has to outlive it.
MAX_CALL_S = 25.0

MIN_CHECKOUT_LEFT = timedelta(minutes=10)  # of a payment page that is handed out again
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
        ProviderRefused with code `SUBSCRIBED` if the customer already has a subscription.
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
