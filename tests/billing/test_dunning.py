"""Billing messages: each is sent once, while it is true, to members who may pay."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.billing import customers, dunning, provider_registry
from shared.billing.inbound_webhooks import processing
from shared.billing.models import PLATFORM, BillingInvoice
from shared.billing.provider_values import CustomerState, Invoice, Subscription
from shared.core import db
from shared.core.db import now
from shared.core.errors import Conflict, Invalid
from shared.tenancy import mail_preferences, notifications
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast, Person
from tests.support import factories, workers
from tests.support.billing import events, scripted_provider
from tests.support.stand_in_mail import run_mailbox

DAY = timedelta(days=1)
T = now().replace(microsecond=0)


def build_invoice_row(status: str = "open") -> BillingInvoice:
    return BillingInvoice(
        tenant_id="ten_x",
        id="in_1",
        account_id=PLATFORM,
        customer_id="cus_1",
        subscription_id="sub_1",
        number="A-1",
        status=status,
        currency="usd",
        total=2900,
        due=2900 if status == "open" else 0,
        paid=0 if status == "open" else 2900,
        created_at=T,
        ticket=1,
    )


OVERDUE = build_subscription("past_due", failed_since=T)


def list_message_kinds(
    subscription: Subscription, at_days: float, *sent_messages: tuple[str, str], status: str = "open"
) -> list[str]:
    return [
        word.kind
        for word in dunning.list_due_messages(
            [subscription], [build_invoice_row(status)], sent_messages, T + at_days * DAY
        )
    ]


def test_failed_payment_is_announced_reminded_of_and_followed_by_the_end() -> None:
    sent_messages: list[tuple[str, str]] = []
    messages_by_day = []
    for days in (0, 1, 3, 4, 6, 6.9, 7, 8):
        new_kinds = list_message_kinds(OVERDUE, days, *sent_messages)
        sent_messages += [(kind, "in_1") for kind in new_kinds]
        messages_by_day += [(days, kind) for kind in new_kinds]
    assert messages_by_day == [
        (0, "payment_failed"),
        (3, "payment_reminder_3"),
        (6, "payment_reminder_6"),
        (7, "access_read_only"),
    ]


def test_late_message_is_only_the_latest_one() -> None:
    assert list_message_kinds(OVERDUE, 6.5) == ["payment_reminder_6"]


def test_long_past_events_are_not_announced() -> None:
    assert list_message_kinds(OVERDUE, 30) == []


def test_payment_ends_reminders_and_is_acknowledged_once() -> None:
    paid = build_subscription("active")
    failed = ("payment_failed", "in_1")
    assert list_message_kinds(paid, 3, failed, status="paid") == ["payment_recovered"]
    assert list_message_kinds(paid, 3, failed, ("payment_recovered", "in_1"), status="paid") == []
    assert list_message_kinds(paid, 3, status="paid") == [], "nobody was told that it failed"


@pytest.mark.parametrize(
    ("currency", "title"), [("usd", "Payment of $29.00 failed"), ("jpy", "Payment of ¥2,900 failed")]
)
def test_message_amount_is_formatted_by_currency(currency: str, title: str) -> None:
    owed = build_invoice_row()
    owed.currency = currency
    assert [word.title for word in dunning.list_due_messages([OVERDUE], [owed], (), T)] == [title]


def test_cancellation_ends_reminders() -> None:
    ended = replace(OVERDUE, status="canceled", ended_at=T + 2 * DAY)
    assert list_message_kinds(ended, 3, ("payment_failed", "in_1")) == ["subscription_ended"]
    assert list_message_kinds(ended, 3, ("payment_failed", "in_1"), ("subscription_ended", "sub_1")) == []
    assert list_message_kinds(ended, 20) == [], "long past"


def test_exhausted_payment_attempts_are_announced() -> None:
    assert list_message_kinds(replace(OVERDUE, status="unpaid"), 14) == ["tries_used_up"]


@pytest.mark.parametrize(
    ("days", "pays", "kind"),
    [
        (-4, False, []),
        (-3, False, ["trial_ends"]),
        (-1, True, ["trial_ends"]),
        (0, False, ["trial_ended"]),
        (0, True, []),
    ],
)
def test_end_of_trial_is_announced_in_time(days: float, pays: bool, kind: list[str]) -> None:
    trial = replace(build_subscription("trialing"), trial_ends_at=T, pays=pays, after_trial="cancel")
    assert list_message_kinds(trial, days) == kind


def test_scheduled_end_is_confirmed() -> None:
    assert list_message_kinds(build_subscription("active", cancel_at=T + 9 * DAY), 0) == ["subscription_ends"]


def test_open_first_payment_is_announced() -> None:
    assert list_message_kinds(build_subscription("incomplete"), 0) == ["first_payment_open"]


def test_next_due_time_is_when_the_next_message_is_due() -> None:
    assert dunning.next_due_time([OVERDUE], T + DAY) == T + 3 * DAY
    assert dunning.next_due_time([OVERDUE], T + 8 * DAY) is None
    trial = replace(build_subscription("trialing"), trial_ends_at=T + 9 * DAY)
    assert dunning.next_due_time([trial], T) == T + 6 * DAY
    assert dunning.next_due_time([build_subscription("canceled")], T) is None


def build_invoice(status: str, subscription: Subscription) -> Invoice:
    due = 2900 if status == "open" else 0
    return Invoice(
        *(
            "in_1",
            "A-1",
            status,
            "usd",
            2900,
            due,
            2900 - due,
            1,
            None,
            T,
            None,
            None,
            "",
            "",
            subscription.id,
        ),
    )


async def test_message_reaches_members_who_may_pay_once_in_app_and_by_mail(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    bob = await factories.create_account("Bob")
    await factories.join_tenant(cast.ann.account, cast.ann.slug, bob, "billing")
    stripe = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, stripe)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(
        customer, subscriptions=(OVERDUE,), invoices=(build_invoice("open", OVERDUE),)
    )
    async with run_mailbox() as box:
        for _ in range(3):
            await events.store_webhooks(customer, 2)
            await processing.drain()
            await workers.run_until_done(schema)
        failed = [mail for mail in box.mails if "Payment of $29.00 failed" in mail.subject]
        assert sorted(mail.to for mail in failed) == sorted([cast.ann.email, bob.user.email])
        assert "/billing" in failed[0].text
        paid = build_subscription("active")
        stripe.state[customer] = CustomerState(
            customer, subscriptions=(paid,), invoices=(build_invoice("paid", paid),)
        )
        await events.store_webhooks(customer)
        await processing.drain()
        await workers.run_until_done(schema)
        thanked = [mail for mail in box.mails if "Payment received" in mail.subject]
        assert sorted(mail.to for mail in thanked) == sorted([cast.ann.email, bob.user.email])
    async with cast.ann.ctx() as ctx:
        notification_kinds = [
            notification.kind
            for notification in await notifications.list_my_notifications(ctx)
            if notification.kind.startswith("billing.")
        ]
        assert sorted(notification_kinds) == ["billing.payment_failed", "billing.payment_recovered"]
    async with cast.max.ctx() as ctx:
        assert not [
            notification
            for notification in await notifications.list_my_notifications(ctx)
            if notification.kind.startswith("billing.")
        ]


def test_message_amount_without_decimals_is_formatted() -> None:
    owed = build_invoice_row()
    owed.currency = "jpy"
    (word,) = dunning.list_due_messages([OVERDUE], [owed], [], T)
    assert word.title == "Payment of ¥2,900 failed"


async def test_refused_mail_address_does_not_stop_other_recipients(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    bob = await factories.create_account("Bob")
    await factories.join_tenant(cast.ann.account, cast.ann.slug, bob, "billing")
    stripe = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, stripe)
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(
        customer, subscriptions=(OVERDUE,), invoices=(build_invoice("open", OVERDUE),)
    )
    async with run_mailbox() as box:
        box.replies[cast.ann.email] = "550 5.1.1 No such user here"
        await events.store_webhooks(customer)
        await processing.drain()
        await workers.run_until_done(schema)
        assert [received.to for received in box.mails] == [bob.user.email]
    assert ("billing.mail", "failed") in workers.list_jobs(schema)  # a refusal is final
    async with cast.ann.ctx() as ctx:
        notification_kinds = [
            notification.kind for notification in await notifications.list_my_notifications(ctx)
        ]
        assert notification_kinds.count("billing.payment_failed") == 1
    ahead = [task for task, status in workers.list_jobs(schema) if (task, status) == ("billing.dun", "todo")]
    assert ahead, "the reminder is promised all the same"


async def test_mail_that_waited_is_not_sent_after_the_payment(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    stripe = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, stripe)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    customer = await customers.ensure(cast.acme)
    paid = build_subscription("active")
    async with run_mailbox() as box:
        box.replies[cast.ann.email] = "451 4.7.1 Try again later"
        for subscription, status in ((OVERDUE, "open"), (paid, "paid")):
            invoices = (build_invoice(status, subscription),)
            stripe.state[customer] = CustomerState(customer, subscriptions=(subscription,), invoices=invoices)
            await events.store_webhooks(customer)
            await processing.drain()
            await workers.run_due_jobs()
        box.replies.clear()
        workers.make_jobs_due(schema)
        await workers.run_until_done(schema)
        assert [received.subject for received in box.mails] == ["Payment received – Acme"]


async def test_member_who_declined_mails_is_notified_in_the_app(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    bob = Person(await factories.create_account("Bob"), cast.ann.slug)
    await factories.join_tenant(cast.ann.account, cast.ann.slug, bob.account, "billing")
    async with bob.ctx() as ctx:
        assert (await mail_preferences.list_my_preferences(ctx))["payments"].enabled
        await mail_preferences.set_preference(ctx, "payments", False)
        await mail_preferences.set_preference(ctx, "payments", False)
    stripe = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, stripe)
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(
        customer, subscriptions=(OVERDUE,), invoices=(build_invoice("open", OVERDUE),)
    )
    async with run_mailbox() as box:
        await events.store_webhooks(customer)
        await processing.drain()
        await workers.run_until_done(schema)
        assert [mail.to for mail in box.mails if "failed" in mail.subject] == [cast.ann.email]
    async with bob.ctx() as ctx:
        notification_kinds = [
            notification.kind for notification in await notifications.list_my_notifications(ctx)
        ]
        assert notification_kinds.count("billing.payment_failed") == 1
        await mail_preferences.set_preference(ctx, "payments", True)
        assert (await mail_preferences.list_my_preferences(ctx))["payments"].enabled


async def test_mail_preference_cannot_be_changed_by_owners_and_non_payers(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        assert (await mail_preferences.list_my_preferences(ctx))["payments"].locked_reason
        with pytest.raises(Conflict, match="Owners always"):
            await mail_preferences.set_preference(ctx, "payments", False)
        with pytest.raises(Invalid):
            await mail_preferences.set_preference(ctx, "weather", False)
    async with cast.max.ctx() as ctx:
        assert not {"payments", "reminders"} & (await mail_preferences.list_my_preferences(ctx)).keys()


async def test_reminder_is_a_scheduled_job_that_blocks_no_other(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    stripe = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, stripe)
    customer = await customers.ensure(cast.acme)
    stripe.state[customer] = CustomerState(
        customer, subscriptions=(OVERDUE,), invoices=(build_invoice("open", OVERDUE),)
    )
    async with run_mailbox():
        for owed in (2900, 2800, 2700):  # three looks that found something new promise one reminder
            changed = replace(build_invoice("open", OVERDUE), due=owed)
            stripe.state[customer] = CustomerState(customer, subscriptions=(OVERDUE,), invoices=(changed,))
            await events.store_webhooks(customer)
            await processing.drain()
            await workers.run_until_done(schema)
        async with db.transaction(tenant_id=cast.acme) as session:
            connection = await session.connection()
            waiting = await connection.exec_driver_sql(
                "select lock, scheduled_at from procrastinate_jobs where task_name = 'billing.dun' and status = 'todo'"
            )
            assert [(row[0], row[1]) for row in waiting.all()] == [(None, T + 3 * DAY)]
