"""Tables of billing. The inbox and the sync guard belong to no tenant: an event arrives before its tenant is known.

`account_id` names our account at the provider: "platform", or one that operators added. Amounts are in the smallest
unit of their currency. `ticket` is the order in which syncs with the provider began.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import ARRAY, BigInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.core.db import TenantRow, now, text_enum, timestamptz
from shared.core.ids import new_id

PLATFORM = "platform"


class ProviderAccount(SQLModel, table=True):
    """`sealed`: its key and webhook secrets, under the data key in `wrapped`. Those of "platform" are settings."""

    __tablename__ = "provider_account"

    id: str = Field(default_factory=lambda: new_id("pac"), primary_key=True)
    name: str
    external_id: str = ""  # as the provider calls it
    livemode: bool = False
    token_hash: str | None = None  # of the token in its webhook address
    sealed: bytes | None = None
    kek_id: int | None = None
    wrapped: bytes | None = None
    paused_at: datetime | None = Field(default=None, sa_type=timestamptz())
    pause_reason: str = ""
    signature_failures: int = 0  # webhooks whose signature didn't match
    signature_failed_at: datetime | None = Field(default=None, sa_type=timestamptz())  # the last of them
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class InboundWebhook(SQLModel, table=True):
    """One webhook as received. The app's database role can't read `payload`."""

    __tablename__ = "inbound_webhook"

    account_id: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    type: str
    livemode: bool
    api_version: str = ""
    created_at: datetime = Field(
        sa_type=timestamptz()
    )  # at the provider, in whole seconds: not usable for ordering
    customer_id: str = ""  # "" without a customer
    object_id: str = ""  # what an event is about whose customer has to be found out
    payload: bytes
    received_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    status: str = "pending"
    due_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    leased_until: datetime | None = Field(default=None, sa_type=timestamptz())
    claim: str = ""  # of the worker that claimed it
    attempts: int = 0
    error: str = ""
    done_at: datetime | None = Field(default=None, sa_type=timestamptz())


class ReconcileRun(SQLModel, table=True):
    __tablename__ = "reconcile_run"

    id: str = Field(default_factory=lambda: new_id("rcr"), primary_key=True)
    cause: str  # "schedule" or "operator"
    by_name: str
    reason: str = ""
    started_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    finished_at: datetime | None = Field(default=None, sa_type=timestamptz())
    checked: int = 0
    drifted: int = 0
    failed: int = 0


class Price(SQLModel, table=True):
    """The price of one part of a plan version from `effective_at` on.

    Append-only; the latest effective one is in force.
    """

    __tablename__ = "price"

    id: str = Field(default_factory=lambda: new_id("prc"), primary_key=True)
    plan_version_id: str = Field(foreign_key="plan_version.id")
    for_tenant: str | None = None  # as its plan's
    period: str  # "month" or "year"
    kind: str  # "flat", "seat" or "metered"
    currency: str
    # Per period, per seat and period, or per unit where there are no tiers.
    amount: int = Field(default=0, sa_type=BigInteger)
    tiers: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONB)  # {"up_to", "unit", "flat"}
    tiers_mode: str = ""  # "graduated" or "volume"
    meter: str = ""
    tax_behavior: str = ""  # "exclusive", "inclusive", or "" for the provider's default
    effective_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_by: str
    reason: str


class ProviderPrice(SQLModel, table=True):
    """The copy of a price at the provider, and its differences."""

    __tablename__ = "provider_price"

    account_id: str = Field(primary_key=True)
    price_id: str = Field(primary_key=True)
    external_id: str = ""
    pushed_at: datetime | None = Field(default=None, sa_type=timestamptz())
    checked_at: datetime | None = Field(default=None, sa_type=timestamptz())
    drift: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)  # what: [ours, theirs]


class BillingCustomer(TenantRow, table=True):
    """A customer of a tenant at the provider. `id` is the provider's.

    The one with the highest generation is current. Earlier ones were deleted at the provider; their invoices stay.
    """

    __tablename__ = "billing_customer"

    id: str = Field(primary_key=True)
    account_id: str = PLATFORM
    generation: int = 0
    tenant_mode: str = "live"  # for the foreign key: a test tenant has no customer
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class BillingSubscription(TenantRow, table=True):
    """A subscription as of the last sync.

    `state`: `provider_values.Subscription` as JSON, without its cancellation. `absent_at`: when the provider no longer had it.
    `cancellation_feedback`, `cancellation_comment`: why the customer cancelled, "" where they didn't say.
    """

    __tablename__ = "billing_subscription"

    id: str = Field(primary_key=True)
    account_id: str
    customer_id: str
    status: str
    state: dict[str, Any] = Field(sa_type=JSONB)
    cancellation_feedback: str = ""
    cancellation_comment: str = ""
    canceled_at: datetime | None = Field(default=None, sa_type=timestamptz())
    created_at: datetime = Field(sa_type=timestamptz())
    ticket: int = Field(sa_type=BigInteger)
    seen_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    absent_at: datetime | None = Field(default=None, sa_type=timestamptz())
    trial_verdict: str = ""  # "accepted", or why its trial was ended: "person" or "card"


class TrialGrant(TenantRow, table=True):
    """An exception by an operator: one more trial. `subscription_id`: that has used it, "" before."""

    __tablename__ = "trial_grant"

    id: str = Field(default_factory=lambda: new_id("trg"), primary_key=True)
    subscription_id: str = ""
    reason: str
    by_id: str
    by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class BillingInvoice(TenantRow, table=True):
    """An invoice as of the last sync. `lines`: {"said", "amount", "quantity", "starts_at", "ends_at", "proration"}.

    `total`: `subtotal`, less `discount`, plus the part of `tax` that isn't `included_tax`.
    """

    __tablename__ = "billing_invoice"

    id: str = Field(primary_key=True)
    account_id: str
    customer_id: str
    subscription_id: str = ""
    number: str = ""
    status: str
    currency: str
    total: int = Field(sa_type=BigInteger)
    due: int = Field(sa_type=BigInteger)
    paid: int = Field(sa_type=BigInteger)
    attempts: int = 0
    next_attempt_at: datetime | None = Field(default=None, sa_type=timestamptz())
    created_at: datetime = Field(sa_type=timestamptz())
    period_starts_at: datetime | None = Field(default=None, sa_type=timestamptz())
    period_ends_at: datetime | None = Field(default=None, sa_type=timestamptz())
    page_url: str = ""
    pdf_url: str = ""
    lines: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONB)
    credited: int = Field(default=0, sa_type=BigInteger)  # by credit notes
    subtotal: int | None = Field(default=None, sa_type=BigInteger)  # None: of a sync before it was kept
    discount: int = Field(default=0, sa_type=BigInteger)
    tax: int = Field(default=0, sa_type=BigInteger)
    included_tax: int = Field(default=0, sa_type=BigInteger)  # the part of it that prices contain
    due_at: datetime | None = Field(default=None, sa_type=timestamptz())  # of one that is paid by transfer
    ticket: int = Field(sa_type=BigInteger)
    seen_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    absent_at: datetime | None = Field(default=None, sa_type=timestamptz())


class RevenueChange(StrEnum):
    """How a tenant's recurring revenue changed in a month."""

    NONE = ""
    NEW = "new"
    EXPANSION = "expansion"
    CONTRACTION = "contraction"
    CHURN = "churn"
    REACTIVATION = "reactivation"


