"""The deletion of an organisation through its pages: scheduled, undone, scheduled again, and nobody enters afterwards."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import ADMIN, NewVisitor, connect_to_database
from tests.e2e.looks import list_problems

END_GRACE_PERIOD = """
    update tenant_deletion set delete_at = now() - interval '1 second' where canceled_at is null and tenant_id = (
        select id from tenant where slug = %s) returning tenant_id
"""


def schedule_deletion(page: Page) -> None:
    page.get_by_test_id("delete-organisation").click()
    form = page.get_by_test_id("delete_organisation-form")
    form.get_by_label("Reason").fill("We moved to another organisation")
    form.get_by_label("confirm").fill("Skerry")
    form.get_by_role("button", name="Delete organisation").click()
    expect(page.get_by_test_id("deletion")).to_contain_text("Will be deleted on")


def test_deletion_is_undone_and_after_its_grace_period_nobody_enters(new_visitor: type[NewVisitor]) -> None:
    kim, olga = new_visitor(), new_visitor()
    home = kim.create_organisation("Kim Aas", "kim@skerry.test", "Skerry")
    page = kim.page
    page.goto(f"{home}/settings")
    schedule_deletion(page)
    expect(page.locator(".banner")).to_contain_text("This organisation will be deleted on")
    problems = list_problems(kim, "settings-deletion")
    page.get_by_test_id("cancel-deletion").click()
    expect(page.get_by_test_id("deletion")).to_have_count(0)
    expect(page.locator(".banner")).to_have_count(0)
    schedule_deletion(page)
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/")
    expect(olga.page.get_by_test_id("deletions")).to_contain_text("Skerry")

    with connect_to_database() as connection:
        (tenant_id,) = connection.execute(END_GRACE_PERIOD, [home.rpartition("/")[2]]).fetchone() or ("",)
    kim.platform.run_now("shared.offboarding.rounds", "delete_due", tenant_id)
    refusal = page.get_by_test_id("refusal")
    expect(refusal).to_contain_text("This organisation has been deleted.")  # without a click
    expect(page.locator(".banner")).to_have_count(0)
    page.goto(f"{home}/members")
    kim.expect_text("This organisation has been deleted.")
    problems += list_problems(kim, "deleted-organisation")
    page.get_by_role("link", name="Your organisations").click()
    expect(page.get_by_label("Name")).to_be_visible()
    olga.page.get_by_test_id("deletions").get_by_role("link", name="Skerry").click()
    expect(olga.page.locator(".banner")).to_contain_text("Its data will be erased.")
    assert problems == []
