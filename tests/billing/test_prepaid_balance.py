"""Prepaid credits on Postgres: drawn by usage, never below zero, and never billed again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.backoffice import prepaid_grants
from shared.backoffice.reasons import state_reason
from shared.billing import usage
from shared.billing.models import PLATFORM, BillingCustomer, BillingInvoice, BillingUsage, PrepaidGrant
from shared.billing.prepaid import balance, prepaid_repository, prepaid_usage
from shared.billing.pricing import prices_repository
from shared.billing.provider_values import CustomerState, Dispute, Refund, Subscription, SubscriptionItem
from shared.billing.sync import apply_state, provider_records
from shared.billing.usage_periods import MeterTerm
from shared.core import db
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.tenancy import entry
from tests.conftest import Cast, Operating
from tests.support import database, workers
from tests.support.billing.priced_provider import RecordingProvider, install_recording_provider

REASON = "As agreed in the contract"
UNIT_PRICE, INCLUDED = 10, 100  # of the test's price
PRICE_ID = "prc_test_prepaid"
DAY = timedelta(days=1)


@pytest.fixture
async def provider(cast: Cast) -> AsyncIterator[RecordingProvider]:
    async with install_recording_provider() as provider:
        yield provider


@pytest.fixture
async def customer(cast: Cast) -> str:
    """Of Acme, with a subscription that includes 100 units of API calls and charges 10 cents for each further one."""
    await add_price(cast)
    customer_id = new_id("cus")
    async with db.transaction(tenant_id=cast.acme) as session:
        session.add(BillingCustomer(tenant_id=cast.acme, id=customer_id, account_id=PLATFORM))
    starts_at = now() - timedelta(hours=20)
    item = SubscriptionItem("si_1", PRICE_ID, "price_1", 0, starts_at, starts_at + 30 * DAY)
    subscription = Subscription("sub_1", "active", now() - 30 * DAY, (item,))
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        state = CustomerState(customer_id, subscriptions=(subscription,))
        await provider_records.write_records(ctx, PLATFORM, customer_id, state, ticket=1)
    return customer_id


async def add_price(cast: Cast) -> None:
    async with db.transaction("operator") as session:
        connection = await session.connection()
        await connection.execute(
            sa.text(
                "insert into price (id, plan_version_id, for_tenant, period, kind, currency, amount, tiers, tiers_mode,"
                " meter, effective_at, created_at, created_by, reason)"
                " select :id, id, null, 'month', 'metered', 'usd', 0, cast(:tiers as jsonb), 'graduated',"
                " 'api_calls', '2020-01-01', now(), 'test', 'test' from plan_version limit 1"
                " on conflict do nothing"
            ),
            {
                "id": PRICE_ID,
                "tiers": f'[{{"up_to": {INCLUDED}, "unit": 0, "flat": 0}},'
                f' {{"up_to": null, "unit": {UNIT_PRICE}, "flat": 0}}]',
            },
        )


async def grant(
    cast: Cast,
    amount: int,
    *,
    operator: Operating | None = None,
    code: str = "contract",
    currency: str = "usd",
    grant_id: str = "",
    priority: int = 50,
    expires_at: datetime | None = None,
) -> str:
    async with (operator or cast.olga).octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        return await prepaid_grants.grant_credits(
            octx,
            cast.acme,
            amount,
            currency,
            code,
            reason,
            priority=priority,
            expires_at=expires_at,
            grant_id=grant_id,
        )


async def record_usage(cast: Cast, quantity: int, identifier: str, at: datetime | None = None) -> None:
    async with cast.ann.ctx() as ctx:
        await usage.record(ctx, "api_calls", quantity, at or now(), identifier)


async def list_entries(cast: Cast) -> list[tuple[str, int]]:
    """Kind and amount, the oldest first."""
    async with cast.ann.ctx() as ctx:
        entries = await prepaid_repository.list_entries(ctx, 1_000)
    return [(entry.kind, entry.amount) for entry in reversed(entries)]


async def get_balance(cast: Cast) -> int:
    async with cast.ann.ctx() as ctx:
        return (await balance.get_overview(ctx)).balances.get("usd", 0)


async def check_ledger(cast: Cast) -> None:
    """What is left of each grant is the sum of its entries."""
    async with cast.ann.ctx() as ctx:
        connection = await ctx.session.connection()
        statement = (
            "select g.remaining, sum(e.amount) from prepaid_grant g join prepaid_entry e"
            " on (e.tenant_id, e.grant_id) = (g.tenant_id, g.id) group by g.id, g.remaining"
        )
        rows = (await connection.exec_driver_sql(statement)).all()
    assert rows
    assert all(remaining == total >= 0 for remaining, total in rows)


def list_reported(provider: RecordingProvider, customer: str) -> list[int]:
    return sorted(quantity for whose, _, quantity in provider.usage.values() if whose == customer)


async def test_usage_above_the_included_units_is_paid_by_credits_and_not_reported(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await grant(cast, 700)
    await record_usage(cast, 130, "hour-1")  # 100 included, 30 drawn
    await record_usage(cast, 60, "hour-2")  # 40 drawn, 20 billed
    await record_usage(cast, 5, "hour-3")  # nothing is left
    await usage.report()
    assert list_reported(provider, customer) == [5, 20, 100]
    assert await list_entries(cast) == [("grant", 700), ("draw", -300), ("draw", -400)]
    assert await get_balance(cast) == 0
    await check_ledger(cast)


async def test_usage_that_credits_pay_for_completely_is_never_sent(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await grant(cast, 10_000)
    await record_usage(cast, 100, "hour-1")
    await usage.report()
    calls = provider.call_count
    await record_usage(cast, 25, "hour-2")
    assert (await usage.report(), provider.call_count) == (0, calls)
    assert (list_reported(provider, customer), await get_balance(cast)) == ([100], 9_750)
    assert (await usage.report(), await get_balance(cast)) == (0, 9_750)


async def test_lost_answer_draws_once_and_repeats_the_same_quantity(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await grant(cast, 300)
    await record_usage(cast, 150, "hour-1")
    provider.loses_answers = True
    await usage.report()
    provider.loses_answers = False
    await grant(cast, 5_000)  # comes too late for what was sent
    await usage.report()
    assert list_reported(provider, customer) == [120]
    assert await list_entries(cast) == [("grant", 300), ("draw", -300), ("grant", 5_000)]


async def test_usage_without_a_price_draws_nothing(cast: Cast, provider: RecordingProvider) -> None:
    async with db.transaction(tenant_id=cast.acme) as session:
        customer = BillingCustomer(tenant_id=cast.acme, id=new_id("cus"), account_id=PLATFORM)
        session.add(customer)
        customer_id = customer.id
    await grant(cast, 300)
    await record_usage(cast, 150, "hour-1")
    await usage.report()
    assert (list_reported(provider, customer_id), await get_balance(cast)) == ([150], 300)


async def test_concurrent_draws_never_go_below_zero(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    """Remove the lock of the grants: some of the draws are refused, and this test is red."""
    await grant(cast, 455)
    await grant(cast, 300, priority=10)
    drawn = await asyncio.gather(*(draw_in_own_transaction(cast, 9, f"worker-{n}") for n in range(12)))
    assert sum(drawn) == 75  # 755 cents pay for 75 of 108 units
    assert await get_balance(cast) == 5
    await check_ledger(cast)


async def test_draws_without_the_lock_are_refused_rather_than_below_zero(
    cast: Cast, customer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_grants(session: AsyncSession, tenant_id: str) -> Sequence[PrepaidGrant]:
        statement = sa.select(PrepaidGrant).where(PrepaidGrant.tenant_id == tenant_id)  # type: ignore[arg-type]
        return (await session.execute(statement)).scalars().all()

    monkeypatch.setattr(prepaid_repository, "lock_usable_grants", read_grants)
    await grant(cast, 455)
    results = await asyncio.gather(
        *(draw_in_own_transaction(cast, 9, f"worker-{n}") for n in range(12)), return_exceptions=True
    )
    drawn = [result for result in results if isinstance(result, int)]
    assert len(drawn) < len(results)
    assert 0 <= await get_balance(cast) == 455 - sum(drawn) * UNIT_PRICE
    await check_ledger(cast)


async def draw_in_own_transaction(cast: Cast, quantity: int, identifier: str) -> int:
    """As a worker does that has other rows than its neighbours."""
    async with db.transaction(tenant_id=cast.acme) as session:
        row = BillingUsage(
            tenant_id=cast.acme, meter="api_calls", at=now(), quantity=quantity, identifier=identifier
        )
        session.add(row)
        await session.flush()
        grants = await prepaid_repository.lock_usable_grants(session, cast.acme)
        await asyncio.sleep(0.01)  # the others read meanwhile
        prices = await prices_repository.get_prices_by_id(session, [PRICE_ID])
        split = await balance.draw(session, row, prices[PRICE_ID], position=INCLUDED, grants=grants)
        return split.drawn


async def test_database_refuses_a_grant_below_zero_and_a_changed_entry(cast: Cast, customer: str) -> None:
    await grant(cast, 100)
    for statement, refusal in (
        ("update prepaid_grant set remaining = remaining - 101", "check constraint"),
        ("update prepaid_grant set remaining = amount + 1", "check constraint"),
        ("update prepaid_grant set amount = 1000", "permission denied"),
        ("update prepaid_entry set amount = 1000", "permission denied"),
        ("delete from prepaid_entry", "permission denied"),
        ("delete from prepaid_grant", "permission denied"),
    ):
        with pytest.raises(sa.exc.DBAPIError, match=refusal):
            async with db.transaction(tenant_id=cast.acme) as session:
                await (await session.connection()).exec_driver_sql(statement)


async def test_expired_credits_leave_the_balance_at_once_and_the_ledger_after_late_usage(
    cast: Cast, provider: RecordingProvider, customer: str, schema: str
) -> None:
    workers.clear_queue(schema)
    grant_id = await grant(cast, 500, expires_at=now() + DAY)
    assert ("billing.expire_prepaid", "todo") in workers.list_jobs(schema)
    await record_usage(cast, INCLUDED, "included")
    await usage.report()
    set_expiry(grant_id, now() - timedelta(minutes=10))
    assert await get_balance(cast) == 0
    await record_usage(cast, 20, "before", now() - timedelta(minutes=20))
    await record_usage(cast, 30, "after")
    await usage.report()
    assert list_reported(provider, customer) == [30, 100]
    await expire(cast)
    assert await list_entries(cast) == [("grant", 500), ("draw", -200)]
    set_expiry(grant_id, now() - timedelta(hours=2))
    await asyncio.gather(expire(cast), expire(cast))
    assert await list_entries(cast) == [("grant", 500), ("draw", -200), ("expire", -300)]
    await check_ledger(cast)


async def expire(cast: Cast) -> None:
    async with entry.enter_job(cast.acme, balance.EXPIRE_TASK, "") as ctx:
        await balance.expire_grants(ctx)


def set_expiry(grant_id: str, at: datetime) -> None:
    database.connect().execute("update prepaid_grant set expires_at = %s where id = %s", (at, grant_id))


async def test_void_takes_what_is_left_of_a_partly_used_grant(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    grant_id = await grant(cast, 500)
    await record_usage(cast, INCLUDED + 20, "hour-1")
    await usage.report()
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
        assert await prepaid_grants.void_grant(octx, cast.acme, grant_id, reason) == 300
        with pytest.raises(Conflict, match="Nothing is left"):
            await prepaid_grants.void_grant(octx, cast.acme, grant_id, reason)
        with pytest.raises(NotFound):
            await prepaid_grants.void_grant(
                octx, cast.globex, grant_id, state_reason(octx, REASON, tenant_id=cast.globex)
            )
    assert await list_entries(cast) == [("grant", 500), ("draw", -200), ("void", -300)]
    await check_ledger(cast)


async def add_paid_grant(cast: Cast, customer: str, *, paid: int = 1_000) -> None:
    """Of 10.00 for an invoice with this total, of which 3.00 are used."""
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        grant = PrepaidGrant(
            tenant_id=cast.acme,
            source=balance.TOP_UP,
            amount=1_000,
            remaining=1_000,
            currency="usd",
            priority=50,
            invoice_id="in_top_up",
        )
        await balance.add_grant(ctx, grant)
        invoice = BillingInvoice(
            tenant_id=cast.acme,
            id="in_top_up",
            account_id=PLATFORM,
            customer_id=customer,
            status="paid",
            currency="usd",
            total=paid,
            due=0,
            paid=paid,
            created_at=now(),
            ticket=1,
        )
        ctx.session.add(invoice)
    await record_usage(cast, INCLUDED + 30, "hour-1")
    await usage.report()


async def reverse(cast: Cast, customer: str, *records: Refund | Dispute) -> list[int]:
    """What the ledger has after a sync of these, without the grant and the usage."""
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        state = CustomerState(
            customer,
            refunds=tuple(record for record in records if isinstance(record, Refund)),
            disputes=tuple(record for record in records if isinstance(record, Dispute)),
        )
        ticket = int(now().timestamp() * 1_000_000)
        await apply_state.apply_customer_state(ctx, PLATFORM, customer, state, ticket, cause="webhook")
    first, second, *changes = await list_entries(cast)
    assert (first, second) == (("grant", 1_000), ("draw", -300))
    assert all((kind == "restore") == (amount > 0) for kind, amount in changes)
    await check_ledger(cast)
    return [amount for _, amount in changes]


def refund_of(amount: int, status: str = "succeeded") -> Refund:
    return Refund(
        id="re_1", invoice_id="in_top_up", credit_note_id="", key="", amount=amount, currency="usd",
        status=status, failure_reason="", created_at=now(),
    )  # fmt: skip


def dispute_of(amount: int, status: str) -> Dispute:
    return Dispute(
        id="dp_1", invoice_id="in_top_up", amount=amount, currency="usd", reason="fraudulent",
        status=status, is_refundable=False, respond_by=None, created_at=now(),
    )  # fmt: skip


async def test_refund_of_a_paid_grant_takes_what_is_left_once(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await add_paid_grant(cast, customer)
    assert await reverse(cast, customer, refund_of(400)) == [-400]
    assert await reverse(cast, customer, refund_of(400)) == [-400]
    assert await list_used_reversals(cast) == []
    assert await reverse(cast, customer, refund_of(1_000)) == [-400, -300]
    assert await list_used_reversals(cast) == [300]


async def test_refund_that_fails_gives_the_credits_back(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await add_paid_grant(cast, customer)
    assert await reverse(cast, customer, refund_of(1_000)) == [-700]
    for _ in range(2):
        assert await reverse(cast, customer, refund_of(1_000, "failed")) == [-700, 700]
    assert (await get_balance(cast), await list_used_reversals(cast)) == (700, [])


async def test_refund_that_fails_gives_no_credits_back_to_a_grant_that_was_voided(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await add_paid_grant(cast, customer)
    assert await reverse(cast, customer, refund_of(400)) == [-400]
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        (grant,) = await prepaid_repository.list_grants(ctx)
        await balance.take_all(ctx, grant, balance.VOID)
    assert await reverse(cast, customer, refund_of(400, "failed")) == [-400, -300]
    assert await get_balance(cast) == 0


async def test_disputed_payment_takes_the_credits_until_it_is_won(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await add_paid_grant(cast, customer)
    for status, ledger in (
        ("warning_needs_response", []),
        ("needs_response", [-700]),
        ("under_review", [-700]),
        ("won", [-700, 700]),
    ):
        assert await reverse(cast, customer, dispute_of(1_000, status)) == ledger
    assert await reverse(cast, customer, dispute_of(1_000, "lost"), refund_of(1_000)) == [-700, 700, -700]


async def test_refund_of_a_taxed_payment_takes_its_share_without_the_tax(
    cast: Cast, provider: RecordingProvider, customer: str
) -> None:
    await add_paid_grant(cast, customer, paid=1_190)
    assert await reverse(cast, customer, refund_of(595)) == [-500]


async def list_used_reversals(cast: Cast) -> list[int]:
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        return list((await balance.read_operator_overview(ctx)).used_reversals.values())


async def test_form_that_is_sent_twice_grants_once(cast: Cast) -> None:
    grant_id = new_id("pgr")
    await grant(cast, 100, grant_id=grant_id)
    with pytest.raises(Conflict, match="already granted"):
        await grant(cast, 100, grant_id=grant_id)
    assert await get_balance(cast) == 100


@pytest.mark.parametrize(
    ("amount", "changes", "field"),
    [
        (0, {}, "amount"),
        (10**11, {}, "amount"),
        (100, {"code": "love"}, "code"),
        (100, {"priority": 101}, "priority"),
        (100, {"expires_at": datetime(2020, 1, 1).astimezone()}, "expires"),
    ],
)
async def test_invalid_grant_is_refused(
    cast: Cast, amount: int, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await grant(cast, amount, **changes)  # type: ignore[arg-type]
    assert field in refusal.value.fields


async def test_large_grant_and_other_roles_are_refused(cast: Cast) -> None:
    with pytest.raises(Refused):
        await grant(cast, 100, operator=cast.sam)
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused):
            await balance.get_overview(ctx)


async def test_credits_of_another_tenant_are_not_drawn(cast: Cast, customer: str) -> None:
    await grant(cast, 500)
    term = MeterTerm(
        sold_from=now() - DAY, ended_at=None, closed_until=None, is_current=True, is_idle=False,
        price_id=PRICE_ID, starts_at=now() - DAY, ends_at=now() + DAY,
    )  # fmt: skip
    async with db.transaction(tenant_id=cast.globex) as session:
        row = BillingUsage(tenant_id=cast.globex, meter="api_calls", at=now(), quantity=500, identifier="x")
        session.add(row)
        await prepaid_usage.draw_rows(session, [(row, term)])
        assert row.drawn == 0
    assert await get_balance(cast) == 500