class RecurringRevenue(TenantRow, table=True):
    """A tenant's recurring revenue at the end of a month in which it changed, in one currency.

    Amounts are for twelve months, so that monthly and yearly prices add up without rounding: list prices of running
    subscriptions, without discounts, taxes and usage. `by_plan`: the same by plan id. A month without a row is as before.
    """

    __tablename__ = "recurring_revenue"

    id: str = Field(primary_key=True)  # month and currency, as in "2027-01-usd"
    month: date  # its first day, in UTC
    currency: str
    annual: int = Field(sa_type=BigInteger)
    previous_annual: int = Field(default=0, sa_type=BigInteger)  # at the end of the month before
    has_paid_before: bool = False  # in an earlier month
    change: RevenueChange = Field(sa_type=cast(Any, text_enum(RevenueChange)))
    by_plan: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)


class BillingRefund(TenantRow, table=True):
    """A refund as of the last sync, whoever made it.

    `adjustment_id`: the adjustment that requested it, "" for one made at the provider. `credit_note_id`: the note that
    shows it on the invoice.
    """

    __tablename__ = "billing_refund"

    id: str = Field(primary_key=True)
    account_id: str
    customer_id: str
    invoice_id: str = ""
    credit_note_id: str = ""
    adjustment_id: str = ""
    amount: int = Field(sa_type=BigInteger)
    currency: str
    status: str
    failure_reason: str = ""
    tax: int = Field(default=0, sa_type=BigInteger)  # the part of the amount that was tax
    created_at: datetime = Field(sa_type=timestamptz())
    ticket: int = Field(sa_type=BigInteger)
    seen_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class BillingDispute(TenantRow, table=True):
    """A payment that the customer disputed at their bank, as of the last sync."""

    __tablename__ = "billing_dispute"

    id: str = Field(primary_key=True)
    account_id: str
    customer_id: str
    invoice_id: str = ""
    amount: int = Field(sa_type=BigInteger)
    currency: str
    reason: str = ""
    status: str
    is_refundable: bool = False  # whether the disputed payment can still be refunded
    respond_by: datetime | None = Field(default=None, sa_type=timestamptz())
    created_at: datetime = Field(sa_type=timestamptz())
    ticket: int = Field(sa_type=BigInteger)
    seen_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class BillingFraudWarning(TenantRow, table=True):
    """A payment that the bank of the card suspects to be fraudulent, as of the last sync.

    `is_actionable`: it was neither refunded nor disputed since.
    """

    __tablename__ = "billing_fraud_warning"

    id: str = Field(primary_key=True)
    account_id: str
    customer_id: str
    invoice_id: str = ""
    amount: int = Field(sa_type=BigInteger)
    currency: str
    fraud_type: str = ""
    is_actionable: bool
    created_at: datetime = Field(sa_type=timestamptz())
    ticket: int = Field(sa_type=BigInteger)
    seen_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class BillingSnapshot(TenantRow, table=True):
    """The result of the last sync of a tenant's subscriptions. `schedule`: the `AccessSchedule` as JSON.

    `upcoming`: the `provider.UpcomingCharges` as JSON; {} before the first sync that fetched them. `payment_methods`: the
    `provider.PaymentMethod` of each live subscription, as JSON by its id.
    """

    __tablename__ = "billing_snapshot"

    id: str = Field(default="standing", primary_key=True)
    schedule: dict[str, Any] = Field(sa_type=JSONB)
    status: str  # of the current subscription, as the provider names it; "" without one
    method: str = ""  # how they pay, as in "Visa ending in 4242"
    balance: int = Field(default=0, sa_type=BigInteger)  # credit is negative, as at the provider
    currency: str = ""
    upcoming: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    payment_methods: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    alert: str = ""  # a problem that operators should review
    deleted_customer_id: str = ""  # the current customer where it was deleted at the provider
    extra_subscriptions: int = 0  # that are charged beside the one that gives access
    ticket: int = Field(sa_type=BigInteger)
    changed_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class BillingEvent(TenantRow, table=True):
    """Changes that a sync found. Append-only."""

    __tablename__ = "billing_event"

    id: str = Field(default_factory=lambda: new_id("bev"), primary_key=True)
    at: datetime = Field(default_factory=now, sa_type=timestamptz())
    account_id: str
    customer_id: str
    cause: str  # a `SyncCause`: "webhook", "reconcile", "return", "member" or "operator"
    event_ids: list[str] = Field(
        default_factory=list, sa_type=ARRAY(Text)
    )  # webhooks that triggered the sync
    ticket: int = Field(sa_type=BigInteger)
    previous: dict[str, Any] = Field(sa_type=JSONB)
    next: dict[str, Any] = Field(sa_type=JSONB)
    recalculated: bool  # whether the tenant's access was updated
    request_id: str = ""


