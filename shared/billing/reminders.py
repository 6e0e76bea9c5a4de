"""Reminders before something is charged or stops working: a renewal, the end of a trial, a card that expires.

Pure functions of the mirror and a time. `dunning` sends what they return, once for each kind and period.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.billing.dunning_messages import DunningMessage, format_day
from shared.billing.provider_values import PaymentMethod, Subscription, UpcomingCharges, UpcomingInvoice
from shared.billing.subscriptions import remaining_charges
from shared.core import money

RENEWS_SOON, TRIAL_ENDS, TRIAL_ENDED, CARD_EXPIRES = (
    "renews_soon",
    "trial_ends",
    "trial_ended",
    "card_expires",
)
RENEWAL_NOTICE_PERIOD = timedelta(days=7)
MIN_REMINDED_PERIOD = timedelta(days=14)  # renewals of shorter periods would be announced all the time
TRIAL_NOTICE_PERIOD = timedelta(days=3)
CARD_NOTICE_PERIOD = timedelta(days=30)
CHARGED_STATUSES = ("active", "trialing", "past_due")
PREVIEW_TOLERANCE = timedelta(hours=2)  # between the previewed time of an invoice and the end of the period


@dataclass(frozen=True, slots=True, kw_only=True)
class UpcomingPayments:
    """What will be charged, as of the last sync. `methods`: what pays each live subscription, by its id."""

    charges: UpcomingCharges | None = None
    methods: Mapping[str, PaymentMethod] = field(default_factory=dict)


def list_reminders(
    subscriptions: Sequence[Subscription], payments: UpcomingPayments, at: datetime
) -> Iterator[DunningMessage]:
    """The reminders that are true at `at`, whether they were sent or not."""
    for subscription in subscriptions:
        if subscription.status == "active":
            yield from _renewal_reminders(subscription, payments, at)
        elif subscription.status == "trialing":
            yield from _trial_reminders(subscription, payments, at)
    reminders_by_key = {
        (message.kind, message.about): message
        for subscription in subscriptions
        for message in _card_reminders(subscription, payments, at)
    }
    yield from reminders_by_key.values()


def list_reminder_times(
    subscriptions: Sequence[Subscription], payments: UpcomingPayments
) -> Iterator[datetime]:
    """When reminders become due, and when the end of a trial does."""
    for subscription in subscriptions:
        period = find_running_period(subscription)
        if subscription.status == "active" and period is not None:
            yield period[1] - RENEWAL_NOTICE_PERIOD
        if subscription.status == "trialing" and subscription.trial_ends_at is not None:
            yield from (subscription.trial_ends_at - TRIAL_NOTICE_PERIOD, subscription.trial_ends_at)
        method = payments.methods.get(subscription.id)
        if method is not None and method.expires_at is not None:
            yield method.expires_at - CARD_NOTICE_PERIOD


def find_running_period(subscription: Subscription) -> tuple[datetime, datetime] | None:
    """Start and end of the period that ends first; None where the provider names none."""
    periods = [
        (line.starts_at, line.ends_at) for line in subscription.lines if line.starts_at and line.ends_at
    ]
    return min(periods, key=lambda period: period[1], default=None)


def _renewal_reminders(
    subscription: Subscription, payments: UpcomingPayments, at: datetime
) -> Iterator[DunningMessage]:
    period = find_running_period(subscription)
    if period is None:
        return
    starts_at, renews_at = period
    is_due = renews_at - RENEWAL_NOTICE_PERIOD <= at < renews_at
    is_reminded = renews_at - starts_at >= MIN_REMINDED_PERIOD
    if not is_due or not is_reminded or not _is_charged_at(subscription, renews_at):
        return
    invoice = _find_invoice(subscription, payments, renews_at)
    if invoice is not None and not invoice.due:
        return  # credit pays for it
    yield DunningMessage(
        RENEWS_SOON,
        f"{subscription.id}:{renews_at:%Y%m%d}",
        f"Your subscription renews on {format_day(renews_at)}",
        f"{_describe_payment(subscription, payments, invoice)} You can change or cancel it before.",
    )


def _trial_reminders(
    subscription: Subscription, payments: UpcomingPayments, at: datetime
) -> Iterator[DunningMessage]:
    ends_at = subscription.trial_ends_at
    if ends_at is None or not ends_at - TRIAL_NOTICE_PERIOD <= at:
        return
    about, day = f"{subscription.id}:{ends_at:%Y%m%d}", format_day(ends_at)
    if at < ends_at and not _ends_by(subscription, ends_at):
        yield DunningMessage(
            *(TRIAL_ENDS, about, f"Your trial ends on {day}"),
            _describe_trial_end(subscription, payments, ends_at),
        )
    elif at >= ends_at and not subscription.pays:
        yield DunningMessage(
            *(TRIAL_ENDED, about, "Your trial has ended"),
            "You’ve moved to Free; your data is kept. Choose a plan to continue.",
        )


def _describe_trial_end(subscription: Subscription, payments: UpcomingPayments, ends_at: datetime) -> str:
    if not subscription.pays:
        return "Add a payment method to keep your plan."
    text = "Your subscription then starts automatically."
    invoice = _find_invoice(subscription, payments, ends_at)
    if not _is_charged_at(subscription, ends_at) or (invoice is not None and not invoice.due):
        return text
    return f"{text} {_describe_payment(subscription, payments, invoice)}"


def _card_reminders(
    subscription: Subscription, payments: UpcomingPayments, at: datetime
) -> Iterator[DunningMessage]:
    method = payments.methods.get(subscription.id)
    expires_at = method.expires_at if method else None
    if method is None or expires_at is None or not expires_at - CARD_NOTICE_PERIOD <= at < expires_at:
        return
    if subscription.status not in CHARGED_STATUSES or not _is_charged_at(subscription, expires_at):
        return
    yield DunningMessage(
        CARD_EXPIRES,
        f"{method.id}:{expires_at:%Y%m}",
        f"{method.text} expires at the end of {expires_at - timedelta(days=1):%B %Y}",
        "Replace it on the billing page. Payments fail after that.",
    )


def _describe_payment(
    subscription: Subscription, payments: UpcomingPayments, invoice: UpcomingInvoice | None
) -> str:
    """What is charged, and to what; with usage until then where it is sold by use."""
    method = payments.methods.get(subscription.id)
    if invoice is None:
        amount = "The amount is on the billing page once the payment provider has calculated it"
        return f"{amount}; it’s charged to {method.text}." if method else f"{amount}."
    amount = money.format_amount(invoice.due, invoice.currency)
    has_usage = any(not line.quantity for line in subscription.lines)
    if has_usage:
        amount += ", plus usage until then,"
    if method:
        return f"{amount} will be charged to {method.text}."
    if subscription.pays:
        return f"{amount} will be due."
    return f"{amount} will be due, and there is no payment method. Add one on the billing page."


def _find_invoice(
    subscription: Subscription, payments: UpcomingPayments, at: datetime
) -> UpcomingInvoice | None:
    """The previewed invoice of this time; None where the stored preview is of another one."""
    return next(
        (
            invoice
            for invoice in (payments.charges.invoices if payments.charges else ())
            if invoice.subscription_id == subscription.id
            and not invoice.is_last
            and invoice.at is not None
            and abs(invoice.at - at) <= PREVIEW_TOLERANCE
        ),
        None,
    )


def _is_charged_at(subscription: Subscription, at: datetime) -> bool:
    return not _ends_by(subscription, at) and not remaining_charges.find_charge_obstacle(subscription)


def _ends_by(subscription: Subscription, at: datetime) -> bool:
    return subscription.cancel_at is not None and subscription.cancel_at <= at
