"""Credits, debits and refunds by operators: reason, limit per role, executed once."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import adjustments, tasks, tenant_billing
from shared.backoffice.reasons import state_reason
from shared.billing import customers, provider_registry
from shared.billing.models import PLATFORM, BillingAdjustment
from shared.billing.provider import ProviderDown, ProviderRefused
from shared.billing.provider_values import CustomerState, Invoice
from shared.billing.sync import customer_sync
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.jobs import queue
from shared.tenancy import entry
from shared.tenancy.models import TenantState
from tests.billing.test_apply_state import build_dispute, build_refund, get_alert
from tests.conftest import Cast, Operating
from tests.support import factories, workers
from tests.support.billing import scripted_provider
from tests.support.database import admin_url
from tests.tenancy.test_entry import set_state

REASON = "Two hours of outage on Monday"


@dataclass
class AdjustmentProvider(scripted_provider.FakeProvider):
    """Records credits and refunds by key; a repeated key changes nothing."""

    happened: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    asked: int = 0
    refuse: Exception | None = None

    async def add_credit(
        self, customer_id: str, amount: int, currency: str, description: str, key: str
    ) -> str:
        return self._once(key, customer_id, amount, currency, description)

    async def refund_invoice(self, invoice_id: str, amount: int, key: str) -> str:
        return self._once(key, invoice_id, amount)

    def _once(self, key: str, *call: Any) -> str:
        self.asked += 1
        if self.refuse is not None:
            raise self.refuse
        assert self.happened.setdefault(key, call) == call
        return f"txn_{key}"


@pytest.fixture
async def provider() -> AdjustmentProvider:
    provider = AdjustmentProvider()
    provider_registry.register(PLATFORM, provider)
    return provider


def build_paid_invoice(number: str, amount: int = 20_000, currency: str = "usd") -> Invoice:
    return Invoice(
        number, f"A-{number[-4:]}", "paid", currency, amount, 0, amount, 1, None, now(), None, None,
        "https://pay.test", "https://pay.test/pdf", "",
    )  # fmt: skip


async def create_customer(
    cast: Cast, provider: AdjustmentProvider, *invoices: Invoice, currency: str = "usd"
) -> str:
    customer = await customers.ensure(cast.acme)
    provider.state[customer] = CustomerState(customer, currency=currency, invoices=invoices)
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="return")
    return customer


async def request_adjustment(operator: Operating, tenant: str, amount: int = 1_500, **changed: Any) -> str:
    values: Any = {"kind": "credit", "currency": "usd", "code": "outage_credit", "reason": REASON} | changed
    async with operator.octx() as octx:
        values["reason"] = state_reason(octx, values["reason"], tenant_id=tenant)
        return await adjustments.request_adjustment(octx, tenant, amount=amount, **values)


async def list_adjustments(cast: Cast, tenant: str = "") -> list[BillingAdjustment]:
    async with cast.olga.octx() as octx:
        return list(
            (
                await tenant_billing.get_billing_details(
                    octx,
                    tenant or cast.acme,
                    state_reason(octx, "Looking, ticket 4471", tenant_id=tenant or cast.acme),
                )
            ).adjustments
        )


async def list_adjustment_events(cast: Cast, action: str = "billing.adjusted") -> list[Any]:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "Looking") as ctx:
        return list((await audit_log.list_events(ctx, AuditFilter(action=action))).rows)


async def execute_adjustment(cast: Cast, adjustment_id: str) -> None:
    """Run the job as the worker does."""
    async with entry.enter_job(cast.acme, adjustments.TASK, "req_test") as ctx:
        await tasks.TASKS[adjustments.TASK](ctx, adjustment_id=adjustment_id)


async def test_credit_is_stored_and_audited_before_it_reaches_the_provider(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    customer = await create_customer(cast, provider)
    made = await request_adjustment(cast.olga, cast.acme)
    (row,) = await list_adjustments(cast)
    assert (row.id, row.kind, row.amount, row.state, row.by_name) == (
        made,
        "credit",
        1_500,
        "requested",
        "Olga",
    )
    (line,) = await list_adjustment_events(cast)
    assert (line.reason, line.object_id, line.after) == (
        REASON,
        made,
        {"credit": "$15.00", "why": "Outage"},
    )
    assert provider.happened == {}
    for _ in range(2):
        await execute_adjustment(cast, made)
    assert provider.happened == {made: (customer, 1_500, "usd", "Outage")}
    (row,) = await list_adjustments(cast)
    assert (row.state, row.external_id, provider.asked) == ("done", f"txn_{made}", 1)
    assert len(await list_adjustment_events(cast)) == 1


async def test_adjustment_of_a_suspended_tenant_is_executed_outside_a_transaction(
    cast: Cast, provider: AdjustmentProvider, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_customer(cast, provider)
    workers.clear_queue(schema)
    async with cast.ann.ctx() as ctx:  # what is before it in the queue sleeps as long as the tenant does
        await queue.put(ctx, "tests.tell", user_id=ctx.actor_id, key="before")
    made = await request_adjustment(cast.olga, cast.acme)
    await set_state(cast.acme, TenantState.SUSPENDED)
    open_: list[int] = []
    credit = provider.add_credit

    async def add_credit_and_count(*args: Any) -> str:
        for _ in range(
            40
        ):  # one around this call stays open; another connection may be between two statements
            with psycopg.connect(admin_url(schema)) as superuser:
                count = superuser.execute(
                    "select count(*) from pg_stat_activity where datname = current_database()"
                    " and application_name = 'bulkhead-app' and state = 'idle in transaction'"
                ).fetchone()
            if count == (0,):
                break
            await asyncio.sleep(0.05)
        open_.extend(count or ())
        return await credit(*args)

    monkeypatch.setattr(provider, "add_credit", add_credit_and_count)
    await workers.run_due_jobs()
    assert (open_, list(provider.happened)) == ([0], [made])
    assert [row.state for row in await list_adjustments(cast)] == ["done"]


async def test_debit_is_booked_as_a_negative_credit(cast: Cast, provider: AdjustmentProvider) -> None:
    customer = await create_customer(cast, provider)
    made = await request_adjustment(cast.olga, cast.acme, kind="debit", code="contract")
    await execute_adjustment(cast, made)
    assert provider.happened[made][:2] == (customer, -1_500)


@pytest.mark.parametrize(
    ("changed", "field_"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"code": ""}, "code"),
        ({"code": "because"}, "code"),
        ({"amount": 0}, "amount"),
        ({"amount": -5}, "amount"),
        ({"amount": 10**11}, "amount"),
        ({"kind": "gift"}, "kind"),
        ({"currency": "xxx"}, "currency"),
        ({"currency": "eur"}, "currency"),
        ({"kind": "refund"}, "invoice"),
    ],
)
async def test_invalid_adjustment_is_refused_and_leaves_nothing(
    cast: Cast, provider: AdjustmentProvider, changed: dict[str, Any], field_: str
) -> None:
    await create_customer(cast, provider)
    with pytest.raises(Invalid) as caught:
        await request_adjustment(cast.olga, cast.acme, **changed)
    assert field_ in caught.value.fields
    assert (await list_adjustments(cast), await list_adjustment_events(cast)) == ([], [])


async def test_adjustment_is_limited_by_the_operator_role(cast: Cast, provider: AdjustmentProvider) -> None:
    await create_customer(cast, provider)
    bill = Operating(await factories.create_operator("Bill", "billing"))
    most = adjustments.LARGE_AMOUNT * 100
    await request_adjustment(bill, cast.acme, most)
    for operator, amount in ((bill, most + 1), (cast.sam, 1)):
        with pytest.raises(Refused, match="missing_permission"):
            await request_adjustment(operator, cast.acme, amount)
    engineer = Operating(await factories.create_operator("Enno", "engineer"))
    with pytest.raises(Refused):
        await request_adjustment(engineer, cast.acme, 1)
    await request_adjustment(cast.olga, cast.acme, most + 1)
    assert [row.amount for row in await list_adjustments(cast)] == [most + 1, most]


async def test_refund_is_refused_above_what_was_paid(cast: Cast, provider: AdjustmentProvider) -> None:
    invoice = build_paid_invoice(f"in_{new_id('x')[-8:]}")
    await create_customer(cast, provider, invoice)
    about = {"kind": "refund", "invoice_id": invoice.id, "code": "duplicate_charge"}
    first = await request_adjustment(cast.olga, cast.acme, 15_000, **about)
    with pytest.raises(Conflict, match=r"At most \$50\.00 of this invoice can be refunded"):
        await request_adjustment(cast.olga, cast.acme, 5_001, **about)
    with pytest.raises(Invalid):
        await request_adjustment(cast.olga, cast.acme, 5_000, **about | {"currency": "eur"})
    with pytest.raises(NotFound):
        await request_adjustment(cast.olga, cast.acme, 5_000, **about | {"invoice_id": "in_other"})
    provider.refuse = ProviderRefused("This charge is disputed.")
    await execute_adjustment(cast, first)
    (row,) = await list_adjustments(cast)
    assert (row.state, row.error) == ("failed", "This charge is disputed.")
    (event,) = await list_adjustment_events(cast, "billing.adjustment_failed")
    assert (event.object_id, event.after) == (first, {"refund": "$150.00"})
    provider.refuse = None
    await request_adjustment(cast.olga, cast.acme, 20_000, **about)  # what failed was not given


async def test_concurrent_refunds_never_exceed_what_was_paid(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    invoice = build_paid_invoice(f"in_{new_id('x')[-8:]}")
    await create_customer(cast, provider, invoice)
    about = {"kind": "refund", "invoice_id": invoice.id, "code": "duplicate_charge"}
    async with cast.olga.octx() as octx:  # or the line of the first look would let one in after the other
        await tenant_billing.get_billing_details(
            octx, cast.acme, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    outcomes = await asyncio.gather(
        *(request_adjustment(cast.olga, cast.acme, 15_000, **about) for _ in range(4)), return_exceptions=True
    )
    assert len([outcome for outcome in outcomes if isinstance(outcome, str)]) == 1
    assert sum(row.amount for row in await list_adjustments(cast)) == 15_000


async def test_adjustment_sent_twice_is_stored_once(cast: Cast, provider: AdjustmentProvider) -> None:
    await create_customer(cast, provider)
    mine = new_id("adj")
    assert await request_adjustment(cast.olga, cast.acme, adjustment_id=mine) == mine
    with pytest.raises(Conflict, match="already submitted"):
        await request_adjustment(cast.olga, cast.acme, adjustment_id=mine)
    assert len(await list_adjustments(cast)) == 1


async def test_adjustment_is_retried_with_the_same_key_when_the_provider_is_down(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    await create_customer(cast, provider)
    made = await request_adjustment(cast.olga, cast.acme)
    provider.refuse = ProviderDown("no answer")
    with pytest.raises(ProviderDown):
        await adjustments.execute_adjustment(cast.acme, made, "req_test")
    (row,) = await list_adjustments(cast)
    assert row.state == "requested"
    async with cast.olga.octx() as octx:
        await adjustments.retry_adjustment(
            octx, cast.acme, made, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    provider.refuse = None
    await execute_adjustment(cast, made)
    assert list(provider.happened) == [made]
    for wrong, problem in ((made, Conflict), ("adj_none", NotFound)):
        with pytest.raises(problem):
            async with cast.olga.octx() as octx:
                await adjustments.retry_adjustment(
                    octx, cast.acme, wrong, state_reason(octx, REASON, tenant_id=cast.acme)
                )


async def test_adjustment_is_refused_for_a_tenant_without_a_customer(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    with pytest.raises(Conflict, match="isn’t in Stripe"):
        await request_adjustment(cast.olga, cast.globex)
    with pytest.raises(NotFound):
        await request_adjustment(cast.olga, "ten_nobody")


async def test_refund_of_another_tenants_invoice_is_not_found(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    invoice = build_paid_invoice(f"in_{new_id('x')[-8:]}")
    await create_customer(cast, provider, invoice)
    other = await customers.ensure(cast.globex)
    provider.state[other] = CustomerState(other, currency="usd")
    await customer_sync.sync_customer(PLATFORM, other, cast.globex, cause="return")
    with pytest.raises(NotFound):
        await request_adjustment(cast.olga, cast.globex, 100, kind="refund", invoice_id=invoice.id)


async def test_refund_that_failed_at_the_bank_frees_its_sum(cast: Cast, provider: AdjustmentProvider) -> None:
    invoice = build_paid_invoice("in_failed")
    customer = await create_customer(cast, provider, invoice)
    refund_of = {"kind": "refund", "invoice_id": invoice.id}
    made = await request_adjustment(cast.olga, cast.acme, 20_000, **refund_of)
    await execute_adjustment(cast, made)
    with pytest.raises(Conflict):
        await request_adjustment(cast.olga, cast.acme, 1, **refund_of)
    failed = build_refund(
        "failed", key=made, invoice_id=invoice.id, amount=20_000, failure_reason="lost_or_stolen_card"
    )
    provider.state[customer] = CustomerState(customer, currency="usd", invoices=(invoice,), refunds=(failed,))
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    (row,) = await list_adjustments(cast)
    assert (row.state, row.error) == ("failed", "The refund failed at the bank: lost_or_stolen_card")
    assert await get_alert(cast) == "The refund re_1 of $200.00 failed"
    again = await request_adjustment(cast.olga, cast.acme, 20_000, **refund_of)
    await execute_adjustment(cast, again)
    repeated = build_refund("succeeded", id="re_2", key=again, invoice_id=invoice.id, amount=20_000)
    provider.state[customer] = CustomerState(
        customer, currency="usd", invoices=(invoice,), refunds=(failed, repeated)
    )
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    assert sorted(row.state for row in await list_adjustments(cast)) == ["done", "failed"]
    assert await get_alert(cast) == ""


async def test_refund_that_failed_in_part_frees_that_part(cast: Cast, provider: AdjustmentProvider) -> None:
    invoice = build_paid_invoice("in_partly")
    customer = await create_customer(cast, provider, invoice)
    refund_of = {"kind": "refund", "invoice_id": invoice.id}
    made = await request_adjustment(cast.olga, cast.acme, 2_000, **refund_of)
    await execute_adjustment(cast, made)
    parts = (
        build_refund("failed", key=made, invoice_id=invoice.id),
        build_refund("succeeded", id="re_2", key=made, invoice_id=invoice.id, amount=1_500),
    )
    provider.state[customer] = CustomerState(customer, currency="usd", invoices=(invoice,), refunds=parts)
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    (row,) = await list_adjustments(cast)
    assert (row.state, row.error) == ("failed", "$5.00 of the refund failed at the bank: failed")
    (event,) = await list_adjustment_events(cast, "billing.adjustment_failed")
    assert (event.object_id, event.after, event.actor_type) == (made, {"refund": "$5.00"}, "job")
    with pytest.raises(Conflict, match=r"At most \$185\.00"):
        await request_adjustment(cast.olga, cast.acme, 18_501, **refund_of)


async def test_refund_made_at_the_provider_lowers_what_can_be_refunded(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    invoice = build_paid_invoice("in_elsewhere")
    customer = await create_customer(cast, provider, invoice)
    provider.state[customer] = CustomerState(
        *(customer,),
        currency="usd",
        invoices=(invoice,),
        refunds=(build_refund("pending", invoice_id=invoice.id),),
    )
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    with pytest.raises(Conflict, match=r"At most \$195\.00"):
        await request_adjustment(cast.olga, cast.acme, 19_501, kind="refund", invoice_id=invoice.id)


@pytest.mark.parametrize(
    ("status", "alert", "refusal"),
    [
        ("needs_response", "answer it in Stripe by", "disputed this payment"),
        ("under_review", "the bank reviews the answer", "disputed this payment"),
        ("lost", "", "returned this payment"),
        ("won", "", ""),
    ],
)
async def test_disputed_payment_is_alerted_and_not_refunded(
    cast: Cast, provider: AdjustmentProvider, status: str, alert: str, refusal: str
) -> None:
    invoice = build_paid_invoice("in_disputed")
    customer = await create_customer(cast, provider, invoice)
    provider.state[customer] = CustomerState(
        customer,
        currency="usd",
        invoices=(invoice,),
        disputes=(build_dispute(status, invoice_id=invoice.id),),
    )
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    if alert:
        assert (await get_alert(cast)).startswith("A payment of $29.00 is disputed as fraudulent (dp_1), ")
    assert alert in await get_alert(cast)
    if refusal:
        with pytest.raises(Conflict, match=refusal):
            await request_adjustment(cast.olga, cast.acme, 100, kind="refund", invoice_id=invoice.id)
    else:
        assert await request_adjustment(cast.olga, cast.acme, 100, kind="refund", invoice_id=invoice.id)