class BillingDrift(TenantRow, table=True):
    """A difference from the provider that reconciliation found, without a webhook. Append-only."""

    __tablename__ = "billing_drift"

    id: str = Field(default_factory=lambda: new_id("drf"), primary_key=True)
    at: datetime = Field(default_factory=now, sa_type=timestamptz())
    account_id: str
    customer_id: str
    run_id: str = ""
    differences: list[dict[str, Any]] = Field(sa_type=JSONB)  # {"what", "ours", "theirs"}
    repaired: bool


class BillingAdjustment(TenantRow, table=True):
    """A credit, refund or debit that an operator issued."""

    __tablename__ = "billing_adjustment"

    id: str = Field(default_factory=lambda: new_id("adj"), primary_key=True)
    kind: str  # "credit", "refund" or "debit"
    amount: int = Field(sa_type=BigInteger)
    currency: str
    reason_code: str
    reason: str
    invoice_id: str = ""
    by_id: str
    by_name: str
    state: str = "requested"  # then "done" or "failed"
    external_id: str = ""
    error: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    done_at: datetime | None = Field(default=None, sa_type=timestamptz())


class BillingOrderKind(StrEnum):
    """What an operator has asked the provider for."""

    MARK_PAID = "mark_paid"
    TRANSFER_SUBSCRIPTION = "transfer_subscription"
    TRIAL_EXTENSION = "trial_extension"


class BillingOrderState(StrEnum):
    REQUESTED = "requested"
    DONE = "done"
    FAILED = "failed"


class BillingOrder(TenantRow, table=True):
    """What an operator has asked the provider for, which a job submits with the row's id as its key.

    `subject_id`: the invoice or subscription that it is about, "" for a new one; one order about it is open at a time.
    `terms`: of the kind, as `backoffice.billing_orders` writes them. `external_id`: what it made at the provider.
    """

    __tablename__ = "billing_order"

    id: str = Field(default_factory=lambda: new_id("bor"), primary_key=True)
    kind: BillingOrderKind = Field(sa_type=cast(Any, text_enum(BillingOrderKind)))
    subject_id: str = ""
    terms: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    reason: str
    by_id: str
    by_name: str
    state: BillingOrderState = Field(
        default=BillingOrderState.REQUESTED, sa_type=cast(Any, text_enum(BillingOrderState))
    )
    external_id: str = ""
    error: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    done_at: datetime | None = Field(default=None, sa_type=timestamptz())


