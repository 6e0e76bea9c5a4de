"""Explanations for operators: from a refusal to the layer that refused, and to its cause."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from playwright.sync_api import Page, expect

from tests.e2e.conftest import ADMIN, TENANT, NewVisitor
from tests.e2e.looks import LIGHT, PHONE, list_problems

REASON = "Ticket 4480, needs the list for an audit"
LOCAL = "%Y-%m-%dT%H:%M"  # as a browser writes it; ours is in UTC


def open_question(olga: NewVisitor, tenant: str) -> Page:
    """The page of questions, at this tenant."""
    olga.page.goto(f"{ADMIN}/access")
    olga.page.get_by_role("searchbox", name=re.compile("Search by tenant")).fill(tenant)
    olga.page.get_by_test_id("tenants").get_by_role("link", name=tenant, exact=True).click()
    expect(olga.page.get_by_test_id("question")).to_be_visible()
    return olga.page


def ask(page: Page, person: str, action: str, plan: str = "") -> None:
    page.get_by_label("Person").select_option(
        label=next(option for option in list_options(page, "person") if person in option)
    )
    page.get_by_label("Action").select_option(action)
    if plan:
        page.get_by_label("Simulate plan").select_option(plan)
    page.get_by_test_id("ask").click()


def list_options(page: Page, id: str) -> list[str]:
    return [text.strip() for text in page.locator(f"#{id} option").all_text_contents()]


def open_rights(page: Page, tenant: str) -> None:
    page.goto(f"{ADMIN}/tenants")
    page.get_by_role("table").get_by_role("link", name=tenant, exact=True).click()
    expect(page.get_by_role("heading", level=1, name=tenant)).to_be_visible()
    page.get_by_role("tab", name="Rights").click()
    expect(page.get_by_test_id("features")).to_be_visible()


def test_refusal_leads_to_the_layer_that_refused(new_visitor: type[NewVisitor]) -> None:
    max_, olga = new_visitor(), new_visitor()
    max_.sign_in_as("max@acme.test")
    max_.page.goto(f"{TENANT}/t/acme/audit")
    max_.expect_text("You don’t have permission to view the audit log.")

    olga.sign_in_as_operator("olga@bulkhead.test")
    page = open_question(olga, "Acme")
    line = page.get_by_test_id("refusals").get_by_role("row").filter(has_text="View the audit log").first
    expect(line).to_contain_text("Max Brandt")
    olga.take_picture("operator-why-refusals")
    line.get_by_role("link", name=re.compile("Why")).click()
    answer = page.get_by_test_id("answer")
    expect(answer.get_by_test_id("verdict")).to_contain_text(
        "You don’t have permission to view the audit log."
    )
    expect(answer.locator("[data-decides=true]")).to_contain_text("Member doesn’t include audit:read.")
    expect(page).to_have_url(re.compile("at=20"))
    expect(page.get_by_label("Action")).to_have_value("audit:read")

    ask(page, "Ann Keller", "audit:export")
    expect(answer.get_by_test_id("verdict")).to_contain_text("Allowed")
    ask(page, "Ann Keller", "audit:export", "free")
    expect(answer.get_by_test_id("verdict")).to_contain_text("Free doesn’t include CSV export.")
    expect(answer.locator("[data-decides=true]")).to_contain_text("Does the plan include it?")


def test_access_change_is_named_as_the_cause(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    open_rights(page, "Globex")
    export = page.get_by_test_id("features").get_by_role("row").filter(has_text="CSV export")
    expect(export).to_contain_text("No")
    began = datetime.now(UTC)
    page.get_by_test_id("override-feature").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Feature").select_option("exports.csv")
    dialog.get_by_label("Until").fill("2020-01-01T10:00")
    dialog.get_by_label("Reason", exact=True).fill(REASON)
    dialog.get_by_role("button", name="Override").click()
    olga.expect_text("Until must be in the future.")
    dialog.get_by_label("Until").fill((began + timedelta(days=1)).strftime(LOCAL))
    olga.take_picture("operator-override")
    dialog.get_by_role("button", name="Override").click()
    expect(export).to_contain_text("Yes")
    expect(page.get_by_test_id("overrides")).to_contain_text(REASON)

    export.get_by_role("link", name=re.compile("Why")).click()
    answer = page.get_by_test_id("answer")
    expect(answer.get_by_test_id("verdict")).to_contain_text("Allowed")
    page.get_by_role("button", name="Compare two times").click()
    page.get_by_label("Compared with").fill(began.strftime(LOCAL))
    page.get_by_label("Time", exact=True).fill("")
    page.get_by_test_id("ask").click()
    changed = page.get_by_test_id("changed")
    # A minute is all that the control knows, and the tenant may be younger than that.
    expect(changed.or_(page.get_by_text("didn’t exist yet"))).to_be_visible()

    asked = dict(part.split("=") for part in page.url.partition("?")[2].split("&"))
    exact = {**asked, "before": began.isoformat(), "at": ""}
    page.goto(f"{ADMIN}/access?{urlencode(exact)}".replace("%253A", "%3A"))
    expect(changed).to_contain_text("CSV export was set to on.")
    expect(changed).to_contain_text(f"Reason: {REASON}")
    olga.take_picture("operator-why-compared")
    page.get_by_text("Both answers, layer by layer").click()
    expect(page.get_by_role("list", name="Why, layer by layer")).to_have_count(2)
    changed.get_by_role("link", name="Audit log").first.click()
    page.get_by_test_id("reason-form").get_by_label("Reason", exact=True).fill("Ticket 4480, who did that")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.get_by_test_id("events")).to_contain_text("override.set")
    expect(page.get_by_test_id("events")).not_to_contain_text("plan.assigned")
    page.get_by_role("button", name="Clear filters").click()
    expect(page.get_by_test_id("events")).to_contain_text("plan.assigned")

    open_rights(page, "Globex")
    page.get_by_test_id("overrides").get_by_role("button", name="End now").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason", exact=True).fill("They have it")
    dialog.get_by_role("button", name="End now").click()
    expect(export).to_contain_text("No")


def test_access_tab_is_read_only_for_support(new_visitor: type[NewVisitor]) -> None:
    sam = new_visitor()
    sam.sign_in_as_operator("sam@bulkhead.test")
    open_rights(sam.page, "Acme")
    refused = sam.page.get_by_role("button", name="Change plan")
    expect(refused).to_have_attribute("aria-disabled", "true")
    sam.take_picture("operator-rights-support")


def test_unanswerable_explanation_link_shows_the_problem(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    for query, message in {
        "tenant=nonsense": "contains no valid tenant",
        "tenant=ten_nobody&action=member:invite": "This tenant doesn’t exist.",
        "action=member:fly": "an unknown action",
        "at=yesterday": "isn’t a date with a time",
        "plan=" + "x" * 500: "too long",
    }.items():
        olga.page.goto(f"{ADMIN}/access?{query}")
        olga.expect_text(re.compile(re.escape(message)))
        expect(olga.page.get_by_role("searchbox", name=re.compile("Search by tenant"))).to_be_visible()


def test_access_pages_are_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor(PHONE)
    olga.sign_in_as_operator("olga@bulkhead.test")
    page, problems = olga.page, list[str]()

    def check(name: str) -> None:
        problems.extend(list_problems(olga, name, screen=False, whole_suffix=""))

    page.goto(f"{ADMIN}/access")
    expect(page.get_by_test_id("tenants")).to_be_visible()
    check("operator-why-tenants")
    open_question(olga, "Globex")
    ask(page, "Gil Marchetti", "role:create")
    expect(page.get_by_test_id("verdict")).to_contain_text("Starter doesn’t include Custom roles.")
    check("operator-why")
    page.goto(f"{ADMIN}/tenants")
    page.get_by_role("link", name="Initech", exact=True).click()
    expect(page.get_by_role("heading", level=1, name="Initech")).to_be_visible()
    page.get_by_role("tab", name="Rights").click()
    expect(page.get_by_test_id("limits")).to_be_visible()
    check("operator-rights")
    page.get_by_test_id("override-limit").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    check("operator-override-limit")
    assert problems == []


def test_decision_id_of_a_refusal_leads_to_its_explanation_in_both_apps(
    new_visitor: type[NewVisitor],
) -> None:
    max_, ann, olga = new_visitor(PHONE), new_visitor(), new_visitor()
    max_.sign_in_as("max@acme.test")
    max_.page.goto(f"{TENANT}/t/acme/access")
    reference = max_.page.get_by_test_id("decision-reference")
    expect(reference).to_contain_text(re.compile(r"Decision dcn_\w+ · Reference req_\w+"))
    max_.take_picture("refusal-with-decision-phone")
    decision_id, request_id = re.findall(r"(?:dcn|req)_\w+", reference.inner_text())

    ann.sign_in_as("ann@acme.test")
    ann.page.goto(f"{TENANT}/t/acme/decisions")
    ann.page.get_by_label("Decision or reference").fill(decision_id)
    ann.page.get_by_role("button", name="Find").click()
    decision = ann.page.get_by_test_id("decision")
    expect(decision).to_contain_text(request_id)
    expect(decision.get_by_test_id("verdict")).to_contain_text(
        "You don’t have permission to view plan and usage."
    )
    expect(decision.locator("[data-decides=true]")).to_contain_text("Member doesn’t include access:read.")
    assert list_problems(ann, "why-decision", judged=(LIGHT, PHONE)) == []

    olga.sign_in_as_operator("olga@bulkhead.test")
    page = open_question(olga, "Acme")
    page.get_by_role("searchbox", name=re.compile("Find a decision")).fill(decision_id)
    line = page.get_by_test_id("refusals").get_by_role("row").filter(has_text="View plan and usage")
    why = line.get_by_role("link", name=re.compile("Why"))
    expect(why).to_have_attribute("href", re.compile(f"decision={decision_id}"))
    why.click()
    expect(page.get_by_test_id("decision")).to_contain_text(decision_id)
    olga.take_picture("operator-why-decision")
