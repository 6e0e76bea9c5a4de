"""The operators' billing pages: reasons, filters and unknown rows."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from admin_app import addresses
from admin_app import shell as admin_shell
from admin_app.pages.drift import DriftState, describe_hidden, drift_page
from admin_app.pages.invoices import InvoicesState
from admin_app.pages.tenant.state import TenantPageState
from admin_app.pages.tenant_billing.prepaid import prepaid_dialogs, prepaid_panels
from admin_app.pages.tenant_billing.state import TenantBillingState
from admin_app.pages.tenant_billing.view import billing_panel
from admin_app.pages.webhook.state import WebhookState
from admin_app.pages.webhooks.state import WebhooksState
from admin_app.shell import Shell
from admin_app.visit_state import TenantVisitState
from shared.backoffice import tenant_billing
from shared.backoffice.reasons import state_reason
from shared.billing import customers, provider_registry
from shared.billing.inbound_webhooks import processing
from shared.billing.models import PLATFORM, BillingSnapshot, PrepaidGrant
from shared.billing.prepaid import balance, top_ups
from shared.billing.provider import ProviderDown
from shared.billing.provider_values import CustomerState, PaymentMethod
from shared.billing.sync import customer_sync, provider_records
from shared.core import db
from shared.core.config import settings
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.tenancy import entry
from shared.ui.field_errors import FieldErrors
from shared.ui.prepaid_ledger import grant_rows
from shared.web import public_pages
from shared.web.app_sites import ADMIN
from tenant_app import shell as tenant_shell
from tenant_app.pages.billing import prepaid_state
from tenant_app.pages.billing.prepaid import prepaid_section, top_up_dialog
from tenant_app.pages.billing.state import BillingState
from tenant_app.pages.home import HomeState
from tests.backoffice.test_adjustments import AdjustmentProvider, build_paid_invoice
from tests.backoffice.test_unbilled_usage import record_problem
from tests.billing.test_apply_state import build_subscription
from tests.conftest import Cast, Operating
from tests.support.billing import events, scripted_provider

REASON = "Ticket 4471, as agreed"
TOP_UP_FORM = {"threshold": "10.00", "amount": "50.00", "maximum": "100.00"}

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
async def provider() -> Any:
    provider = AdjustmentProvider()
    provider_registry.register(PLATFORM, provider)
    await scripted_provider.add_price(scripted_provider.PRO_FLAT, "pro")
    yield provider
    async with db.transaction() as session:  # the next test's provider does not know these customers
        connection = await session.connection()
        await connection.execute(text("update inbound_webhook set status = 'ignored' where status <> 'done'"))


async def send_event(page: Any, name: str, *payload: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *payload)


async def subscribe_acme(cast: Cast, provider: AdjustmentProvider) -> str:
    customer = await customers.ensure(cast.acme)
    line = replace(build_subscription(), id=f"sub_{customer[4:]}")
    bill = build_paid_invoice(f"in_{customer[4:]}")
    provider.state[customer] = CustomerState(
        customer, method="Visa ending in 4242", currency="usd", subscriptions=(line,), invoices=(bill,)
    )
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="return")
    return customer


async def open_billing_tab(cast: Cast, operator: Operating | None = None) -> Any:
    page: Any = (operator or cast.olga).opens(TenantBillingState, path=f"/tenants/{cast.acme}")
    async with page._ctx() as octx:
        reason = state_reason(octx, REASON, tenant_id=cast.acme)
    (await page.get_state(TenantVisitState))._open_visit(reason)
    await send_event(page, "load")
    return page


async def store_dead_webhooks(customer: str, count: int = 1) -> list[str]:
    ids = await events.store_webhooks(customer, count)
    async with db.transaction() as session:
        connection = await session.connection()
        statement = "update inbound_webhook set status = 'dead', error = 'ValueError' where customer_id = :id"
        await connection.execute(text(statement), {"id": customer})
    return ids


# ── webhooks ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_webhooks_page_counts_filters_and_links(cast: Cast, provider: AdjustmentProvider) -> None:
    customer = await subscribe_acme(cast, provider)
    (event,) = await store_dead_webhooks(customer)
    page = cast.olga.opens(WebhooksState, path="/webhooks")
    await send_event(page, "load")
    assert int(page.dead) >= 1
    assert "customer.subscription.updated" in [event_type.type for event_type in page.types]
    await send_event(page, "apply_filter", {"type": "", "customer": customer, "event": ""})
    (row,) = page.rows
    assert (row.tenant, row.status, row.tone, row.error) == ("Acme", "Dead", "bad", "ValueError")
    assert addresses.parse_webhook_path(row.href) == (PLATFORM, event)
    await send_event(page, "choose_tab", "dead")
    assert (page.tab, page.filtered) == ("dead", False)
    assert {row.status for row in page.rows} == {"Dead"}
    for name, wrong in (("choose_status", "lost"), ("choose_tab", 7), ("open_dialog", "fly")):
        with pytest.raises(Invalid):
            await send_event(page, name, wrong)
    with pytest.raises(Invalid):
        await send_event(page, "open_dialog", "resume", "pac_other")
    with pytest.raises(Invalid):
        await send_event(page, "apply_filter", {"type": "", "customer": "", "event": "", "payload": "x"})


async def test_replay_of_dead_webhooks_requires_a_reason(cast: Cast, provider: AdjustmentProvider) -> None:
    await store_dead_webhooks(await subscribe_acme(cast, provider), 2)
    page = cast.olga.opens(WebhooksState, path="/webhooks")
    await send_event(page, "load")
    with pytest.raises(Invalid):
        await send_event(page, "replay_dead", {"type": "", "reason": " "})
    await send_event(page, "open_dialog", "replay")
    await send_event(page, "replay_dead", {"type": "", "reason": REASON})
    assert (page.dialog, page.dead) == ("", "0")


async def test_paused_account_is_shown_on_every_page_until_resumed(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    async with db.transaction() as session:
        await processing.accounts.pause(session, PLATFORM, processing.KEY_REFUSED_ERROR)
    page = cast.olga.opens(WebhooksState, path="/webhooks")
    await send_event(page, "load")
    frame = await page.get_state(Shell)
    assert ("paused", processing.KEY_REFUSED_ERROR) in [
        (trouble.kind, trouble.detail) for trouble in frame.troubles
    ]
    assert [(account.state, account.is_paused) for account in page.accounts if account.id == PLATFORM] == [
        ("Paused", True)
    ]
    await send_event(page, "open_dialog", "resume", PLATFORM)
    await send_event(page, "resume_account", {"reason": REASON})
    await send_event(page, "load")
    assert "paused" not in [trouble.kind for trouble in frame.troubles]
    sam = cast.sam.opens(WebhooksState, path="/webhooks")
    await send_event(sam, "load")
    await send_event(sam, "open_dialog", "resume", PLATFORM)
    with pytest.raises(Refused):
        await send_event(sam, "resume_account", {"reason": REASON})


async def test_customer_deleted_in_stripe_is_listed_for_operators(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    customer = await subscribe_acme(cast, provider)
    page = cast.sam.opens(DriftState, path="/drift")
    await send_event(page, "load")
    assert customer not in str(page.alerts)
    provider.state[customer] = CustomerState(customer, deleted=True)
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    await send_event(page, "load")
    (alert,) = [alert for alert in page.alerts if customer in alert.alert]
    assert alert.href == addresses.billing_url(cast.acme)
    assert "deleted in Stripe" in alert.alert


async def test_alerts_beyond_the_limit_are_counted(cast: Cast, provider: AdjustmentProvider) -> None:
    customer = await subscribe_acme(cast, provider)
    provider.state[customer] = CustomerState(customer, deleted=True)
    await customer_sync.sync_customer(PLATFORM, customer, cast.acme, cause="webhook")
    async with db.transaction(tenant_id=cast.globex) as session:
        session.add(
            BillingSnapshot(
                tenant_id=cast.globex, schedule={}, status="", ticket=1, alert="Two subscriptions"
            )
        )
    async with cast.sam.octx() as octx:
        alerts = await tenant_billing.list_alerts(octx, limit=1)
        all_alerts = await tenant_billing.list_alerts(octx, limit=200)
    assert (len(alerts.alerts), alerts.total) == (1, all_alerts.total)
    assert all_alerts.total >= 2
    assert describe_hidden(1, 2) == "1 of 2 are shown. The others follow as these are resolved."
    assert describe_hidden(2, 2) == ""
    drift_page()


async def test_test_mode_is_shown_on_every_page_of_both_apps(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearsal = settings().model_copy(
        update={"env": "prod", "stripe_secret_key": SecretStr("sk_test_1"), "stripe_allow_test_key": True}
    )
    drift, home = cast.sam.opens(DriftState, path="/drift"), cast.ann.opens(HomeState)
    for is_shown in (False, True):
        for page, frame in ((drift, Shell), (home, tenant_shell.Shell)):
            await send_event(page, "load")
            assert (await page.get_state(frame)).test_mode == is_shown
        scope = {"type": "http", "state": {"site": ADMIN}}
        sign_in = public_pages.render_page(scope, "forgot.html", sent=False).body.decode()
        assert ("Stripe test mode" in sign_in) == is_shown
        for module in (admin_shell, tenant_shell, public_pages):
            monkeypatch.setattr(module, "settings", lambda: rehearsal)


async def test_provider_outage_is_shown_on_every_page(cast: Cast, provider: AdjustmentProvider) -> None:
    customer = await subscribe_acme(cast, provider)
    await events.store_webhooks(customer)
    provider.failure = ProviderDown("no answer")
    await processing.drain()
    page = cast.sam.opens(DriftState, path="/drift")
    await send_event(page, "load")
    frame = await page.get_state(Shell)
    assert "silent" in [trouble.kind for trouble in frame.troubles]


async def test_webhook_content_is_shown_for_a_reason(cast: Cast, provider: AdjustmentProvider) -> None:
    customer = await subscribe_acme(cast, provider)
    (event,) = await events.store_webhooks(customer)
    await processing.drain()
    page = cast.olga.opens(WebhookState, path=addresses.webhook_url(PLATFORM, event))
    await send_event(page, "load")
    assert (page.detail.status, page.detail.tenant, page.payload, page.effects) == ("Done", "Acme", "", [])
    with pytest.raises(Invalid):
        await send_event(page, "start_visit", {"reason": ""})
    assert not page.is_visit_open
    await send_event(page, "start_visit", {"reason": REASON})
    assert (page.is_visit_open, page.payload) == (True, "{}")
    (effect,) = page.effects
    assert (effect.cause, effect.changes) == ("Webhook received", [])
    await send_event(page, "load")
    assert page.payload == "{}"
    await send_event(page, "end_visit")
    await send_event(page, "load")
    assert (page.payload, page.effects, page.reason) == ("", [], "")


async def test_webhook_page_keeps_nothing_of_the_previous_webhook(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    customer = await subscribe_acme(cast, provider)
    event, other = await events.store_webhooks(customer, 2)
    await processing.drain()
    page = cast.olga.opens(WebhookState, path=addresses.webhook_url(PLATFORM, event))
    await send_event(page, "load")
    await send_event(page, "start_visit", {"reason": REASON})
    page.router = cast.olga.opens(WebhookState, path=addresses.webhook_url(PLATFORM, other)).router
    await send_event(page, "load")
    assert page.detail.id == other
    assert (page.is_visit_open, page.payload, page.effects) == (False, "", [])


async def test_unknown_webhook_is_not_found(cast: Cast) -> None:
    page = cast.olga.opens(WebhookState, path="/webhooks/platform/evt_none")
    await send_event(page, "load")  # says so on the page itself
    assert not page.loaded
    with pytest.raises(NotFound):
        await send_event(page, "replay_webhook", {"reason": REASON})


# ── a tenant's tab ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_billing_tab_shows_customer_access_and_adjustments(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    customer = await subscribe_acme(cast, provider)
    page = await open_billing_tab(cast)
    assert [row.id for row in page.customers] == [customer]
    assert page.customers[0].href.startswith("http")
    assert (page.summary.access, page.summary.provider_status, page.summary.method) == (
        "Active",
        "Active",
        "Visa ending in 4242",
    )
    assert [invoice.total for invoice in page.invoices] == ["$200.00"]
    assert page.invoice_choices[1][0] == f"in_{customer[4:]}"
    form = {
        **{"kind": "refund", "amount": "25.50", "currency": "usd", "code": "duplicate_charge"},
        **{"invoice": f"in_{customer[4:]}", "reason": REASON, "confirm": "Acme"},
    }
    await send_event(page, "open_dialog", "adjust")
    await send_event(page, "adjust_balance", form)
    (row,) = page.adjustments
    assert (row.title, row.state, page.dialog) == ("Refund of $25.50", "In progress", "")
    with pytest.raises(Conflict):  # the same form once more
        await send_event(page, "adjust_balance", form)
    await send_event(page, "open_dialog", "again", row.id)
    await send_event(page, "retry_adjustment", {"reason": REASON})


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"confirm": "Globex"}, "confirm"),
        ({"amount": "ten"}, "amount"),
        ({"amount": "1.005"}, "amount"),
        ({"amount": "-5"}, "amount"),
        ({"currency": "xxx"}, "currency"),
        ({"tenant_id": "ten_x"}, "tenant_id"),
    ],
)
async def test_invalid_adjustment_names_its_field(
    cast: Cast, provider: AdjustmentProvider, changed: dict[str, str], field: str
) -> None:
    await subscribe_acme(cast, provider)
    page = await open_billing_tab(cast)
    form = {
        **{"kind": "credit", "amount": "5", "currency": "usd", "code": "goodwill", "invoice": ""},
        **{"reason": REASON, "confirm": "Acme"},
    }
    with pytest.raises(Invalid) as caught:
        await send_event(page, "adjust_balance", form | changed)
    assert field in caught.value.fields
    assert page.adjustments == []


async def test_billing_tab_is_read_only_for_support(cast: Cast, provider: AdjustmentProvider) -> None:
    await subscribe_acme(cast, provider)
    page = await open_billing_tab(cast, cast.sam)
    assert page.loaded
    form = {
        **{"kind": "credit", "amount": "5", "currency": "usd", "code": "goodwill", "invoice": ""},
        **{"reason": REASON, "confirm": "Acme"},
    }
    for name, payload in (("adjust_balance", form), ("compare_customer", {"reason": REASON})):
        with pytest.raises(Refused):
            await send_event(page, name, payload)


async def test_unbilled_usage_is_settled_on_the_billing_tab(cast: Cast, provider: AdjustmentProvider) -> None:
    await subscribe_acme(cast, provider)
    await record_problem(cast, "old", "ended")
    page = await open_billing_tab(cast)
    (row,) = page.unbilled_usage
    assert (row.title, row.can_settle) == ("3,000 calls", True)
    with pytest.raises(Invalid, match="Choose the usage"):
        await send_event(page, "settle_usage", {"code": "invoiced", "reason": REASON})
    await send_event(page, "open_dialog", "settle", row.id)
    with pytest.raises(Invalid):
        await send_event(page, "settle_usage", {"code": "forgotten", "reason": REASON})
    await record_problem(cast, "newer", "ended")
    await send_event(page, "load")  # as a live event does while the operator types
    assert "1 record settled." in str(
        await send_event(page, "settle_usage", {"code": "invoiced", "reason": REASON})
    )
    assert [row.title for row in page.unbilled_usage] == ["3,000 calls"], "what the dialog didn't name stays"
    billing_panel()


async def test_billing_tab_without_a_reason_is_empty(cast: Cast, provider: AdjustmentProvider) -> None:
    await subscribe_acme(cast, provider)
    page = await open_billing_tab(cast)
    (await page.get_state(TenantVisitState))._close_visit()
    with pytest.raises(Conflict, match="has ended"):
        await send_event(page, "compare_customer", {"reason": REASON})
    await send_event(page, "load")
    assert (page.loaded, page.customers, page.invoices, page.name) == (False, [], [], "")


async def test_tenant_page_loads_the_billing_tab_for_its_reason(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    await subscribe_acme(cast, provider)
    page = cast.olga.opens(TenantPageState, path=f"/tenants/{cast.acme}")
    await send_event(page, "load")
    tab: Any = await page.get_state(TenantBillingState)
    assert await send_event(page, "choose_tab", "billing") is TenantBillingState.load
    await send_event(tab, "load")
    assert not tab.loaded
    answer, next_event = await send_event(page, "start_visit", {"reason": REASON})
    assert "You can view Acme" in str(answer)
    assert next_event is TenantBillingState.load
    await send_event(tab, "load")
    assert (tab.loaded, tab.name) == (True, "Acme")
    assert await send_event(page, "end_visit") is TenantBillingState.load
    await send_event(tab, "load")
    assert not tab.loaded


# ── across tenants ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_invoices_of_all_tenants_require_a_reason(cast: Cast, provider: AdjustmentProvider) -> None:
    customer = await subscribe_acme(cast, provider)
    page = cast.olga.opens(InvoicesState, path="/invoices")
    await send_event(page, "load")
    assert (page.loaded, page.is_visit_open, page.rows) == (True, False, [])
    with pytest.raises(Invalid):
        await send_event(page, "start_visit", {"reason": ""})
    await send_event(page, "start_visit", {"reason": REASON})
    await send_event(page, "search_invoices", f"in_{customer[4:]}")
    (row,) = page.rows
    assert (row.tenant, row.status, row.total) == ("Acme", "Paid", "$200.00")
    await send_event(page, "choose_status", "open")
    assert page.rows == []
    with pytest.raises(Invalid):
        await send_event(page, "choose_status", "lost")
    await send_event(page, "end_visit")
    assert (page.is_visit_open, page.rows) == (False, [])
    await send_event(page, "search_invoices", "acme")
    assert page.rows == []


async def test_comparison_of_all_tenants_requires_a_reason(cast: Cast) -> None:
    page = cast.olga.opens(DriftState, path="/drift")
    await send_event(page, "load")
    with pytest.raises(Invalid):
        await send_event(page, "start_comparison", {"reason": " "})
    await send_event(page, "start_comparison", {"reason": REASON})
    assert (page.runs[0].description, page.runs[0].state) == (f"Olga: {REASON}", "Running")
    sam = cast.sam.opens(DriftState, path="/drift")
    await send_event(sam, "load")
    assert sam.runs
    with pytest.raises(Refused):
        await send_event(sam, "start_comparison", {"reason": REASON})


# ── prepaid credits ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_operator_grants_and_voids_prepaid_credits(cast: Cast, provider: AdjustmentProvider) -> None:
    await subscribe_acme(cast, provider)
    tab = await open_billing_tab(cast)
    await send_event(tab, "open_dialog", "grant")
    form = {
        "amount": "100.00",
        "currency": "usd",
        "code": "promotion",
        "priority": "10",
        "expires": "",
        "reason": REASON,
        "confirm": "Acme",
    }
    await send_event(tab, "grant_credits", {**form, "priority": "101"})
    assert (tab.dialog, tab.prepaid_grants) == ("grant", [])
    await send_event(tab, "grant_credits", form)
    (row,) = tab.prepaid_grants
    assert (row.title, row.left, row.status) == ("Credits of $100.00", "$100.00", "Active")
    assert row.note == f"Priority 10 · Olga: {REASON}"
    page = cast.ann.opens(BillingState, path=f"/t/{cast.ann.slug}/billing")
    await send_event(page, "load")
    assert page.prepaid_balance == "$100.00"
    assert [(grant.title, grant.note) for grant in page.prepaid_grants] == [("Credits of $100.00", "")]
    with pytest.raises(Invalid):
        await send_event(tab, "open_dialog", "void_grant", "pgr_other")
    await send_event(tab, "open_dialog", "void_grant", row.id)
    assert tab.subject == "$100.00 of credits of $100.00"
    await send_event(tab, "void_grant", {"reason": REASON})
    assert [(entry.title, entry.amount) for entry in tab.prepaid_entries] == [
        ("Voided", "−$100.00"),
        ("Granted", "$100.00"),
    ]
    await send_event(page, "load")
    assert (page.prepaid_balance, page.prepaid_grants[0].status) == ("", "Voided")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (balance.DRAW, "Used up"),
        (balance.EXPIRE, "Expired"),
        (balance.VOID, "Voided"),
        (balance.REFUND, "Refunded or disputed"),
    ],
)
async def test_empty_grant_shows_what_emptied_it(cast: Cast, kind: str, status: str) -> None:
    grant = PrepaidGrant(
        tenant_id=cast.acme,
        source=balance.TOP_UP,
        amount=5_000,
        remaining=5_000,
        currency="usd",
        priority=balance.DEFAULT_PRIORITY,
    )
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        await balance.add_grant(ctx, grant)
        locked = await balance.lock_grant(ctx, grant.id)
        assert locked is not None
        await balance.take_all(ctx, locked, kind)
    async with cast.ann.ctx() as ctx:
        overview = await balance.get_overview(ctx)
    assert [row.status for row in grant_rows(overview) if row.id == grant.id] == [status]


# ── automatic top-ups ────────────────────────────────────────────────────────────────────────────────────────────


async def pay_by_card(cast: Cast, *, currency: str, methods: dict[str, PaymentMethod]) -> None:
    async with entry.enter_billing_sync(cast.acme, "tests") as ctx:
        snapshot = await ctx.session.get(BillingSnapshot, (cast.acme, "standing"))
        assert snapshot is not None
        snapshot.currency, snapshot.payment_methods = currency, provider_records.methods_to_json(methods)


async def open_top_up_page(cast: Cast, provider: AdjustmentProvider) -> Any:
    """Acme pays by card."""
    await subscribe_acme(cast, provider)
    await pay_by_card(cast, currency="usd", methods={"sub_1": PaymentMethod(id="pm_1", text="Visa")})
    page = cast.ann.opens(BillingState, path=f"/t/{cast.ann.slug}/billing")
    await send_event(page, "load")
    return page


async def test_set_up_says_that_tax_is_added(
    cast: Cast, provider: AdjustmentProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    taxed = settings().model_copy(update={"automatic_tax": True})
    monkeypatch.setattr(prepaid_state, "settings", lambda: taxed)
    page = await open_top_up_page(cast, provider)
    await send_event(page, "save_top_up", TOP_UP_FORM)
    assert (page.top_up_adds_tax, page.top_up_obstacle) == (True, "")
    assert "Tax is added to each." in page.top_up_text


async def test_set_up_says_why_it_would_be_refused(cast: Cast, provider: AdjustmentProvider) -> None:
    page = await open_top_up_page(cast, provider)
    assert page.top_up_obstacle == ""
    await pay_by_card(cast, currency="usd", methods={})
    await send_event(page, "load")
    assert page.top_up_obstacle == " ".join(top_ups.METHOD_OBSTACLE)


@pytest.mark.parametrize("field", ["threshold", "amount", "maximum"])
async def test_wrong_amount_of_a_top_up_is_reported_at_its_field(
    cast: Cast, provider: AdjustmentProvider, field: str
) -> None:
    page = await open_top_up_page(cast, provider)
    await send_event(page, "open_dialog", "top_up")
    await send_event(page, "save_top_up", TOP_UP_FORM | {field: "a lot"})
    field_errors = await page.get_state(FieldErrors)
    assert (page.dialog, list(field_errors.errors)) == ("top_up", [field])


async def test_top_up_of_a_replaced_customer_is_shown_and_can_be_turned_off(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    page = await open_top_up_page(cast, provider)
    await send_event(page, "save_top_up", TOP_UP_FORM)
    assert (page.top_up_on, page.top_up_values["amount"]) == (True, "50.00")
    await pay_by_card(cast, currency="", methods={})
    await send_event(page, "load")
    assert (page.top_up_on, page.shows_prepaid) == (True, True)
    await send_event(page, "turn_off_top_up")
    assert not page.top_up_on


async def test_top_up_in_a_currency_that_has_changed_meanwhile_is_refused(
    cast: Cast, provider: AdjustmentProvider
) -> None:
    page = await open_top_up_page(cast, provider)
    methods = {"sub_1": PaymentMethod(id="pm_1", text="Visa")}
    await pay_by_card(cast, currency="jpy", methods=methods)
    with pytest.raises(Conflict, match="currency"):
        await send_event(page, "save_top_up", TOP_UP_FORM)


def test_panels_of_prepaid_credits_compile() -> None:
    for build in (prepaid_panels, prepaid_dialogs, prepaid_section, top_up_dialog):
        assert build().render()
