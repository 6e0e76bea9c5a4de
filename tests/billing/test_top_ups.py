"""Automatic top-ups: once for each crossing, within the month's maximum, and stopped by a declined card."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM, BillingCustomer, BillingDispute, BillingSnapshot
from shared.billing.prepaid import balance, prepaid_repository, top_up_charges, top_ups
from shared.billing.provider import ProviderDown, ProviderRefused
from shared.billing.provider_values import CustomerState, Invoice, PaymentMethod, SingleCharge
from shared.billing.sync import customer_sync, provider_records
from shared.core import db, rate_limits
from shared.core.errors import Conflict, Invalid, Refused
from shared.core.ids import new_id
from shared.core.rate_limits import RateLimit
from shared.tenancy import entry, notifications
from tests.conftest import Cast
from tests.support import database, workers
from tests.support.billing import scripted_provider
from tests.support.stand_in_mail import run_mailbox

VISA = PaymentMethod(id="pm_1", text="Visa ending in 4242")
MASTERCARD = PaymentMethod(id="pm_2", text="Mastercard ending in 4444")


@dataclass
class ChargingProvider(scripted_provider.FakeProvider):
    """Charges once for each key."""

    charges: dict[str, tuple[str, int, str]] = field(default_factory=dict)  # customer, amount, method
    problem: Exception | None = None
    loses_answers: bool = False
    is_settling: bool = False  # a bank has the payments
    closed_keys: list[str] = field(default_factory=list)

    async def charge_once(
        self, customer_id: str, amount: int, currency: str, description: str, *, method_id: str, key: str
    ) -> SingleCharge:
        if self.problem is not None:
            raise self.problem
        if self.charges.setdefault(key, (customer_id, amount, method_id)) != (customer_id, amount, method_id):
            raise ProviderRefused("The key was used with other parameters.")
        if self.loses_answers:
            raise ProviderDown("nobody hears of it")
        return SingleCharge(invoice_id=f"in_{key}", is_paid=not self.is_settling)

    async def close_charge(self, customer_id: str, key: str) -> SingleCharge | None:
        self.closed_keys.append(key)
        if key not in self.charges:
            return None
        return SingleCharge(invoice_id=f"in_{key}", is_paid=not self.is_settling)


@pytest.fixture
async def provider(cast: Cast, schema: str) -> ChargingProvider:
    """Acme pays by card; the worker's queue is empty."""
    workers.clear_queue(schema)
    provider = ChargingProvider()
    provider_registry.register(PLATFORM, provider)
    async with db.transaction(tenant_id=cast.acme) as session:
        session.add(BillingCustomer(tenant_id=cast.acme, id=new_id("cus"), account_id=PLATFORM))
        methods = provider_records.methods_to_json({"sub_1": VISA})
        session.add(
            BillingSnapshot(
                tenant_id=cast.acme,
                schedule={},
                status="active",
                currency="usd",
                payment_methods=methods,
                ticket=1,
            )
        )
    return provider


async def save(cast: Cast, threshold: int = 1_000, amount: int = 5_000, maximum: int = 10_000) -> None:
    async with cast.ann.ctx() as ctx:
        await top_ups.save_setting(
            ctx, threshold=threshold, amount=amount, monthly_maximum=maximum, currency="usd"
        )


async def get_balance(cast: Cast) -> int:
    async with cast.ann.ctx() as ctx:
        return (await balance.get_overview(ctx)).balances.get("usd", 0)


async def spend(cast: Cast, amount: int) -> None:
    """As usage does that is drawn."""
    async with db.transaction(tenant_id=cast.acme) as session:
        grants = await prepaid_repository.lock_usable_grants(session, cast.acme)
        await prepaid_repository.take(session, grants[0], amount)
        await top_ups.request_if_due(session, cast.acme)


async def set_methods(cast: Cast, methods: dict[str, PaymentMethod]) -> None:
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        snapshot = await ctx.session.get(BillingSnapshot, (cast.acme, "standing"))
        assert snapshot is not None
        snapshot.payment_methods = provider_records.methods_to_json(methods)


def list_top_ups(cast: Cast) -> list[tuple[str, int]]:
    statement = "select state, amount from top_up where tenant_id = %s order by created_at"
    return [(row[0], row[1]) for row in database.connect().execute(statement, (cast.acme,)).fetchall()]


