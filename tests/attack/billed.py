"""What the payment provider says of both tenants: a row in every table of billing, other words for each.

The subscription is to the plan that they have anyway, so that nothing closes that other attacks want to find open.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.backoffice import adjustments, prepaid_grants, provider_accounts
from shared.backoffice.reasons import state_reason
from shared.billing import accounts, customers, usage
from shared.billing.inbound_webhooks import ingest, processing
from shared.billing.inbound_webhooks.signature import verify_event
from shared.billing.models import (
    PLATFORM,
    BillingInvoice,
    BillingOrder,
    BillingOrderKind,
    BillingSubscription,
    Price,
    TopUp,
    TopUpSetting,
    TrialGrant,
)
from shared.billing.pricing import prices_repository
from shared.billing.provider_values import (
    BillingDetails,
    ChangePreview,
    Checkout,
    CheckoutOrder,
    CustomerState,
    Dispute,
    FraudWarning,
    Invoice,
    InvoiceLine,
    OpenCheckouts,
    OrderLine,
    PriceTag,
    Refund,
    RemotePrice,
    Subscription,
    SubscriptionItem,
    TransferOrder,
)
from shared.billing.sync import customer_sync, provider_records
from shared.core import db
from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import rights_cache
from shared.tenancy import entry
from tests.support.billing import webhooks
from tests.support.billing.scripted_provider import FakeProvider

PRICE = "prc_attack"
THERE = f"there_{PRICE}"  # as the shop names it: another name would be a drift
PLAN, PERIOD = "enterprise", timedelta(days=30)
WORDS = ("XERUS", "QUOKKA")  # numbers of invoices begin so
SECRET = "whsec_of_the_second_shop"
PAGE = "https://pay.example.test"


class Shop(FakeProvider):
    """Says what it was told to, and elsewhere what is known already: every process may ask its own."""

    def __init__(self) -> None:
        super().__init__()
        self.fingerprints = set[str]()  # of orders with a payment page

    async def create_customer(self, tenant_id: str, name: str, email: str, key: str) -> str:
        return f"cus_{tenant_id.removeprefix('ten_')}"

    async def fetch_customer(self, customer_id: str) -> CustomerState:
        return self.state.get(customer_id) or load_customer_state(customer_id)

    async def create_checkout(self, order: CheckoutOrder) -> Checkout:
        self.fingerprints.add(order.fingerprint)
        return self._build_page(order.customer_id)

    async def close_checkouts(self, customer_id: str, *, keep: str = "") -> OpenCheckouts:
        return OpenCheckouts(self._build_page(customer_id) if keep in self.fingerprints else None, "")

    @staticmethod
    def _build_page(customer_id: str) -> Checkout:
        return Checkout(f"cs_{customer_id}", f"{PAGE}/{customer_id}")

    async def create_portal(self, customer_id: str, return_url: str) -> str:
        return f"{PAGE}/{customer_id}"

    async def fetch_billing_details(self, customer_id: str) -> BillingDetails:
        return BillingDetails(name=customer_id, email="bills@example.test")

    async def update_billing_details(self, customer_id: str, details: BillingDetails, **_: Any) -> None: ...

    async def preview_change(
        self, customer_id: str, subscription_id: str, lines: Sequence[OrderLine], *_: Any, **__: Any
    ) -> ChangePreview:
        return ChangePreview("usd", 100, (), now())

    async def change_subscription(
        self, subscription_id: str, lines: Sequence[OrderLine], **_: Any
    ) -> None: ...

    async def pause_subscription(self, subscription_id: str, key: str) -> None: ...

    async def pause_collection(self, subscription_id: str, dispute_id: str, key: str) -> None: ...

    async def resume_collection(self, subscription_id: str, key: str) -> None: ...

    async def preview_pause(self, customer_id: str, subscription_id: str) -> ChangePreview:
        return ChangePreview("usd", 0, (), now())

    async def preview_resume(self, customer_id: str, subscription_id: str) -> ChangePreview:
        return ChangePreview("usd", 100, (), now())

    async def schedule_change(self, subscription_id: str, lines: Sequence[OrderLine], key: str) -> None: ...

    async def drop_scheduled_change(self, subscription_id: str, key: str) -> None: ...

    async def cancel_subscription(self, subscription_id: str, **_: Any) -> None: ...

    async def resume_subscription(self, subscription_id: str, key: str) -> None: ...

    async def undo_unpaid_tax(self, subscription_id: str, before: datetime, key: str) -> None: ...

    async def end_trial(self, subscription_id: str, key: str) -> None: ...

    async def extend_trial(self, subscription_id: str, until: datetime, key: str) -> None: ...

    async def start_transfer_subscription(self, order: TransferOrder) -> str:
        return f"sub_{order.key}"

    async def mark_paid(self, invoice_id: str, key: str) -> None: ...

    async def add_credit(
        self, customer_id: str, amount: int, currency: str, description: str, key: str
    ) -> str:
        return f"gift_{key}"

    async def refund_invoice(self, invoice_id: str, amount: int, key: str) -> str:
        return f"back_{key}"

    async def void_invoice(self, invoice_id: str, key: str) -> None: ...

    async def push_price(self, tag: PriceTag) -> str:
        return f"there_{tag.id}"

    async def read_price(self, tag: PriceTag) -> RemotePrice:
        return RemotePrice(f"there_{tag.id}", tag, active=True)


def load_customer_state(customer_id: str) -> CustomerState:
    """As it was seen last, whosever it is."""
    from tests.attack.world import World

    with World.superuser() as superuser:
        of = [customer_id]
        held = superuser.execute("select * from billing_subscription where customer_id = %s", of).fetchall()
        bills = superuser.execute("select * from billing_invoice where customer_id = %s", of).fetchall()
        standing = superuser.execute(
            "select s.* from billing_snapshot s join billing_customer c using (tenant_id) where c.id = %s", of
        ).fetchone()
    return CustomerState(
        customer_id,
        method=standing["method"] if standing else "",
        balance=standing["balance"] if standing else 0,
        currency="usd",
        subscriptions=tuple(provider_records.to_subscription(BillingSubscription(**row)) for row in held),
        invoices=tuple(_invoice(BillingInvoice(**row)) for row in bills),
    )


def _invoice(row: BillingInvoice) -> Invoice:
    same = ("id", "number", "status", "currency", "total", "due", "paid", "attempts", "next_attempt_at")
    return Invoice(
        **{name: getattr(row, name) for name in (*same, "created_at", "page_url", "pdf_url")},
        starts_at=row.period_starts_at,
        ends_at=row.period_ends_at,
        subscription_id=row.subscription_id,
        lines=(InvoiceLine(row.lines[0]["said"], row.total, 1, None, None, proration=False),),
    )


async def sell() -> None:
    """The price of both, and one for each of the second shop's customers to come: once in a database."""
    async with db.transaction("operator") as session:
        if await session.get(Price, PRICE) is None:
            session.add(await _price(session, PRICE, "month", None))
            await session.flush()
            await prices_repository.save_pushed_price(session, PLATFORM, PRICE, THERE, now())