class DunningNotice(TenantRow, table=True):
    """A sent message, so that it is sent once. `about`: the invoice or subscription."""

    __tablename__ = "dunning_notice"

    id: str = Field(default_factory=lambda: new_id("dun"), primary_key=True)
    kind: str
    about: str
    at: datetime = Field(default_factory=now, sa_type=timestamptz())


class BillingUsage(TenantRow, table=True):
    """Recorded usage in units of its meter. Quantities never change.

    `tried_at`: when it was first sent to the provider; `reported_at`: when the provider had confirmed it, or an operator
    settled it, which keeps its problem. `counted_at`: the time it was reported under, where its own period had been
    invoiced. `problem`: why it can't be billed, "" else.
    `drawn`: units that prepaid credits have paid for; the others are reported.
    """

    __tablename__ = "billing_usage"

    id: str = Field(default_factory=lambda: new_id("usg"), primary_key=True)
    meter: str
    at: datetime = Field(sa_type=timestamptz())
    quantity: int = Field(sa_type=BigInteger)
    identifier: str  # of the recording service; recorded once
    recorded_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    tried_at: datetime | None = Field(default=None, sa_type=timestamptz())
    reported_at: datetime | None = Field(default=None, sa_type=timestamptz())
    counted_at: datetime | None = Field(default=None, sa_type=timestamptz())
    problem: str = ""
    drawn: int = Field(default=0, sa_type=BigInteger)


class PrepaidGrant(TenantRow, table=True):
    """Money that pays for usage before it is billed. Only `remaining` changes, together with an entry.

    `priority`: lower ones are used first. `invoice_id`: of a top-up, the invoice that was paid for it.
    """

    __tablename__ = "prepaid_grant"

    id: str = Field(default_factory=lambda: new_id("pgr"), primary_key=True)
    source: str  # "operator" or "top_up"
    amount: int = Field(sa_type=BigInteger)
    remaining: int = Field(sa_type=BigInteger)
    currency: str
    priority: int
    expires_at: datetime | None = Field(default=None, sa_type=timestamptz())
    invoice_id: str = ""
    reason_code: str = ""
    reason: str = ""
    by_id: str = ""
    by_name: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class PrepaidEntry(TenantRow, table=True):
    """A change of what is left of a grant. Append-only; `amount` is above zero for "grant" and "restore" only.

    `units`, `meter`, `usage_id`: what a draw paid for.
    """

    __tablename__ = "prepaid_entry"

    id: str = Field(default_factory=lambda: new_id("pen"), primary_key=True)
    grant_id: str
    kind: str  # "grant", "draw", "expire", "void", "refund" or "restore"
    amount: int = Field(sa_type=BigInteger)
    units: int = Field(default=0, sa_type=BigInteger)
    meter: str = ""
    usage_id: str = ""
    reason: str = ""
    by_name: str = ""
    at: datetime = Field(default_factory=now, sa_type=timestamptz())


class TopUpSetting(TenantRow, table=True):
    """When prepaid credits are bought automatically. `stop_reason`: why no more are bought until it is saved again."""

    __tablename__ = "top_up_setting"

    id: str = Field(default="setting", primary_key=True)
    is_on: bool
    threshold: int = Field(sa_type=BigInteger)  # a balance below it is topped up
    amount: int = Field(sa_type=BigInteger)
    monthly_maximum: int = Field(sa_type=BigInteger)
    currency: str
    stop_reason: str = ""
    changed_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class SpendLimit(TenantRow, table=True):
    """What metered use of a billing period may cost. `is_cap`: use that would cost more is refused."""

    __tablename__ = "spend_limit"

    id: str = Field(default="limit", primary_key=True)
    amount: int = Field(sa_type=BigInteger)
    currency: str
    is_cap: bool
    alerted_from: datetime | None = Field(
        default=None, sa_type=timestamptz()
    )  # start of the period of the last alert
    alerted_percent: int = 0
    changed_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class TopUp(TenantRow, table=True):
    """Prepaid credits that are bought automatically. At most one of a tenant is requested at a time.

    `customer_id`, `method_id`: what the first try charged. Every later try repeats it.
    """

    __tablename__ = "top_up"

    id: str = Field(default_factory=lambda: new_id("top"), primary_key=True)
    amount: int = Field(sa_type=BigInteger)
    currency: str
    state: str = "requested"  # then "paid" or "failed"
    invoice_id: str = ""
    error: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    tried_at: datetime | None = Field(default=None, sa_type=timestamptz())
    done_at: datetime | None = Field(default=None, sa_type=timestamptz())
    customer_id: str = ""
    method_id: str = ""
