"""What people are told about their payments: each thing once, in time, and not when it is no longer true.

What is due is worked out anew from what is known each time somebody asks, so that a job that comes twice, late or
after the payment says nothing, or what holds then. Money is written about to owners and to whoever may pay.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.billing import mirror, repository
from shared.billing.course import GRACE
from shared.billing.models import BillingInvoice
from shared.billing.provider import Subscription
from shared.core import money
from shared.core.config import settings
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.identity.models import User
from shared.jobs import mail, queue
from shared.tenancy import mail_choices, notifications, payers

TASK, MAIL = "billing.dun", "billing.mail"
KIND = "billing."  # of notifications, before the word's
REMIND_AFTER = (timedelta(days=3), timedelta(days=6))
BEFORE_TRIAL_ENDS = timedelta(days=3)
STALE = timedelta(days=5)  # nobody is told of a payment that failed longer ago
FAILED, READ_ONLY, USED_UP = "payment_failed", "access_read_only", "tries_used_up"
REMINDERS = tuple(f"payment_reminder_{after.days}" for after in REMIND_AFTER)
OWED = (FAILED, *REMINDERS, READ_ONLY, USED_UP)  # what a payment takes back


@dataclass(frozen=True, slots=True)
class Word:
    """One thing to say, as a mail and in the app. `about`: what it is said of once."""

    kind: str
    about: str
    title: str
    body: str


async def dun(ctx: Ctx) -> None:
    """Says what is due and has not been said, and comes back when the next thing will be. Twice is once."""
    at = now()
    subscriptions = [mirror.subscription(row) for row in await repository.list_subscriptions(ctx)]
    invoices = await repository.list_invoices(ctx)
    said = await repository.list_notices(ctx)
    for word in words(subscriptions, invoices, said, at):
        if await repository.add_notice(ctx, word.kind, word.about) is None:
            continue  # said by somebody else in the meantime
        for person in await payers.list_payers(ctx):
            await _tell(ctx, person, word)
    turn = next_turn(subscriptions, at)
    if turn is not None:
        await queue.put(ctx, TASK, at=turn)


def words(
    subscriptions: Iterable[Subscription],
    invoices: Sequence[BillingInvoice],
    said: Iterable[tuple[str, str]],
    at: datetime,
) -> Iterator[Word]:
    """What is due. `said`: (kind, about) of what was said before."""
    told = set(said)
    for word in _due(list(subscriptions), invoices, told, at):
        if (word.kind, word.about) not in told:
            yield word


def next_turn(subscriptions: Iterable[Subscription], at: datetime) -> datetime | None:
    """When the clock alone makes something due."""
    turns = []
    for one in subscriptions:
        if one.status == "past_due" and one.failed_since is not None:
            turns += [one.failed_since + after for after in (*REMIND_AFTER, GRACE)]
        if one.status == "trialing" and one.trial_ends_at is not None:
            turns += [one.trial_ends_at - BEFORE_TRIAL_ENDS, one.trial_ends_at]
    return min((turn for turn in turns if turn > at), default=None)


def _due(
    subscriptions: list[Subscription],
    invoices: Sequence[BillingInvoice],
    told: set[tuple[str, str]],
    at: datetime,
) -> Iterator[Word]:
    for one in subscriptions:
        unpaid = [each for each in invoices if each.subscription_id == one.id and each.status == "open"]
        if one.status == "past_due":
            yield from _overdue(one, unpaid, at)
        elif one.status == "unpaid" and unpaid:
            yield Word(
                *(USED_UP, unpaid[0].id, "The payment could not be collected"),
                f"Everything can be read, nothing changed, until {_amount(unpaid[0])} is paid.",
            )
        elif one.status == "trialing":
            yield from _trial(one, at)
        elif one.status == "incomplete":
            yield Word(
                "first_payment_open", one.id, "One payment is missing", "The plan begins when it is paid."
            )
        elif one.status == "canceled" and one.ended_at is not None and at - one.ended_at < STALE:
            yield Word(
                *("subscription_ended", one.id, "The subscription has ended"),
                "What Free gives remains, and so does all data.",
            )
        if one.cancel_at is not None and one.status in ("active", "trialing") and one.cancel_at > at:
            day = _day(one.cancel_at)
            yield Word(
                *("subscription_ends", f"{one.id}:{one.cancel_at:%Y%m%d}", f"The subscription ends on {day}"),
                "Everything works until then. It can be resumed until then, too.",
            )
    live = any(one.status in ("active", "trialing") for one in subscriptions)
    for invoice in invoices:
        if invoice.status == "paid" and live and any((kind, invoice.id) in told for kind in OWED):
            yield Word(
                *("payment_recovered", invoice.id, "The payment has arrived"),
                f"Thank you for {_amount(invoice)}. Everything works as before.",
            )


def _overdue(one: Subscription, unpaid: Sequence[BillingInvoice], at: datetime) -> Iterator[Word]:
    if one.failed_since is None or not unpaid or at - one.failed_since > GRACE + STALE:
        return
    invoice, ends = unpaid[0], one.failed_since + GRACE
    if at < ends:
        passed = [
            kind
            for kind, after in zip(REMINDERS, REMIND_AFTER, strict=True)
            if at >= one.failed_since + after
        ]
        kind = passed[-1] if passed else FAILED  # who hears late hears the last word and not all of them
        yield Word(
            *(kind, invoice.id, f"A payment of {_amount(invoice)} failed"),
            f"Everything keeps working until {_day(ends)}. Check how you pay.",
        )
    else:
        yield Word(
            *(READ_ONLY, invoice.id, "Nothing can be changed for now"),
            f"{_amount(invoice)} is {GRACE.days} days overdue. Pay it, and everything works again.",
        )


def _trial(one: Subscription, at: datetime) -> Iterator[Word]:
    ends = one.trial_ends_at
    if ends is None or not ends - BEFORE_TRIAL_ENDS <= at:
        return
    about, day = f"{one.id}:{ends:%Y%m%d}", _day(ends)
    if at < ends:
        then = "Then the plan goes on and is paid." if one.pays else "Add a way to pay, and the plan goes on."
        yield Word("trial_ends", about, f"The trial ends on {day}", then)
    elif not one.pays:
        yield Word(
            *("trial_ended", about, "The trial has ended"),
            "What Free gives remains, and so does all data. Choose a plan to go on.",
        )


async def _tell(ctx: Ctx, person: User, word: Word) -> None:
    """In the app at once. Each mail is a job of its own: an address that takes none keeps nobody else from hearing it."""
    told = await notifications.add(
        ctx,
        person.id,
        f"{KIND}{word.kind}",
        word.title,
        word.body,
        href=f"/t/{ctx.slug}/billing",
        dedupe=f"{word.kind}:{word.about}",
    )
    if told and await mail_choices.wants(ctx, person.id, mail_choices.PAYMENTS):
        await queue.put(ctx, MAIL, in_turn=False, notification_id=told)


async def send(ctx: Ctx, *, notification_id: str) -> None:
    """What stands in the app, by mail. Not to who may no longer pay."""
    told = await notifications.find(ctx, notification_id)
    if told is None or not told.kind.startswith(KIND):
        return
    person = next((one for one in await payers.list_payers(ctx) if one.id == told.user_id), None)
    if person is None:
        return
    await mail.send(
        person.email,
        "billing",
        told.id,
        name=person.name,
        tenant=ctx.tenant_name,
        title=told.title,
        body=told.body,
        link=f"{settings().tenant_url}{told.href}",
    )


def _amount(invoice: BillingInvoice) -> str:
    return money.said(invoice.due or invoice.total, invoice.currency)


def _day(at: datetime) -> str:
    return f"{at:%-d %B %Y}"
