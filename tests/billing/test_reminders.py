"""Reminders of renewals, ends of trials and expiring cards: each once, and none that isn't true any more."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.billing import customers, dunning, provider_registry, repository
from shared.billing.inbound_webhooks import processing
from shared.billing.models import PLATFORM
from shared.billing.provider_values import (
    CustomerState,
    PaymentMethod,
    Subscription,
    SubscriptionItem,
    UpcomingCharges,
    UpcomingInvoice,
)
from shared.billing.reminders import UpcomingPayments
from shared.billing.sync import reconcile
from shared.core.db import now
from shared.tenancy import entry, mail_preferences, notifications
from tests.conftest import Cast, Person
from tests.support import factories, workers
from tests.support.billing import events, scripted_provider
from tests.support.stand_in_mail import run_mailbox

DAY = timedelta(days=1)
JANUARY, FEBRUARY = (datetime(2027, month, 1, tzinfo=UTC) for month in (1, 2))
NEXT_JANUARY = datetime(2028, 1, 1, tzinfo=UTC)
VISA = PaymentMethod(id="pm_1", text="Visa ending in 4242", expires_at=datetime(2034, 1, 1, tzinfo=UTC))


def build_subscription(
    starts_at: datetime = JANUARY, ends_at: datetime = FEBRUARY, *, quantity: int = 1, **changes: Any
) -> Subscription:
    line = SubscriptionItem("si_1", scripted_provider.PRO_FLAT, "price_x", quantity, starts_at, ends_at)
    base = Subscription("sub_1", "active", starts_at, lines=(line,), pays=True, currency="usd")
    return replace(base, **changes)


def build_payments(
    due: int = 29_000, at: datetime = FEBRUARY, *, method: PaymentMethod | None = VISA
) -> UpcomingPayments:
    invoice = UpcomingInvoice(subscription_id="sub_1", currency="usd", at=at, total=due, due=due)
    return UpcomingPayments(
        charges=UpcomingCharges((invoice,)), methods={"sub_1": method} if method is not None else {}
    )


def list_messages(
    subscription: Subscription, at: datetime, payments: UpcomingPayments | None = None
) -> list[tuple[str, str]]:
    """Title and body."""
    messages = dunning.list_due_messages([subscription], (), (), at, payments or build_payments())
    return [(message.title, message.body) for message in messages]


def list_kinds(
    subscription: Subscription, at: datetime, payments: UpcomingPayments | None = None
) -> list[str]:
    messages = dunning.list_due_messages([subscription], (), (), at, payments or build_payments())
    return [message.kind for message in messages]


def run_clock(subscription: Subscription, payments: UpcomingPayments, days: int) -> list[tuple[str, str]]:
    """Day and kind of what is sent when the job runs at noon of every day."""
    sent_keys, sent = set[tuple[str, str]](), list[tuple[str, str]]()
    for day in range(days):
        at = JANUARY + day * DAY + timedelta(hours=12)
        for message in list(dunning.list_due_messages([subscription], (), sent_keys, at, payments)):
            sent_keys.add((message.kind, message.about))
            sent.append((f"{at:%m-%d}", message.kind))
    return sent


def test_renewal_of_a_year_is_announced_once_a_week_before() -> None:
    yearly = build_subscription(ends_at=NEXT_JANUARY)
    assert run_clock(yearly, build_payments(at=NEXT_JANUARY), 365) == [("12-25", "renews_soon")]
    assert dunning.next_due_time([yearly], JANUARY) == NEXT_JANUARY - 7 * DAY


def test_next_period_is_announced_again() -> None:
    march = datetime(2027, 3, 1, tzinfo=UTC)
    sent = [("renews_soon", "sub_1:20270201")]
    renewed = build_subscription(FEBRUARY, march)
    (message,) = dunning.list_due_messages([renewed], (), sent, march - DAY, build_payments(at=march))
    assert message.about == "sub_1:20270301"


@pytest.mark.parametrize(
    ("subscription", "payments", "body"),
    [
        pytest.param(
            build_subscription(),
            build_payments(),
            "$290.00 will be charged to Visa ending in 4242. You can change or cancel it before.",
            id="card",
        ),
        pytest.param(
            build_subscription(quantity=0),
            build_payments(),
            "$290.00, plus usage until then, will be charged to Visa ending in 4242. "
            "You can change or cancel it before.",
            id="sold by use",
        ),
        pytest.param(
            build_subscription(),
            build_payments(method=None),
            "$290.00 will be due. You can change or cancel it before.",
            id="paid by invoice",
        ),
        pytest.param(
            build_subscription(pays=False),
            build_payments(method=None),
            "$290.00 will be due, and there is no payment method. Add one on the billing page. "
            "You can change or cancel it before.",
            id="no payment method",
        ),
        pytest.param(
            build_subscription(),
            build_payments(at=JANUARY),
            "The amount is on the billing page once the payment provider has calculated it; "
            "it’s charged to Visa ending in 4242. You can change or cancel it before.",
            id="preview of another period",
        ),
    ],
)
def test_renewal_names_sum_day_and_card(
    subscription: Subscription, payments: UpcomingPayments, body: str
) -> None:
    title = "Your subscription renews on 1 February 2027"
    assert list_messages(subscription, FEBRUARY - DAY, payments) == [(title, body)]


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        pytest.param({"cancel_at": FEBRUARY}, 29_000, id="cancelled"),
        pytest.param({"paused_collection": "void"}, 29_000, id="collection paused"),
        pytest.param({"status": "paused"}, 29_000, id="paused"),
        pytest.param({"status": "canceled"}, 29_000, id="ended"),
        pytest.param({}, 0, id="paid by credit"),
    ],
)
def test_renewal_that_charges_nothing_is_not_announced(changes: dict[str, Any], due: int) -> None:
    kinds = list_kinds(build_subscription(**changes), FEBRUARY - DAY, build_payments(due))
    assert "renews_soon" not in kinds


def test_renewal_of_a_short_period_is_not_announced() -> None:
    weekly = build_subscription(FEBRUARY - 7 * DAY, FEBRUARY)
    assert list_kinds(weekly, FEBRUARY - DAY) == []


def test_end_of_trial_names_what_is_charged_then() -> None:
    trial = build_subscription(status="trialing", trial_ends_at=FEBRUARY)
    ((title, body),) = list_messages(trial, FEBRUARY - 3 * DAY)
    assert title == "Your trial ends on 1 February 2027"
    assert body == (
        "Your subscription then starts automatically. $290.00 will be charged to Visa ending in 4242."
    )
    assert list_kinds(trial, FEBRUARY - 4 * DAY) == []


def test_end_of_a_cancelled_trial_is_not_said_to_start_a_subscription() -> None:
    cancelled = build_subscription(status="trialing", trial_ends_at=FEBRUARY, cancel_at=FEBRUARY)
    assert list_kinds(cancelled, FEBRUARY - DAY) == ["subscription_ends"]


def test_expiring_card_is_announced_once_and_its_successor_again() -> None:
    may = datetime(2027, 5, 1, tzinfo=UTC)
    yearly = build_subscription(ends_at=NEXT_JANUARY)
    april_card = build_payments(at=NEXT_JANUARY, method=replace(VISA, expires_at=may))
    assert run_clock(yearly, april_card, 200) == [("04-01", "card_expires")]
    assert dunning.next_due_time([yearly], JANUARY, april_card) == may - 30 * DAY
    assert list_messages(yearly, may - DAY, april_card) == [
        (
            "Visa ending in 4242 expires at the end of April 2027",
            "Replace it on the billing page. Payments fail after that.",
        )
    ]
    replaced = build_payments(method=replace(VISA, id="pm_2", expires_at=may))
    sent = [("card_expires", "pm_1:202705")]
    (message,) = dunning.list_due_messages([yearly], (), sent, may - DAY, replaced)
    assert message.about == "pm_2:202705"


def test_card_of_two_subscriptions_is_announced_once() -> None:
    may = datetime(2027, 5, 1, tzinfo=UTC)
    first = build_subscription(ends_at=NEXT_JANUARY)
    method = replace(VISA, expires_at=may)
    payments = UpcomingPayments(methods={"sub_1": method, "sub_2": method})
    messages = dunning.list_due_messages([first, replace(first, id="sub_2")], (), (), may - DAY, payments)
    assert [message.kind for message in messages] == ["card_expires"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"cancel_at": FEBRUARY}, id="cancelled before"),
        pytest.param({"status": "unpaid"}, id="not charged"),
        pytest.param({"status": "canceled"}, id="ended"),
    ],
)
def test_card_that_is_not_charged_any_more_is_not_announced(changes: dict[str, Any]) -> None:
    march = datetime(2027, 3, 1, tzinfo=UTC)
    payments = build_payments(method=replace(VISA, expires_at=march))
    assert "card_expires" not in list_kinds(build_subscription(**changes), FEBRUARY + DAY, payments)


async def set_state(cast: Cast, subscription: Subscription, *, due: int = 29_000, **changes: Any) -> None:
    """As a sync stores it, with a renewal or end of trial soon."""
    customer = await customers.ensure(cast.acme)
    ends_at = subscription.lines[0].ends_at
    invoice = UpcomingInvoice(subscription_id="sub_1", currency="usd", at=ends_at, total=due, due=due)
    values = {"upcoming": UpcomingCharges((invoice,)), "methods": {"sub_1": VISA}, **changes}
    stripe = provider_registry._providers[PLATFORM]
    assert isinstance(stripe, scripted_provider.FakeProvider)
    stripe.state[customer] = CustomerState(customer, subscriptions=(subscription,), **values)
    await events.store_webhooks(customer)
    await processing.drain()


def build_renewing() -> Subscription:
    """One that renews in six days."""
    at = now().replace(microsecond=0)
    return build_subscription(at - 24 * DAY, at + 6 * DAY)


async def send_due_notices(cast: Cast) -> None:
    """As a worker does."""
    async with entry.enter_job(cast.acme, dunning.TASK, "") as ctx:
        await dunning.send_due_notices(ctx)


@pytest.fixture
def stripe(schema: str) -> scripted_provider.FakeProvider:
    workers.clear_queue(schema)
    provider = scripted_provider.FakeProvider()
    provider_registry.register(PLATFORM, provider)
    return provider


async def test_reminder_is_sent_once_by_two_workers(
    cast: Cast, stripe: scripted_provider.FakeProvider
) -> None:
    await set_state(cast, build_renewing())

    await asyncio.gather(send_due_notices(cast), send_due_notices(cast))
    async with cast.ann.ctx() as ctx:
        titles = [notification.kind for notification in await notifications.list_my_notifications(ctx)]
        assert titles.count("billing.renews_soon") == 1


async def test_reminder_of_a_worker_that_died_is_sent_by_the_next(
    cast: Cast, stripe: scripted_provider.FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    await set_state(cast, build_renewing())

    async def die(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(dunning, "_notify", die)
        with pytest.raises(ConnectionError):
            await send_due_notices(cast)
    await send_due_notices(cast)
    async with cast.ann.ctx() as ctx:
        assert [kind for kind, _ in await repository.list_dunning_notices(ctx)] == ["renews_soon"]
        kinds = [notification.kind for notification in await notifications.list_my_notifications(ctx)]
        assert kinds.count("billing.renews_soon") == 1


@pytest.mark.parametrize(
    ("before", "after", "due"),
    [
        pytest.param({}, {"cancel_at": True}, 29_000, id="cancelled"),
        pytest.param({}, {"paused_collection": "void"}, 29_000, id="paused"),
        pytest.param({}, {}, 0, id="credited"),
        pytest.param({"card": True}, {}, 0, id="card replaced"),
    ],
)
async def test_reminder_that_is_not_true_any_more_is_not_mailed(
    cast: Cast,
    schema: str,
    stripe: scripted_provider.FakeProvider,
    before: dict[str, Any],
    after: dict[str, Any],
    due: int,
) -> None:
    renewing = build_renewing()
    if before:
        expiring = replace(VISA, id="pm_0", expires_at=now().replace(microsecond=0) + 20 * DAY)
        await set_state(cast, renewing, due=0, methods={"sub_1": expiring})
    else:
        await set_state(cast, renewing)
    ends_at = renewing.lines[0].ends_at
    changes = {name: ends_at if value is True else value for name, value in after.items()}
    async with run_mailbox() as box:
        box.replies[cast.ann.email] = "451 4.7.1 Try again later"
        await workers.run_due_jobs()
        await workers.run_due_jobs()
        async with cast.ann.ctx() as ctx:
            kinds = [kind for kind, _ in await repository.list_dunning_notices(ctx)]
        assert kinds == ["card_expires" if before else "renews_soon"]
        await set_state(cast, replace(renewing, **changes), due=due)
        box.replies.clear()
        workers.make_jobs_due(schema)
        await workers.run_until_done(schema)
        subjects = [mail.subject for mail in box.mails]
        assert not [subject for subject in subjects if "renews" in subject or "expires" in subject]


async def test_waiting_reminder_of_a_trial_names_the_new_card(
    cast: Cast, schema: str, stripe: scripted_provider.FakeProvider
) -> None:
    at = now().replace(microsecond=0)
    trial = build_subscription(
        at - 12 * DAY, at + 2 * DAY, status="trialing", trial_ends_at=at + 2 * DAY, pays=False
    )
    await set_state(cast, trial, methods={})
    async with run_mailbox() as box:
        box.replies[cast.ann.email] = "451 4.7.1 Try again later"
        await workers.run_due_jobs()
        await workers.run_due_jobs()
        await set_state(cast, replace(trial, pays=True))
        box.replies.clear()
        workers.make_jobs_due(schema)
        await workers.run_until_done(schema)
        (mail,) = [mail for mail in box.mails if "trial ends" in mail.subject]
        assert "$290.00 will be charged to Visa ending in 4242." in mail.text
        assert "Add a payment method" not in mail.text


async def test_suspended_tenant_is_not_reminded(
    cast: Cast, schema: str, stripe: scripted_provider.FakeProvider
) -> None:
    renewing = build_renewing()
    await set_state(cast, renewing)
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Unpaid, ticket 4471", tenant_id=cast.acme)
        await tenant_directory.suspend_tenant(octx, cast.acme, reason)
    async with run_mailbox() as box:
        workers.make_jobs_due(schema)
        await workers.run_due_jobs()
        assert not box.mails


async def test_owner_turns_off_reminders_and_keeps_payment_mails(
    cast: Cast, schema: str, stripe: scripted_provider.FakeProvider
) -> None:
    bob = Person(await factories.create_account("Bob"), cast.ann.slug)
    await factories.join_tenant(cast.ann.account, cast.ann.slug, bob.account, "billing")
    async with cast.ann.ctx() as ctx:
        await mail_preferences.set_preference(ctx, "reminders", False)
        preferences = await mail_preferences.list_my_preferences(ctx)
        assert (preferences["payments"].enabled, preferences["reminders"].enabled) == (True, False)
    await set_state(cast, build_renewing())
    async with run_mailbox() as box:
        await workers.run_until_done(schema)
        assert [mail.to for mail in box.mails if "renews" in mail.subject] == [bob.account.user.email]
    async with cast.ann.ctx() as ctx:
        kinds = [notification.kind for notification in await notifications.list_my_notifications(ctx)]
        assert "billing.renews_soon" in kinds


async def test_reconciliation_plans_reminders_of_a_version_that_knew_none(
    cast: Cast, schema: str, stripe: scripted_provider.FakeProvider
) -> None:
    await set_state(cast, build_renewing())
    workers.clear_queue(schema)
    await reconcile.reconcile_customer(PLATFORM, await customers.ensure(cast.acme), cast.acme)
    assert ("billing.dun", "todo") in workers.list_jobs(schema)
