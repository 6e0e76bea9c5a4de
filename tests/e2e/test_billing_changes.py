"""A smaller plan at the end of the period, and a pause, in a browser with the stand-in's clock."""

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.e2e.conftest import NewVisitor
from tests.e2e.looks import DARK, PHONE, list_problems, put_on
from tests.e2e.test_billing import PAYS, SOON, Till, get_fact, open_billing, pay


def subscribe(person: NewVisitor, home: str, till: Till, plan: str) -> Page:
    """Paid for one period, after the trial."""
    page = open_billing(person, home)
    page.get_by_role("button", name=f"Try {plan} for 14 days").click()
    page.get_by_test_id("order-form").get_by_role("button", name="Continue to payment").click()
    pay(page, PAYS, re.compile("^Start trial$"))
    expect(page.get_by_text(f"{plan} is active.")).to_be_visible(timeout=SOON)
    till.pull("renew")
    expect(get_fact(page, "Next invoice")).to_be_visible(timeout=SOON)
    return page


def open_change(page: Page, plan: str) -> Any:
    page.get_by_role("button", name=f"Change to {plan}").click()
    change = page.get_by_test_id("change-form")
    expect(change.get_by_test_id("timing")).to_be_visible(timeout=SOON)
    return change


def test_smaller_plan_is_scheduled_taken_back_and_begins_with_the_next_period(
    new_visitor: type[NewVisitor],
) -> None:
    rut = new_visitor()
    home = rut.create_organisation("Rut Berg", "rut@slip.test", "Slip")
    till = Till.of("rut@slip.test")
    page = subscribe(rut, home, till, "Business")
    problems: list[str] = []
    for is_kept in (True, False):
        change = open_change(page, "Pro")
        expect(page.get_by_role("dialog")).to_contain_text(
            "You keep what you have paid for until the period ends", timeout=SOON
        )
        expect(change).to_contain_text("$20.00 a month")
        if is_kept:
            change.get_by_label("Now", exact=True).click()
            expect(change.get_by_test_id("sum")).to_contain_text("Credited on the next invoice", timeout=SOON)
            change.get_by_label(re.compile("^On ")).click()
            expect(change.get_by_test_id("sum")).to_have_count(0, timeout=SOON)
            problems += list_problems(rut, "billing-schedule")
        change.get_by_role("button", name="Change to Pro").click()
        expect(change).to_have_count(0, timeout=SOON)
        expect(page.get_by_text("Changes to Pro on")).to_be_visible(timeout=SOON)
        expect(get_fact(page, "Plan")).to_contain_text("Business")
        expect(get_fact(page, "Next invoice")).to_contain_text("$20.00")
        if is_kept:
            put_on(page, PHONE)
            problems += list_problems(rut, "billing-scheduled")
            page.get_by_test_id("keep-plan").click()
            expect(page.get_by_text("Changes to Pro on")).to_have_count(0, timeout=SOON)
            expect(get_fact(page, "Next invoice")).to_contain_text("$214.00")
    till.pull("renew")
    expect(get_fact(page, "Plan")).to_contain_text("Pro", timeout=SOON)
    expect(page.get_by_text("Changes to Pro on")).to_have_count(0)
    expect(page.get_by_test_id("invoices")).to_contain_text("$20.00")
    assert problems == []


def test_subscription_is_paused_and_resumed(new_visitor: type[NewVisitor]) -> None:
    ivo = new_visitor()
    home = ivo.create_organisation("Ivo Dahl", "ivo@pier.test", "Pier")
    till = Till.of("ivo@pier.test")
    page = subscribe(ivo, home, till, "Pro")
    page.get_by_test_id("pause").click()
    pausing = page.get_by_test_id("pause-form")
    expect(pausing.get_by_test_id("sum")).to_contain_text("Credited when you resume", timeout=SOON)
    expect(page.get_by_role("dialog")).to_contain_text("Your organisation becomes read-only now")
    problems = list_problems(ivo, "billing-pause")
    pausing.get_by_role("button", name="Pause subscription").click()
    expect(page.get_by_text("The subscription was paused on request.")).to_be_visible(timeout=SOON)
    assert ivo.platform.wait_for_link("ivo@pier.test", "/billing")
    put_on(page, DARK)
    problems += list_problems(ivo, "billing-paused")
    page.get_by_test_id("resume-paused").click()
    resuming = page.get_by_test_id("resume-form")
    expect(resuming.get_by_test_id("sum")).to_contain_text("Due today", timeout=SOON)
    resuming.get_by_role("button", name="Resume subscription").click()
    expect(page.get_by_text("The subscription was paused on request.")).to_have_count(0, timeout=SOON)
    # What is due below the smallest charge is carried over.
    expect(get_fact(page, "Next invoice")).to_contain_text("$20.0", timeout=SOON)
    assert problems == []
