"""Payment messages to members: each is sent once, on time, and only while it is true.

Each run computes the due messages from the current records, so that a job that runs twice, late or after the payment
sends nothing, or only what is true then. Messages go to owners and to members with the billing permission.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain

from shared.billing import reminders, repository
from shared.billing.dunning_messages import DunningMessage, format_day, format_invoice_amount
from shared.billing.models import BillingInvoice
from shared.billing.provider_values import Subscription
from shared.billing.reminders import UpcomingPayments
from shared.billing.sync import provider_records
from shared.billing.sync.access_schedule import GRACE_PERIOD
from shared.core.context import Ctx
from shared.core.db import now
from shared.identity.models import User
from shared.jobs import queue
from shared.jobs.mail import Email
from shared.tenancy import (
    billing_contacts,
    links,
    mail_branding,
    mail_preferences,
    notifications,
    tenants,
)

TASK, MAIL_TASK = "billing.dun", "billing.mail"
KIND_PREFIX = "billing."  # prefix of notification kinds
REMINDER_DELAYS = (timedelta(days=3), timedelta(days=6))
MAX_NOTICE_AGE = timedelta(days=5)  # no message about older failures
PAYMENT_FAILED, ACCESS_READ_ONLY, RETRIES_EXHAUSTED = "payment_failed", "access_read_only", "tries_used_up"
PAYMENT_RECOVERED = "payment_recovered"
FIRST_PAYMENT_OPEN, SUBSCRIPTION_ENDS = "first_payment_open", "subscription_ends"
SUBSCRIPTION_PAUSED, SUBSCRIPTION_RESUMED = "subscription_paused", "subscription_resumed"
SUBSCRIPTION_ENDED = "subscription_ended"
TOP_UP_FAILED, TRIAL_EXTENDED, TRIAL_REFUSED = "top_up_failed", "trial_extended", "trial_refused"
REMINDERS = tuple(f"payment_reminder_{after.days}" for after in REMINDER_DELAYS)
UNPAID_KINDS = (
    PAYMENT_FAILED,
    *REMINDERS,
    ACCESS_READ_ONLY,
    RETRIES_EXHAUSTED,
)  # messages that a payment resolves
OPTIONAL_KINDS = (reminders.RENEWS_SOON, reminders.CARD_EXPIRES)  # members may turn these emails off
# A mail of these kinds is only sent if the message is still due, with its present text.
CHECKED_KINDS = (*OPTIONAL_KINDS, reminders.TRIAL_ENDS, FIRST_PAYMENT_OPEN, SUBSCRIPTION_ENDS)


async def send_due_notices(ctx: Ctx) -> None:
    """Sends the due messages and schedules the next run. Idempotent.

    Holds the tenant's lock, so that no sync changes what the messages say before they are stored.
    """
    await tenants.lock(ctx)
    at = now()
    subscriptions, payments = await _read_subscriptions(ctx)
    invoices = await repository.list_invoices(ctx)
    sent_notices = await repository.list_dunning_notices(ctx)
    for message in list_due_messages(subscriptions, invoices, sent_notices, at, payments):
        await send_message(ctx, message)
    next_time = next_due_time(subscriptions, at, payments)
    if next_time is not None:
        await queue.put(ctx, TASK, at=next_time)


async def send_message(ctx: Ctx, message: DunningMessage) -> None:
    """Sends a message to everyone who may manage billing, unless another transaction has sent it. For jobs."""
    if await repository.add_dunning_notice(ctx, message.kind, message.about) is None:
        return
    await notify_contacts(ctx, message)


async def _read_subscriptions(ctx: Ctx) -> tuple[list[Subscription], UpcomingPayments]:
    snapshot = await repository.get_billing_snapshot(ctx)
    subscriptions = [
        provider_records.to_subscription(row) for row in await repository.list_subscriptions(ctx)
    ]
    if snapshot is None:
        return subscriptions, UpcomingPayments()
    return subscriptions, UpcomingPayments(
        charges=provider_records.to_upcoming(snapshot.upcoming),
        methods=provider_records.to_payment_methods(snapshot.payment_methods),
    )


def list_due_messages(
    subscriptions: Iterable[Subscription],
    invoices: Sequence[BillingInvoice],
    sent_notices: Iterable[tuple[str, str]],
    at: datetime,
    payments: UpcomingPayments = UpcomingPayments(),  # noqa: B008  immutable
) -> Iterator[DunningMessage]:
    """The messages that are due. `sent_notices`: (kind, about) of messages that were sent before."""
    sent_keys, known_subscriptions = set(sent_notices), list(subscriptions)
    messages = chain(
        _list_messages(known_subscriptions, invoices, sent_keys, at),
        reminders.list_reminders(known_subscriptions, payments, at),
    )
    for message in messages:
        if (message.kind, message.about) not in sent_keys:
            yield message


def next_due_time(
    subscriptions: Sequence[Subscription],
    at: datetime,
    payments: UpcomingPayments = UpcomingPayments(),  # noqa: B008  immutable
) -> datetime | None:
    """The next time at which a message becomes due without a change at the provider."""
    due_times = list(reminders.list_reminder_times(subscriptions, payments))
    for subscription in subscriptions:
        if subscription.status == "past_due" and subscription.failed_since is not None:
            due_times += [subscription.failed_since + after for after in (*REMINDER_DELAYS, GRACE_PERIOD)]
    return min((due_time for due_time in due_times if due_time > at), default=None)


def _list_messages(
    subscriptions: list[Subscription],
    invoices: Sequence[BillingInvoice],
    sent_keys: set[tuple[str, str]],
    at: datetime,
) -> Iterator[DunningMessage]:
    for subscription in subscriptions:
        unpaid_invoices = [
            invoice
            for invoice in invoices
            if invoice.subscription_id == subscription.id and invoice.status == "open"
        ]
        if subscription.status == "past_due":
            yield from _overdue_messages(subscription, unpaid_invoices, at)
        elif subscription.status == "unpaid" and unpaid_invoices:
            yield DunningMessage(
                *(RETRIES_EXHAUSTED, unpaid_invoices[0].id, "We couldn’t collect your payment"),
                f"Your organisation is read-only until you pay {format_invoice_amount(unpaid_invoices[0])}.",
            )
        elif subscription.status == "paused" and subscription.pause_cause == "request":
            yield DunningMessage(
                *(SUBSCRIPTION_PAUSED, _describe_pause(subscription), "Your subscription is paused"),
                "Your organisation is read-only, and nothing is charged. Resume it at any time on the billing page.",
            )
        elif subscription.status == "incomplete":
            yield DunningMessage(
                FIRST_PAYMENT_OPEN,
                subscription.id,
                "Complete your payment",
                "Your plan starts when it’s paid.",
            )
        elif (
            subscription.status == "canceled"
            and subscription.ended_at is not None
            and at - subscription.ended_at < MAX_NOTICE_AGE
        ):
            yield DunningMessage(
                *(SUBSCRIPTION_ENDED, subscription.id, "Your subscription has ended"),
                "You’ve moved to Free; your data is kept.",
            )
        if subscription.status == "active":
            for kind, about in sent_keys:
                if kind == SUBSCRIPTION_PAUSED and about.startswith(f"{subscription.id}:"):
                    yield DunningMessage(
                        *(SUBSCRIPTION_RESUMED, about, "Your subscription continues"),
                        "It was resumed, and everything works as before.",
                    )
        if (
            subscription.cancel_at is not None
            and subscription.status in ("active", "trialing")
            and subscription.cancel_at > at
        ):
            day = format_day(subscription.cancel_at)
            yield DunningMessage(
                *(
                    SUBSCRIPTION_ENDS,
                    f"{subscription.id}:{subscription.cancel_at:%Y%m%d}",
                    f"Your subscription ends on {day}",
                ),
                "Everything works until then. You can resume it at any time before.",
            )
    live = any(subscription.status in ("active", "trialing") for subscription in subscriptions)
    for invoice in invoices:
        if (
            invoice.status == "paid"
            and live
            and any((kind, invoice.id) in sent_keys for kind in UNPAID_KINDS)
        ):
            yield DunningMessage(
                *(PAYMENT_RECOVERED, invoice.id, "Payment received"),
                f"Thank you for your payment of {format_invoice_amount(invoice)}. Everything works as before.",
            )


def _describe_pause(subscription: Subscription) -> str:
    """Each pause is announced once."""
    return (
        f"{subscription.id}:{subscription.paused_at:%Y%m%d%H%M}"
        if subscription.paused_at
        else subscription.id
    )


def _overdue_messages(
    subscription: Subscription, unpaid_invoices: Sequence[BillingInvoice], at: datetime
) -> Iterator[DunningMessage]:
    if (
        subscription.failed_since is None
        or not unpaid_invoices
        or at - subscription.failed_since > GRACE_PERIOD + MAX_NOTICE_AGE
    ):
        return
    invoice, ends = unpaid_invoices[0], subscription.failed_since + GRACE_PERIOD
    if at < ends:
        passed_kinds = [
            kind
            for kind, after in zip(REMINDERS, REMINDER_DELAYS, strict=True)
            if at >= subscription.failed_since + after
        ]
        kind = (
            passed_kinds[-1] if passed_kinds else PAYMENT_FAILED
        )  # after a delay only the latest reminder is sent
        amount, day = format_invoice_amount(invoice), format_day(ends)
        if subscription.days_until_due:
            title, body = f"{amount} is overdue", f"Pay the invoice by {day} to avoid losing access."
        else:
            title = f"Payment of {amount} failed"
            body = f"Update your payment method by {day} to avoid losing access."
        yield DunningMessage(kind, invoice.id, title, body)
    else:
        yield DunningMessage(
            *(ACCESS_READ_ONLY, invoice.id, "Your organisation is read-only"),
            f"{format_invoice_amount(invoice)} is {GRACE_PERIOD.days} days overdue. Pay it to make changes again.",
        )


async def notify_contacts(ctx: Ctx, message: DunningMessage) -> None:
    """Notifies everyone who may manage billing. Each gets a message about the same object once."""
    for person in await billing_contacts.list_contacts(ctx):
        await _notify(ctx, person, message)


async def _notify(ctx: Ctx, person: User, message: DunningMessage) -> None:
    """Notifies in the app now and by email with a job of its own, so that one failing address doesn't delay the
    others.
    """
    notification_id = await notifications.add(
        ctx,
        person.id,
        f"{KIND_PREFIX}{message.kind}",
        message.title,
        message.body,
        href="billing",
        dedupe=f"{message.kind}:{message.about}",
    )
    if notification_id and await mail_preferences.is_mail_enabled(ctx, person.id, _mail_kind(message.kind)):
        await queue.put(ctx, MAIL_TASK, notification_id=notification_id)


def _mail_kind(kind: str) -> str:
    return mail_preferences.REMINDERS if kind in OPTIONAL_KINDS else mail_preferences.PAYMENTS


async def build_mail(ctx: Ctx, notification_id: str) -> Email | None:
    """The email of the notification; None when the person has lost the billing permission, the payment came meanwhile, or
    what it announces isn't going to happen any more.

    A mail may wait for the mail server for days.
    """
    notification = await notifications.get_notification(ctx, notification_id)
    if notification is None or not notification.kind.startswith(KIND_PREFIX):
        return None
    kind, _, about = notification.dedupe.partition(":")
    if kind in UNPAID_KINDS and (PAYMENT_RECOVERED, about) in await repository.list_dunning_notices(ctx):
        return None
    title, body = notification.title, notification.body
    if kind in CHECKED_KINDS:
        message = await _find_due_message(ctx, kind, about)
        if message is None:
            return None
        title, body = message.title, message.body
    person = next(
        (payer for payer in await billing_contacts.list_contacts(ctx) if payer.id == notification.user_id),
        None,
    )
    if person is None:
        return None
    if await mail_preferences.is_mail_declined(ctx, person.id, _mail_kind(kind)):
        return None
    return Email(
        to=person.email,
        template="billing",
        message_id=notification.id,
        link=links.build_link(ctx.tenant_id, links.get_page(notification.href)),
        values={
            "name": person.name,
            "tenant": ctx.tenant_name,
            "title": title,
            "body": body,
        },
        frame=await mail_branding.build_frame(ctx, _mail_kind(kind), person.id),
    )


async def _find_due_message(ctx: Ctx, kind: str, about: str) -> DunningMessage | None:
    subscriptions, payments = await _read_subscriptions(ctx)
    messages = list_due_messages(subscriptions, (), (), now(), payments)
    return next((message for message in messages if (message.kind, message.about) == (kind, about)), None)