async def _price(session: Any, price_id: str, period: str, tenant_id: str | None) -> Price:
    offer = (await rights_cache.get_catalog(session)).find_offer(PLAN, now())
    assert offer is not None
    return Price(
        id=price_id,
        plan_version_id=offer.id,
        for_tenant=tenant_id,
        period=period,
        kind="seat",
        currency="usd",
        amount=1_500,
        effective_at=now() - PERIOD,
        created_by="attack",
        reason="For the attack",
    )


async def add_shop(cookie: str) -> str:
    """A further account through which we sell, nobody's customer yet. The last part of its address."""
    async with entry.enter_operator(cookie) as octx:
        key = f"sk_test_{new_id('x')}"
        address = await provider_accounts.add(
            octx, f"Shop {key[-6:]}", key, [SECRET], reason=state_reason(octx, "Ticket 4473")
        )
    return address.rpartition("/")[2]


async def bill(shop: Shop, owner: str, operator: str, tenant: Any, number: int) -> tuple[str, ...]:
    """A payment that failed, what was said about it, and all that came after. The words that only they may see."""
    customer = await customers.ensure(tenant.id)
    at = now().replace(microsecond=0) - timedelta(hours=number)
    paid = _state(customer, number, at)
    shop.state[customer] = replace(
        paid,
        subscriptions=(replace(paid.subscriptions[0], status="past_due", failed_since=at),),
        invoices=(replace(paid.invoices[0], status="open", due=paid.invoices[0].total, paid=0),),
    )
    await _webhook(customer, number)
    async with db.transaction("operator") as session:
        session.add(await _price(session, new_id("prc"), "year", tenant.id))
    async with entry.enter_tenant(owner, tenant.slug) as ctx:
        await usage.record(ctx, "api_calls", 10 + number, at, f"used-{customer}")
        ctx.session.add(
            TrialGrant(tenant_id=tenant.id, reason=f"Ticket {5000 + number}", by_id="opr_1", by_name="Olga")
        )
    async with db.transaction(tenant_id=tenant.id) as session:
        amount = 2_000 + number
        session.add(
            TopUpSetting(
                tenant_id=tenant.id,
                is_on=False,
                threshold=number,
                amount=amount,
                monthly_maximum=amount,
                currency="usd",
            )
        )
        session.add(TopUp(tenant_id=tenant.id, amount=amount, currency="usd", state="failed"))
    async with entry.enter_operator(operator) as octx:
        why = f"Ticket {6000 + number}"
        await adjustments.request_adjustment(
            octx,
            tenant.id,
            "credit",
            100 + number,
            "usd",
            "goodwill",
            state_reason(octx, why, tenant_id=tenant.id),
        )
        reason = state_reason(octx, why, tenant_id=tenant.id)
        await prepaid_grants.grant_credits(octx, tenant.id, 200 + number, "usd", "goodwill", reason)
        async with entry.enter_live_as_operator(octx, tenant.id, why) as ctx:
            ctx.session.add(
                BillingOrder(
                    tenant_id=tenant.id,
                    kind=BillingOrderKind.MARK_PAID,
                    subject_id=paid.invoices[0].id,
                    terms={"reference": f"Transfer {number}"},
                    reason=why,
                    by_id=octx.actor_id,
                    by_name=octx.actor.name,
                )
            )
    return customer, paid.subscriptions[0].id, paid.invoices[0].id, paid.invoices[0].number


