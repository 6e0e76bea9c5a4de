"""From the first event of a program to the events behind an invoice line: dashboard, warning, stop, upgrade, bill."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.e2e.conftest import TENANT, NewVisitor, connect_to_database
from tests.e2e.looks import list_problems
from tests.e2e.test_billing import PAYS, SOON, Till, open_billing, pay

EMAIL = "pia@jetty.test"
TRIAL, CLOSED_AGO = timedelta(days=14), timedelta(hours=4)
BILLED = 5_010_000  # 10,000 more than Business includes, at $0.05 for 1,000
# Pro with a limit that stops; nobody is offered it.
ADD_VERSION = """
    insert into plan_version (id, plan_id, number, status, trial_days, features, limits, flags, effective_at, published_at,
        published_by, reason, created_by)
    select 'plv_pro_stops', plan_id, 900, status, trial_days, features,
        jsonb_set(limits, '{usage_events}', '{"amount": 1000, "hard": true}'), flags, '2025-01-01Z', '2025-01-01Z',
        published_by, 'A limit that stops', created_by
    from plan_version where id = 'plv_pro_1'
"""
# A card has one trial, and other tests have paid with it.
FORGET_TRIALS = "delete from trial_claim"
ASSIGN_VERSION = """
    insert into tenant_plan (tenant_id, id, plan_version_id, starts_at, by_name, reason)
    select id, 'tpl_' || substr(id, 5), 'plv_pro_stops', now(), 'Olga Berg', 'A pilot' from tenant where slug = %s
"""


def create_key(person: NewVisitor, home: str) -> str:
    page = person.page
    page.goto(f"{home}/api-keys")
    page.get_by_test_id("create-key").click()
    form = page.get_by_test_id("create-form")
    form.get_by_label("Name").fill("Meter readings")
    for label in ("Send usage", "View usage"):
        form.get_by_role("checkbox", name=re.compile(label)).check()
    form.get_by_role("button", name="Create key").click()
    page.get_by_role("dialog").get_by_role("button", name="Copy secret").click()
    expect(page.get_by_role("dialog").get_by_text("Copied")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def send(secret: str, key: str, quantity: int, *, ago: timedelta = timedelta()) -> dict[str, Any]:
    """The result of the item."""
    item = {
        "meter": "usage_events",
        "idempotency_key": key,
        "quantity": quantity,
        "occurred_at": (datetime.now(UTC) - ago).isoformat(),
    }
    answer = httpx.post(f"{TENANT}/api/v1/usage", headers=authorise(secret), json={"items": [item]})
    result: dict[str, Any] = answer.json()["items"][0]
    return result


def authorise(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def upgrade(page: Page) -> Till:
    """As if the trial had begun two weeks ago, so that what is used from now on is sold."""
    page.get_by_role("button", name=re.compile("^(Try Business|Choose Business)")).click()
    page.get_by_test_id("order-form").get_by_role("button", name="Continue to payment").click()
    page.wait_for_url("**/stripe/c/**")
    till = Till.of(EMAIL, seconds_ago=round((TRIAL + CLOSED_AGO).total_seconds()))
    pay(page, PAYS, re.compile("^(Start trial|Subscribe|Pay)"))
    expect(page.get_by_text("Business is active.")).to_be_visible(timeout=SOON)
    till.pull("renew")  # out of the trial, which ended four hours ago
    return till


def test_usage_is_shown_warned_about_stopped_bought_and_billed(new_visitor: type[NewVisitor]) -> None:
    pia = new_visitor()
    pia.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=TENANT)
    home = pia.create_organisation("Pia Holm", EMAIL, "Jetty")
    with connect_to_database() as connection:
        connection.execute(ADD_VERSION)
        connection.execute(FORGET_TRIALS)
        connection.execute(ASSIGN_VERSION, [home.rpartition("/")[2]])
    secret, page = create_key(pia, home), pia.page
    pia.platform.secrets.add(secret)

    page.goto(f"{home}/usage?meter=usage_events")
    meter = page.get_by_test_id("meter-usage_events")
    expect(meter).to_contain_text("0 of 1,000 events this month")
    assert send(secret, "one", 850)["status"] == "accepted"
    expect(meter).to_contain_text("850 of 1,000 events this month")  # without a click
    assert pia.platform.wait_for_link(EMAIL, "/usage")
    (mail,) = [mail for mail in pia.platform.list_mails(EMAIL) if "80 % of this month" in mail["subject"]]
    assert "850 of 1,000 events are used." in mail["text"]
    stopped = send(secret, "two", 200)
    assert (stopped["status"], stopped["reason"]) == ("rejected", "limit_reached"), stopped
    problems = list_problems(pia, "usage-stopped")

    till = upgrade(open_billing(pia, home))
    until = time.monotonic() + 20
    while send(secret, "two", 200)["status"] != "accepted" and time.monotonic() < until:
        time.sleep(0.3)
    assert send(secret, "two", 200)["status"] == "repeated"
    assert send(secret, "three", BILLED, ago=timedelta(hours=2))["status"] == "accepted"
    expect_reported(pia, home)
    till.pull("renew")
    invoices = page.get_by_test_id("invoices")
    expect(invoices).to_contain_text("$214.50", timeout=SOON)  # $0.50 of it for usage
    invoices.get_by_role("button").first.click()
    usage = page.get_by_test_id("invoice-usage")
    expect(usage).to_contain_text("Usage events: 5,010,000 events billed", timeout=SOON)
    problems += list_problems(pia, "invoice-usage")
    usage.get_by_role("button", name="Export events").click()
    pia.expect_text("The export has started.")
    at = datetime.now(UTC)
    question = {"meter": "usage_events", "since": (at - CLOSED_AGO).isoformat(), "until": at.isoformat()}
    events = httpx.get(f"{TENANT}/api/v1/usage/events", headers=authorise(secret), params=question).json()
    assert {event["idempotency_key"] for event in events["items"]} == {"one", "two", "three"}
    assert problems == []


def expect_reported(person: NewVisitor, home: str) -> None:
    """To the provider, before its invoice is made: once its hour, which has ended, is added up."""
    recorded = """
        select sum(quantity), bool_and(reported_at is not null) from billing_usage
        where tenant_id = (select id from tenant where slug = %s)
    """
    slug = home.rpartition("/")[2]
    with connect_to_database() as connection:
        for _ in range(60):
            quantity, is_reported = connection.execute(recorded, [slug]).fetchone() or (0, False)
            if is_reported:
                assert quantity == BILLED // 1_000
                return
            if quantity:
                person.platform.run_now("shared.billing.usage", "report")
            time.sleep(0.3)
    raise AssertionError("the usage was not reported")
