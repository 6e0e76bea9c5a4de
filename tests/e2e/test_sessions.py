"""Ended sessions close on other devices and in open pages within seconds."""

import re
import time

from playwright.sync_api import expect

from tests.e2e.conftest import ADMIN, PASSWORD, TENANT, NewVisitor, connect_to_database
from tests.e2e.looks import PHONE

WITHIN = 5.0  # seconds from revoking to the sign-in page


def test_open_page_of_a_revoked_session_returns_to_sign_in(
    new_visitor: type[NewVisitor],
) -> None:
    desk, phone = new_visitor(), new_visitor(PHONE)
    home = desk.create_organisation("Ann Devices", "ann@devices.test", "Devices")
    phone.sign_in("ann@devices.test", PASSWORD)
    phone.page.goto(f"{home}/members")
    expect(phone.page.get_by_role("table", name="Members")).to_contain_text("Ann Devices")

    desk.page.goto(f"{TENANT}/account")
    expect(desk.page.get_by_test_id("devices").get_by_role("listitem")).to_have_count(2)
    desk.take_picture("account")
    began = time.monotonic()
    desk.page.get_by_role("button", name="Sign out all other devices").click()
    phone.page.wait_for_url("**/sign-in**", timeout=WITHIN * 1000)
    assert time.monotonic() - began < WITHIN
    # The one who did it stays.
    desk.page.goto(f"{home}/members")
    expect(desk.page.get_by_role("table", name="Members")).to_contain_text("Ann Devices")


def test_sign_out_ends_the_other_tabs(new_visitor: type[NewVisitor]) -> None:
    max_ = new_visitor()
    max_.sign_in("max@acme.test")
    max_.page.wait_for_url("**/home**")
    other = max_.open_tab()
    other.goto(f"{TENANT}/t/acme/members")
    expect(other.get_by_role("table", name="Members")).to_contain_text("Max Brandt")
    max_.page.get_by_test_id("account-menu").first.click()
    max_.page.get_by_role("menuitem", name="Sign out").click()
    max_.page.wait_for_url("**/sign-in**")
    other.wait_for_url("**/sign-in**", timeout=WITHIN * 1000)


def test_second_factor_from_enrolment_to_a_recovery_code(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    home = ann.create_organisation("Ann Factor", "ann@factor.test", "Factor")
    ann.page.goto(f"{TENANT}/account")
    form = ann.page.get_by_test_id("factor")
    form.get_by_label("Current password").fill(PASSWORD)
    form.get_by_role("button", name="Set up").click()
    ann.page.wait_for_url("**/account/factor")
    ann.take_picture("factor")
    ann.page.fill("input[name=code]", ann.platform.run_command("dev", "totp", "ann@factor.test"))
    ann.page.locator("main form button[type=submit]").first.click()
    codes = ann.page.locator(".codes li").all_inner_texts()
    assert len(codes) == 10
    ann.take_picture("recovery-codes")

    again = new_visitor()
    again.sign_in("ann@factor.test", PASSWORD)
    again.page.wait_for_url("**/mfa**")
    again.page.fill("input[name=code]", codes[0])
    again.page.click("button[type=submit]")
    again.page.goto(f"{home}/home")
    expect(again.page.get_by_role("heading", level=1)).to_be_visible()

    thief = new_visitor()
    thief.sign_in("ann@factor.test", PASSWORD)
    thief.page.wait_for_url("**/mfa**")
    thief.page.fill("input[name=code]", codes[0])
    thief.page.click("button[type=submit]")
    thief.expect_text("Incorrect or already used code.")


def test_too_many_wrong_codes_lead_back_to_the_password(new_visitor: type[NewVisitor]) -> None:
    somebody = new_visitor()
    somebody.sign_in("sam@bulkhead.test", app=f"{somebody.platform.admin}")
    for _ in range(5):
        somebody.page.fill("input[name=code]", "000000")
        somebody.page.click("button[type=submit]")
        somebody.page.wait_for_load_state()
    somebody.page.wait_for_url("**/sign-in?notice=again")
    somebody.expect_text("had too many wrong codes")
    somebody.take_picture("too-many-codes")


REMOVED = "Two-step sign-in was removed"


def test_lost_second_factor_is_removed_after_its_time_or_kept_by_the_link(
    new_visitor: type[NewVisitor],
) -> None:
    ann, lost, olga = new_visitor(), new_visitor(), new_visitor()
    ann.create_organisation("Ann Factorless", "ann@factorless.test", "Factorless")
    ann.page.goto(f"{TENANT}/account")
    form = ann.page.get_by_test_id("factor")
    form.get_by_label("Current password").fill(PASSWORD)
    form.get_by_role("button", name="Set up").click()
    ann.page.wait_for_url("**/account/factor")
    ann.page.fill("input[name=code]", ann.platform.make_factor_code("ann@factorless.test", "user"))
    ann.page.locator("main form button[type=submit]").first.click()

    def ask() -> None:
        lost.sign_in("ann@factorless.test", PASSWORD)
        lost.page.wait_for_url("**/mfa**")
        lost.page.get_by_role("link", name="Lost your device and your recovery codes?").click()
        lost.page.get_by_role("button", name="Ask support to remove it").click()
        lost.expect_text("We asked support to remove your second factor")

    def approve() -> None:
        olga.page.goto(f"{ADMIN}/recovery")
        olga.page.get_by_role("button", name="Start the reset for Ann Factorless").click()
        dialog = olga.page.get_by_role("dialog")
        dialog.get_by_label("Reason", exact=True).fill("Spoke on the phone, ticket 4471")
        olga.take_picture("recovery")
        dialog.get_by_role("button", name="Start waiting time").click()
        expect(olga.page.get_by_role("row", name=re.compile("ann@factorless.test"))).to_contain_text(
            "Waiting time"
        )

    ask()
    lost.take_picture("lost-factor")
    olga.sign_in_as_operator("olga@bulkhead.test")
    approve()
    ann.page.goto(f"{TENANT}/account")  # a session of hers shows it
    expect(ann.page.get_by_test_id("factor-reset")).to_be_visible()
    ann.take_picture("factor-reset")
    link = ann.platform.wait_for_link("ann@factorless.test", "/factor-reset")
    ann.page.goto(link)
    ann.page.get_by_role("button", name="Keep two-step sign-in").click()
    ann.expect_text("Two-step sign-in stays on.")

    ask()
    approve()
    with connect_to_database() as connection:
        connection.execute("update factor_reset set due_at = now() where completed_at is null")
        connection.execute(
            "update procrastinate_jobs set scheduled_at = now() where task_name = 'platform.complete_factor_reset'"
        )
    until = time.monotonic() + 30
    while REMOVED not in [mail["subject"] for mail in ann.platform.list_mails("ann@factorless.test")]:
        assert time.monotonic() < until, "the factor was not removed"
        time.sleep(0.2)
    ann.page.goto(f"{TENANT}/account")
    ann.page.wait_for_url("**/sign-in**")  # signed out everywhere
    lost.sign_in("ann@factorless.test", PASSWORD)
    lost.page.wait_for_url("**/home**")
