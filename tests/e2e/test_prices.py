"""The price list: a new price beside the current one, in every look."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import ADMIN, NewVisitor
from tests.e2e.looks import PHONE, judge_page, list_problems


def open_prices(page: Page) -> None:
    page.goto(f"{ADMIN}/prices")
    expect(page.get_by_role("table", name="Prices of Starter")).to_contain_text("$29.00")


def test_price_list_is_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor(PHONE)
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    open_prices(page)
    problems = list_problems(olga, "prices", whole_suffix="-full")
    page.get_by_role("button", name="Set price of Pro").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Price type")).to_be_focused()
    problems += list_problems(olga, "prices-set")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert problems == []


def test_scheduled_price_is_shown_beside_the_current_one(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    open_prices(page)
    other = olga.open_tab()
    open_prices(other)
    page.bring_to_front()
    page.get_by_role("button", name="Set price of Priority support").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Price", exact=True).fill("a lot")
    dialog.get_by_label("Reason", exact=True).fill("More people answer at night")
    dialog.get_by_role("button", name="Set price").click()
    olga.expect_text("isn’t an amount in USD")
    dialog.get_by_label("Price", exact=True).fill("169.00")
    dialog.get_by_label("In force from").fill("2030-01-01T00:00")
    dialog.get_by_role("button", name="Set price").click()
    olga.expect_text("Current subscriptions change at their next renewal")
    table = page.get_by_role("table", name="Prices of Priority support")
    for text in ("$149.00", "$169.00", "Scheduled", "More people answer at night"):
        expect(table).to_contain_text(text)
    olga.take_picture("prices-coming")
    assert judge_page(olga.page, "prices-coming") == []
    other.bring_to_front()
    expect(other.get_by_role("table", name="Prices of Priority support")).to_contain_text(
        "$169.00"
    )  # by itself
    page.goto(f"{ADMIN}/audit")
    page.get_by_role("tab", name="Operators").click()
    line = page.get_by_role("listitem").filter(has_text="set a price of Priority support").first
    expect(line).to_contain_text("More people answer at night")
    expect(line).to_contain_text("$169.00")


def test_prices_are_pushed_and_compared(new_visitor: type[NewVisitor]) -> None:
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    page = olga.page
    open_prices(page)
    page.get_by_role("button", name="Push now").click()
    expect(page.get_by_text("Pushed ").first).to_be_visible(timeout=30_000)
    expect(page.get_by_role("table", name="Prices of Business")).not_to_contain_text("Not pushed")
    page.get_by_role("button", name="Compare now").click()
    expect(page.get_by_text("No differences").first).to_be_visible(timeout=30_000)
    olga.take_picture("prices-pushed")
    assert judge_page(olga.page, "prices-pushed") == []


def test_prices_are_read_only_for_support(new_visitor: type[NewVisitor]) -> None:
    sam = new_visitor()
    sam.sign_in_as_operator("sam@bulkhead.test")
    open_prices(sam.page)
    expect(sam.page.get_by_role("button", name="Push now")).to_have_attribute("aria-disabled", "true")
    expect(sam.page.get_by_role("button", name="Set price of Starter")).to_have_count(0)
