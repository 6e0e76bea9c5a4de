"""Operators see what the payment provider told us, what became of it, and how a tenant's billing stands.

What stands there is planted, in states that no worker takes up: no test waits for a provider.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import ADMIN, NewVisitor, connect_to_database
from tests.e2e.looks import LIGHT, PHONE, Look, list_problems, open_page

REASON = "Ticket 4471, paid and still read-only"
NOBODY = "cus_planted_nobody"  # of no tenant, and of no provider either
DEAD, DONE = "evt_planted_dead", "evt_planted_done"


@pytest.fixture(scope="module")
def globex(platform: Any) -> str:
    """Id of Globex, with a history of billing."""
    with connect_to_database() as superuser:
        row = superuser.execute("select id from tenant where slug = 'globex'").fetchone()
        assert row is not None
        add_webhooks(superuser, row[0])
        return str(row[0])


def add_webhooks(superuser: Any, tenant: str) -> None:
    def add(table: str, **values: Any) -> None:
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        superuser.execute(
            f"insert into {table} ({names}) values ({marks}) on conflict do nothing", list(values.values())
        )

    at = datetime.now(UTC).replace(microsecond=0)
    day = timedelta(days=1)
    add("billing_customer", tenant_id=tenant, id="cus_planted", account_id="platform")
    (customer,) = superuser.execute(
        "select id from billing_customer where tenant_id = %s and account_id = 'platform'", [tenant]
    ).fetchone()
    # Seen just now, so that no comparison by the clock looks for it at a provider that does not know it.
    superuser.execute(
        "update customer_sync set synced_at = now(), ticket = 41 where customer_id = %s", [customer]
    )
    mine = {"tenant_id": tenant, "account_id": "platform", "customer_id": customer}
    line = {
        **{"id": "si_1", "price_id": "prc_starter_month", "external_price_id": "price_x", "quantity": 3},
        **{"starts_at": (at - 12 * day).isoformat(), "ends_at": (at + 18 * day).isoformat()},
    }
    state = {
        **{
            "id": "sub_planted",
            "status": "past_due",
            "created_at": (at - 43 * day).isoformat(),
            "lines": [line],
        },
        **{"kept": [], "trial_ends_at": None, "after_trial": "invoice", "pays": True, "cancel_at": None},
        **{"ended_at": None, "failed_since": (at - day).isoformat(), "currency": "usd"},
    }
    add(
        "billing_subscription", **mine, id="sub_planted", status="past_due", state=json.dumps(state),
        created_at=at - 43 * day, ticket=41, seen_at=at,
    )  # fmt: skip
    for number, (status, due, paid) in enumerate((("open", 6_000, 0), ("paid", 0, 6_000))):
        add(
            "billing_invoice", **mine, id=f"in_planted_{number}", number=f"GLB-000{2 - number}", status=status,
            currency="usd", total=6_000, due=due, paid=paid, created_at=at - (1 + 30 * number) * day, ticket=41,
            seen_at=at, page_url="http://localhost:3102/stripe",
        )  # fmt: skip
    later = {"since": (at + 6 * day).isoformat(), "status": "read_only", "why": "7 days without a payment"}
    course = {
        **{
            "subscription": "sub_planted",
            "word": "past_due",
            "status": "grace",
            "why": "A payment is overdue",
        },
        **{"later": [later], "version": "", "seats": 3, "addons": [], "trial_ends_at": None, "alerts": []},
    }
    add(
        "billing_snapshot", tenant_id=tenant, id="standing", schedule=json.dumps(course), status="past_due",
        method="Visa ending in 0341", balance=-1_500, currency="usd", ticket=41, changed_at=at - day,
    )  # fmt: skip
    add(
        "billing_event", **mine, id="bev_planted", cause="webhook", event_ids=[DONE], ticket=41,
        previous=json.dumps({"status": "active", "word": "active", "sub_planted.status": "active"}),
        next=json.dumps({"status": "grace", "word": "past_due", "sub_planted.status": "past_due"}),
        recalculated=True, request_id="req_planted",
    )  # fmt: skip
    lost = [{"what": "sub_planted.cancel_at", "ours": None, "theirs": (at + 18 * day).isoformat()}]
    add("billing_drift", **mine, id="drf_planted", differences=json.dumps(lost), repaired=True)
    for number, (state_, error) in enumerate((("done", ""), ("failed", "This charge is disputed."))):
        add(
            "billing_adjustment", tenant_id=tenant, id=f"adj_planted_{number}", kind=("credit", "refund")[number],
            amount=1_500, currency="usd", reason_code="outage_credit", reason="Two hours of outage on Monday",
            by_id="opr_x", by_name="Olga", state=state_, error=error,
        )  # fmt: skip
    add(
        "reconcile_run", id="rcr_planted", cause="operator", by_name="Olga", reason="After the outage",
        finished_at=at, checked=3, drifted=1, failed=0,
    )  # fmt: skip
    payload = json.dumps({"id": DONE, "object": "event", "data": {"object": {"id": "sub_planted"}}}).encode()
    # type, status, customer, tries, what it said, when it is due
    rows = {
        DONE: ("customer.subscription.updated", "done", customer, 1, "", at),
        DEAD: ("invoice.payment_failed", "dead", NOBODY, 8, "KeyError, see req_planted", at),
        "evt_planted_dead_2": ("invoice.payment_failed", "dead", NOBODY, 8, "KeyError, see req_planted", at),
        "evt_planted_dead_3": ("customer.updated", "dead", NOBODY, 8, "ValueError, see req_planted", at),
        "evt_planted_parked": (
            *("customer.created", "parked", NOBODY, 3, "No organisation has this customer", at + 2 * day),
        ),
        "evt_planted_ignored": ("price.updated", "ignored", "", 0, "", at),
    }
    for number, (event, (kind, status, whose, tries, error, due_at)) in enumerate(rows.items()):
        add(
            "inbound_webhook", account_id="platform", event_id=event, type=kind, livemode=False,
            api_version="2026-10-28.endive", created_at=at, customer_id=whose, payload=payload,
            received_at=at - number * timedelta(minutes=7), status=status, attempts=tries, error=error,
            due_at=due_at, done_at=at + timedelta(seconds=2) if status == "done" else None,
        )  # fmt: skip


def open_as_operator(
    new_visitor: type[NewVisitor], email: str = "olga@bulkhead.test", look: Look = LIGHT
) -> NewVisitor:
    person = new_visitor(look)
    person.sign_in_as_operator(email)
    return person


def give_reason(page: Page) -> None:
    form = page.get_by_test_id("reason-form")
    form.get_by_label("Reason", exact=True).fill(REASON)
    form.get_by_role("button").click()


def test_webhook_pages_are_usable_in_every_look(new_visitor: type[NewVisitor], globex: str) -> None:
    olga = open_as_operator(new_visitor, look=PHONE)
    page = olga.page
    problems = open_page(olga, "operator-webhooks", f"{ADMIN}/webhooks", whole_suffix="-whole")
    page.get_by_role("tab", name="Dead letters").click()
    expect(page.get_by_test_id("dead-letters")).to_be_visible()
    problems += list_problems(olga, "operator-dead-letters", whole_suffix="-whole")
    page.get_by_test_id("replay-dead").click()
    expect(page.get_by_test_id("replay-form")).to_be_visible()
    problems += list_problems(olga, "operator-replay", whole_suffix="-whole")
    problems += open_page(olga, "operator-webhook", f"{ADMIN}/webhooks/platform/{DONE}")
    give_reason(page)
    expect(page.get_by_test_id("payload")).to_contain_text("sub_planted")
    problems += list_problems(olga, "operator-webhook-inside", whole_suffix="-whole")
    problems += open_page(olga, "operator-drift", f"{ADMIN}/drift")
    problems += open_page(olga, "operator-invoices-door", f"{ADMIN}/invoices")
    give_reason(page)
    expect(page.get_by_test_id("invoices")).to_contain_text("Globex")
    problems += list_problems(olga, "operator-invoices", whole_suffix="-whole")
    page.goto(f"{ADMIN}/tenants/{globex}?tab=billing")
    give_reason(page)
    expect(page.get_by_test_id("bills")).to_contain_text("GLB-0002")
    problems += list_problems(olga, "operator-tenant-billing", whole_suffix="-whole")
    page.get_by_test_id("adjust").click()
    expect(page.get_by_test_id("adjust-form")).to_be_visible()
    problems += list_problems(olga, "operator-adjust", whole_suffix="-whole")
    assert problems == []


def test_dead_webhook_is_found_read_and_replayed(new_visitor: type[NewVisitor], globex: str) -> None:
    olga = open_as_operator(new_visitor)
    page = olga.page
    page.goto(f"{ADMIN}/webhooks")
    expect(page.get_by_test_id("dead")).to_have_text(re.compile("[3-9]"))
    expect(page.get_by_test_id("failures")).to_contain_text("invoice.payment_failed")
    page.get_by_label("Event").fill(DEAD)
    page.get_by_role("button", name="Filter").click()
    line = page.get_by_role("row").filter(has_text=DEAD)
    expect(page.get_by_test_id("webhooks").get_by_role("row")).to_have_count(2)
    expect(line).to_contain_text("Dead")
    expect(line).to_contain_text("KeyError, see req_planted")
    line.get_by_role("link", name="invoice.payment_failed").click()
    page.wait_for_url(f"**/webhooks/platform/{DEAD}**")
    page.get_by_test_id("replay").click()
    form = page.get_by_test_id("replay-form")
    form.get_by_label("Reason", exact=True).fill(REASON)
    form.get_by_role("button", name="Replay").click()
    olga.expect_text("Webhook queued again.")
    # The page follows by itself: the worker finds that nobody has this customer.
    expect(page.get_by_text("Parked", exact=True)).to_be_visible(timeout=15_000)
    page.goto(f"{ADMIN}/audit")
    page.get_by_role("tab", name="Operators").click()
    expect(page.get_by_test_id("events")).to_contain_text(f"replayed the webhook {DEAD}")


def test_effects_of_a_webhook_are_shown_for_a_reason(new_visitor: type[NewVisitor], globex: str) -> None:
    olga = open_as_operator(new_visitor)
    page = olga.page
    page.goto(f"{ADMIN}/webhooks/platform/{DONE}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("customer.subscription.updated")
    expect(page.get_by_test_id("payload")).to_have_count(0)
    give_reason(page)
    effects = page.get_by_test_id("effects")
    expect(effects).to_contain_text("Access updated")
    expect(effects.locator("dl")).to_contain_text("active")
    expect(effects.locator("dl")).to_contain_text("grace")
    page.goto(f"{ADMIN}/tenants/{globex}?tab=audit")
    give_reason(page)
    expect(page.get_by_test_id("events")).to_contain_text(REASON)


def test_adjustment_requires_code_reason_and_tenant_name(new_visitor: type[NewVisitor], globex: str) -> None:
    olga = open_as_operator(new_visitor)
    page = olga.page
    page.goto(f"{ADMIN}/tenants/{globex}?tab=billing")
    give_reason(page)
    page.get_by_test_id("adjust").click()
    form = page.get_by_test_id("adjust-form")
    form.get_by_label("Amount").fill("12.50")
    form.get_by_label("Reason code").select_option("goodwill")
    form.get_by_label("Reason", exact=True).fill(REASON)
    form.get_by_label("confirm").fill("Glob")
    form.get_by_role("button", name="Adjust").click()
    olga.expect_text("That doesn’t match.")
    form.get_by_label("confirm").fill("Globex")
    form.get_by_role("button", name="Adjust").click()
    olga.expect_text("Credit of $12.50 submitted to Stripe.")
    listed = page.get_by_test_id("adjustments")
    expect(listed).to_contain_text("Credit of $12.50")
    expect(listed).to_contain_text(REASON)


def test_webhook_pages_are_read_only_for_support(new_visitor: type[NewVisitor], globex: str) -> None:
    sam = open_as_operator(new_visitor, email="sam@bulkhead.test")
    page = sam.page
    page.goto(f"{ADMIN}/webhooks")
    page.get_by_role("tab", name="Dead letters").click()
    control = page.get_by_role("button", name="Replay")
    expect(control).to_have_attribute("aria-disabled", "true")
    page.goto(f"{ADMIN}/tenants/{globex}?tab=billing")
    give_reason(page)
    for name in ("Adjust", "Compare now"):
        expect(page.get_by_role("button", name=name)).to_have_attribute("aria-disabled", "true")
    page.goto(f"{ADMIN}/drift")
    expect(page.get_by_test_id("drift")).to_contain_text("Globex")
    expect(page.get_by_role("button", name="Compare all now")).to_have_attribute("aria-disabled", "true")
