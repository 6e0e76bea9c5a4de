"""What billing asks of whoever takes the money, in our words. Stripe stands behind it (`stripe_gateway`); so could another.

No call here runs inside a transaction of ours: the other side may take seconds, or not answer at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

# How long a call may take, retries included: a lease on webhooks has to outlive it.
MAX_CALL_S = 25.0

STATUSES = (  # of a subscription, in the words of the access table (`course.TABLE`); any other word is kept as it is
    *("trialing", "active", "past_due", "unpaid", "incomplete", "incomplete_expired", "canceled", "paused"),
)
AfterTrial = Literal["cancel", "pause", "invoice"]


class ProviderDown(Exception):
    """Nobody answered, or with a fault of theirs. Worth another try later."""


class ProviderBusy(ProviderDown):
    """We asked too often. `wait` seconds."""

    def __init__(self, retry_after_s: float = 1.0) -> None:
        super().__init__("asked too often")
        self.retry_after_s = retry_after_s


class KeyRefused(Exception):
    """Our key is not taken: nothing will work until somebody gives us another one."""


class ProviderRefused(Exception):
    """They understood and said no, such as a declined card. `said` may be shown to the person."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.message, self.code = message, code


@dataclass(frozen=True, slots=True)
class SubscriptionItem:
    """One price in a subscription. `price_id` is ours, "" for one that was never ours."""

    id: str  # the provider's
    price_id: str
    external_price_id: str
    quantity: int  # 0 for what is metered
    starts_at: datetime | None  # of the current period
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class CanceledAddon:
    """An add-on that was given up and is paid until its period ends."""

    price_id: str
    quantity: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    id: str
    status: str
    created_at: datetime
    lines: tuple[SubscriptionItem, ...] = ()
    kept: tuple[CanceledAddon, ...] = ()
    trial_ends_at: datetime | None = None
    after_trial: AfterTrial = "invoice"  # what happens then, without a way to pay
    pays: bool = False  # there is a way to pay
    cancel_at: datetime | None = None  # also where it ends with its period
    ended_at: datetime | None = None
    failed_since: datetime | None = None  # when the first invoice that is still unpaid fell due
    currency: str = ""


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    said: str
    amount: int
    quantity: int | None
    starts_at: datetime | None
    ends_at: datetime | None
    proration: bool


@dataclass(frozen=True, slots=True)
class Invoice:
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


@dataclass(frozen=True, slots=True)
class CustomerState:
    """Everything about a customer that we keep, as it was at one look."""

    id: str
    deleted: bool = False
    method: str = ""  # how they pay, as in "Visa ending in 4242"
    balance: int = 0  # credit is negative
    currency: str = ""
    subscriptions: tuple[Subscription, ...] = ()
    invoices: tuple[Invoice, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderLine:
    """`quantity` None: metered."""

    price_id: str
    external_price_id: str
    quantity: int | None


@dataclass(frozen=True, slots=True)
class CheckoutOrder:
    customer_id: str
    lines: tuple[OrderLine, ...]
    trial_days: int
    return_url: str  # after paying; the provider puts its session's id for {CHECKOUT_SESSION_ID}
    cancel_url: str  # for who does not pay
    key: str  # of this order: asked twice, it is one
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChangePreview:
    """What a change costs. `due`: now or on the next invoice, as `lines` say; `then`: every period from then on."""

    currency: str
    due: int
    lines: tuple[InvoiceLine, ...]
    as_of: datetime  # proration counts from here; the change has to say the same time


@dataclass(frozen=True, slots=True)
class PriceTag:
    """A price as the provider is to have it."""

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


@dataclass(frozen=True, slots=True)
class RemotePrice:
    external_id: str
    tag: PriceTag | None  # None: there is none of this id
    active: bool = True


class Provider(Protocol):
    """One account. Raises ProviderDown, TooMany, KeyRefused, ProviderRefused; nothing of its SDK comes out.

    `key`: asked twice with the same one, it happens once.
    """

    async def get_account_id(self) -> str: ...

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        """Its id. One per tenant, however often it is asked for."""
        ...

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        """The whole of it: every subscription, the ended ones too, every page. A customer that is gone is `deleted`."""
        ...

    async def create_checkout(self, order: CheckoutOrder) -> str:
        """Address of the provider's page."""
        ...

    async def create_portal(self, customer_id: str, return_url: str) -> str: ...

    async def preview_change(
        self,
        customer_id: str,
        subscription_id: str,
        lines: Sequence[OrderLine],
        as_of: datetime | None = None,
    ) -> ChangePreview:
        """`lines`: all of the subscription as it should become."""
        ...

    async def change_subscription(
        self,
        subscription_id: str,
        lines: Sequence[OrderLine],
        *,
        as_of: datetime | None,
        prorate: bool,
        canceled_addons: Sequence[CanceledAddon] = (),
        key: str,
    ) -> None: ...

    async def cancel_subscription(self, subscription_id: str, *, at_period_end: bool, key: str) -> None: ...

    async def resume_subscription(self, subscription_id: str, key: str) -> None:
        """Of one that would end with its period, or that is paused."""
        ...

    async def push_price(self, tag: PriceTag) -> str:
        """Its id there. Twice is once."""
        ...

    async def read_price(self, tag: PriceTag) -> RemotePrice: ...

    async def add_credit(
        self, customer_id: str, amount: int, currency: str, description: str, key: str
    ) -> str:
        """On the next invoices. A negative amount is owed on top. Id of the entry there.

        Once for a key however long ago it was first asked for; so is a refund.
        """
        ...

    async def refund_invoice(self, invoice_id: str, amount: int, key: str) -> str: ...

    async def report_usage(
        self, customer_id: str, meter: str, quantity: int, at: datetime, identifier: str
    ) -> None:
        """Sent twice with one identifier it counts once."""
        ...