async def recover(shop: Shop, tenant: Any, number: int) -> None:
    """It was paid, and nobody told us."""
    customer = await customers.ensure(tenant.id)
    then = shop.state[customer].subscriptions[0].created_at
    shop.state[customer] = _state(customer, number, then)
    await customer_sync.sync_customer(PLATFORM, customer, tenant.id, cause="reconcile")


async def refund(shop: Shop, operator: str, tenant: Any, number: int) -> None:
    """A part of what was paid is given back, and a further invoice is still open."""
    customer = await customers.ensure(tenant.id)
    known_state = shop.state[customer]
    paid = known_state.invoices[0]
    number_of_second = f"{paid.number}-2"
    unpaid = replace(paid, id=f"{paid.id}_2", number=number_of_second, status="open", due=paid.total, paid=0)
    shop.state[customer] = replace(known_state, invoices=(paid, unpaid))
    await customer_sync.sync_customer(PLATFORM, customer, tenant.id, cause="reconcile")
    async with entry.enter_operator(operator) as octx:
        why, amount = f"Ticket {7000 + number}", 10 + number
        await adjustments.request_adjustment(
            octx,
            tenant.id,
            "refund",
            amount,
            "usd",
            "goodwill",
            state_reason(octx, why, tenant_id=tenant.id),
            invoice_id=paid.id,
        )


async def _webhook(customer: str, number: int) -> None:
    body = webhooks.build_body_about(
        {"id": f"sub_{customer}", "object": "subscription", "customer": customer}, id=event_of(customer)
    )
    signed = webhooks.build_signature(body)
    event = verify_event(body, signed, accounts.get_platform_account().secrets, now().timestamp())
    await ingest.store_webhook(PLATFORM, event, body)
    await processing.drain()


def event_of(customer: str) -> str:
    return f"evt_{customer}"


def _state(customer: str, number: int, at: datetime) -> CustomerState:
    ends, sum_ = at + PERIOD, 150_000 + number
    line = SubscriptionItem(f"si_{customer}", PRICE, THERE, 100 + number, at, ends)
    subscription = Subscription(f"sub_{customer}", "active", at, (line,), pays=True, currency="usd")
    invoice = Invoice(
        *(f"in_{customer.removeprefix('cus_')}", f"{WORDS[number - 1]}-{customer[-6:]}", "paid", "usd"),
        *(sum_, 0, sum_, 1, None, at, at, ends),
        page_url=f"{PAGE}/{customer}",
        pdf_url=f"{PAGE}/{customer}.pdf",
        subscription_id=subscription.id,
        lines=(InvoiceLine(f"Seats of {WORDS[number - 1].title()}", sum_, 100, at, ends, proration=False),),
    )
    given_back = Refund(
        id=f"re_{customer}",
        invoice_id=invoice.id,
        credit_note_id=f"cn_{customer}",
        key="",
        amount=number,
        currency="usd",
        status="succeeded",
        failure_reason="",
        created_at=at,
    )
    dispute = Dispute(
        id=f"dp_{customer}",
        invoice_id=f"{invoice.id}_2",
        amount=number,
        currency="usd",
        reason="general",
        status="needs_response",
        is_refundable=False,
        respond_by=ends,
        created_at=at,
    )
    suspicion = FraudWarning(
        id=f"issfr_{customer}",
        invoice_id=invoice.id,
        amount=number,
        currency="usd",
        fraud_type="misc",
        is_actionable=True,
        created_at=at,
    )
    return CustomerState(
        *(customer, False, f"Visa ending in {4240 + number}", -number, "usd", (subscription,), (invoice,)),
        refunds=(given_back,),
        disputes=(dispute,),
        fraud_warnings=(suspicion,),
    )