async def test_balance_below_the_threshold_is_topped_up_once_from_the_card(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    await save(cast)
    assert list_top_ups(cast) == [("requested", 5_000)]
    await workers.run_until_done(schema)
    ((_, amount, method),) = provider.charges.values()
    assert (amount, method, await get_balance(cast)) == (5_000, "pm_1", 5_000)
    await spend(cast, 3_900)
    assert len(list_top_ups(cast)) == 1, "1,100 is above the threshold"
    await asyncio.gather(*(spend(cast, 60) for _ in range(5)))
    assert list_top_ups(cast) == [("paid", 5_000), ("requested", 5_000)]
    await workers.run_until_done(schema)
    assert await get_balance(cast) == 5_800
    async with cast.ann.ctx() as ctx:
        grants = await prepaid_repository.list_grants(ctx)
    assert {grant.invoice_id for grant in grants} == {f"in_{key}" for key in provider.charges}


async def test_monthly_maximum_is_kept_and_starts_again_with_the_month(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    await save(cast, amount=5_000, maximum=9_000)
    await workers.run_until_done(schema)
    await spend(cast, 4_500)
    assert [state for state, _ in list_top_ups(cast)] == ["paid"]
    async with cast.ann.ctx() as ctx:
        view = await top_ups.get_view(ctx)
        assert view is not None
        assert (view.is_at_maximum, view.bought) == (True, 5_000)
    month_start = top_ups.get_month_start(datetime.now(UTC))
    database.connect().execute(
        "update top_up set created_at = %s where tenant_id = %s",
        (month_start - timedelta(seconds=1), cast.acme),
    )
    await spend(cast, 100)
    assert [state for state, _ in list_top_ups(cast)] == ["paid", "requested"]


async def test_declined_card_stops_top_ups_with_one_mail(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    provider.problem = ProviderRefused("Your card was declined.", "card_declined", kind="card")
    async with run_mailbox() as box:
        await save(cast)
        await workers.run_until_done(schema)
        assert (list_top_ups(cast), await get_balance(cast)) == ([("failed", 5_000)], 0)
        async with db.transaction(tenant_id=cast.acme) as session:
            await top_ups.request_if_due(session, cast.acme)
        await workers.run_until_done(schema)
        (mail,) = [mail for mail in box.mails if mail.to == cast.ann.email]
        assert mail.subject == "Your credits couldn’t be topped up – Acme"
        assert "$50.00 for prepaid credits wasn’t charged: Your card was declined." in mail.text
    assert len(list_top_ups(cast)) == 1, "it has stopped"
    async with cast.ann.ctx() as ctx:
        kinds = [notification.kind for notification in await notifications.list_my_notifications(ctx)]
        assert kinds.count("billing.top_up_failed") == 1
    provider.problem = None
    await save(cast)  # with another card
    await workers.run_until_done(schema)
    assert await get_balance(cast) == 5_000


async def test_lost_answer_charges_and_grants_once(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    provider.loses_answers = True
    await save(cast)
    await workers.run_due_jobs()
    assert list_top_ups(cast) == [("requested", 5_000)]
    async with cast.ann.ctx() as ctx:
        await top_ups.turn_off(ctx)  # what was tried is completed all the same
    provider.loses_answers = False
    workers.make_jobs_due(schema)
    await workers.run_until_done(schema)
    assert (len(provider.charges), await get_balance(cast)) == (1, 5_000)
    (top_up_id,) = provider.charges
    await top_up_charges.execute_top_up(cast.acme, top_up_id, "")
    assert await get_balance(cast) == 5_000


@pytest.mark.parametrize("methods", [{}, {"sub_1": MASTERCARD}], ids=["removed", "replaced"])
async def test_lost_answer_is_completed_with_the_method_that_was_charged(
    cast: Cast, schema: str, provider: ChargingProvider, methods: dict[str, PaymentMethod]
) -> None:
    provider.loses_answers = True
    await save(cast)
    await workers.run_due_jobs()
    await set_methods(cast, methods)
    provider.loses_answers = False
    workers.make_jobs_due(schema)
    await workers.run_until_done(schema)
    assert (list_top_ups(cast), await get_balance(cast)) == ([("paid", 5_000)], 5_000)
    assert [method for _, _, method in provider.charges.values()] == ["pm_1"]


async def test_lost_answer_is_completed_at_the_customer_that_was_charged(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    provider.loses_answers = True
    await save(cast)
    await workers.run_due_jobs()
    async with db.transaction(tenant_id=cast.acme) as session:
        replacement = BillingCustomer(
            tenant_id=cast.acme, id=new_id("cus"), account_id=PLATFORM, generation=1
        )
        session.add(replacement)
    provider.loses_answers = False
    workers.make_jobs_due(schema)
    await workers.run_until_done(schema)
    assert (list_top_ups(cast), await get_balance(cast)) == ([("paid", 5_000)], 5_000)


async def add_dispute(cast: Cast) -> None:
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        dispute = BillingDispute(
            tenant_id=cast.acme, id="du_1", account_id=PLATFORM, customer_id=await customers.find_id(ctx),
            amount=1, currency="usd", status="needs_response", created_at=datetime.now(UTC), ticket=1,
        )  # fmt: skip
        ctx.session.add(dispute)


async def test_requested_top_up_is_not_charged_once_a_payment_is_disputed(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    await save(cast)
    await add_dispute(cast)
    await workers.run_until_done(schema)
    assert (provider.charges, list_top_ups(cast)) == ({}, [("failed", 5_000)])


async def test_top_up_is_not_requested_while_a_payment_is_disputed(
    cast: Cast, provider: ChargingProvider
) -> None:
    await add_dispute(cast)
    await save(cast)
    assert list_top_ups(cast) == []
    database.connect().execute("update billing_dispute set status = 'won' where id = 'du_1'")
    await save(cast)
    assert list_top_ups(cast) == [("requested", 5_000)]


async def test_top_up_that_was_turned_off_before_its_charge_is_not_charged(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    await save(cast)
    async with cast.ann.ctx() as ctx:
        await top_ups.turn_off(ctx)
        with pytest.raises(Conflict):
            await top_ups.turn_off(ctx)
    await workers.run_until_done(schema)
    assert (provider.charges, list_top_ups(cast)) == ({}, [("failed", 5_000)])


async def test_payment_that_a_bank_settles_is_granted_when_its_invoice_is_paid(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    provider.is_settling = True
    await save(cast)
    await workers.run_until_done(schema)
    assert (list_top_ups(cast), await get_balance(cast)) == ([("requested", 5_000)], 0)
    async with cast.ann.ctx() as ctx:
        view = await top_ups.get_view(ctx)
        assert view is not None
        assert view.is_settling
    await save(cast)
    await sync(cast, provider, "open")
    await workers.run_until_done(schema)
    assert (list_top_ups(cast), len(provider.charges)) == ([("requested", 5_000)], 1), "no second one begins"
    for _ in range(2):
        await sync(cast, provider, "paid")
    assert (list_top_ups(cast), await get_balance(cast)) == ([("paid", 5_000)], 5_000)


async def test_payment_that_the_bank_sends_back_stops_top_ups(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    provider.is_settling = True
    await save(cast)
    await workers.run_until_done(schema)
    await sync(cast, provider, "open")
    provider.charges.clear()
    await workers.run_due_jobs()
    assert (list_top_ups(cast), await get_balance(cast)) == ([("failed", 5_000)], 0)
    assert await get_stop_reason(cast) == "The payment failed"


async def test_top_up_whose_invoice_was_voided_stops_top_ups(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    provider.is_settling = True
    await save(cast)
    await workers.run_until_done(schema)
    await sync(cast, provider, "void")
    assert await get_stop_reason(cast) == "The payment failed"


@pytest.mark.parametrize("is_charged", [True, False], ids=["charged", "not charged"])
async def test_top_up_without_an_answer_is_looked_up_after_an_hour(
    cast: Cast, schema: str, provider: ChargingProvider, *, is_charged: bool
) -> None:
    provider.loses_answers, provider.problem = True, None if is_charged else ProviderDown("not there")
    await save(cast)
    await workers.run_due_jobs()
    provider.loses_answers, provider.problem = False, None
    workers.clear_queue(schema)  # it is out of tries
    await sync(cast, provider)
    await workers.run_until_done(schema)
    assert list_top_ups(cast) == [("requested", 5_000)], "its job may be tried again"
    database.connect().execute(
        "update top_up set tried_at = tried_at - interval '1 hour' where tenant_id = %s", (cast.acme,)
    )
    await sync(cast, provider)
    await workers.run_due_jobs()
    assert len(provider.closed_keys) == 1
    if is_charged:
        assert (list_top_ups(cast), await get_balance(cast)) == ([("paid", 5_000)], 5_000)
    else:
        assert (list_top_ups(cast), await get_balance(cast)) == ([("failed", 5_000)], 0)
        assert await get_stop_reason(cast) == "The payment provider didn’t confirm the charge"


async def test_top_up_whose_job_was_lost_fails_after_an_hour_without_a_charge(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    await save(cast)
    workers.clear_queue(schema)
    database.connect().execute(
        "update top_up set created_at = created_at - interval '1 hour' where tenant_id = %s", (cast.acme,)
    )
    await sync(cast, provider)
    await workers.run_due_jobs()
    assert (list_top_ups(cast), provider.charges) == ([("failed", 5_000)], {})


async def test_top_up_that_was_believed_failed_is_granted_when_it_was_paid(
    cast: Cast, schema: str, provider: ChargingProvider
) -> None:
    await save(cast)
    await workers.run_until_done(schema)
    database.connect().execute("update top_up set state = 'failed' where tenant_id = %s", (cast.acme,))
    await sync(cast, provider, "paid")
    assert list_top_ups(cast) == [("paid", 5_000)]


async def sync(cast: Cast, provider: ChargingProvider, invoice_status: str = "") -> None:
    """With the invoices of all charges, none without a status."""
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        customer_id = await customers.find_id(ctx)
    charges = provider.charges if invoice_status else {}
    provider.state[customer_id] = CustomerState(
        customer_id,
        currency="usd",
        invoices=tuple(build_invoice(key, invoice_status) for key in charges),
        methods={"sub_1": VISA},
    )
    await customer_sync.sync_customer(PLATFORM, customer_id, cast.acme, cause="webhook")


def build_invoice(key: str, status: str) -> Invoice:
    return Invoice(
        id=f"in_{key}",
        number="1",
        status=status,
        currency="usd",
        total=5_000,
        due=0,
        paid=5_000,
        attempts=1,
        next_attempt_at=None,
        created_at=datetime.now(UTC),
        starts_at=None,
        ends_at=None,
        page_url="",
        pdf_url="",
        subscription_id="",
        key=key,
    )


async def get_stop_reason(cast: Cast) -> str:
    async with cast.ann.ctx() as ctx:
        view = await top_ups.get_view(ctx)
    assert view is not None
    return view.setting.stop_reason


async def test_setting_counts_for_the_limit_of_billing_changes(
    cast: Cast, provider: ChargingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[RateLimit, str]] = []

    async def record_limit(limit: RateLimit, *subjects: str) -> None:
        limits.append((limit, *subjects))  # type: ignore[arg-type]

    monkeypatch.setattr(rate_limits, "enforce_rate_limit", record_limit)
    await save(cast)
    assert (RateLimit.BILLING_TENANT, cast.acme) in limits


async def test_setting_in_another_currency_than_the_payments_is_refused(
    cast: Cast, provider: ChargingProvider
) -> None:
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Conflict, match="currency"):
            await top_ups.save_setting(
                ctx, threshold=1_000, amount=5_000, monthly_maximum=5_000, currency="eur"
            )
    assert list_top_ups(cast) == []


@pytest.mark.parametrize(
    ("threshold", "amount", "maximum", "field"),
    [
        (1_000, 499, 5_000, "amount"),
        (1_000, 1_000_001, 2_000_000, "amount"),
        (0, 5_000, 5_000, "threshold"),
        (5_001, 5_000, 5_000, "threshold"),
        (1_000, 5_000, 4_999, "maximum"),
    ],
)
async def test_invalid_setting_is_refused(
    cast: Cast, provider: ChargingProvider, threshold: int, amount: int, maximum: int, field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await save(cast, threshold, amount, maximum)
    assert field in refusal.value.fields


async def test_top_up_needs_a_payment_method_and_the_permission(
    cast: Cast, provider: ChargingProvider
) -> None:
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused):
            await top_ups.save_setting(
                ctx, threshold=1_000, amount=5_000, monthly_maximum=5_000, currency="usd"
            )
        with pytest.raises(Refused):
            await top_ups.turn_off(ctx)
    await set_methods(cast, {})
    with pytest.raises(Conflict, match="no payment method"):
        await save(cast)
