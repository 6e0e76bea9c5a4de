"""An operator finds an unexpected error by the reference that a person was shown."""

from playwright.sync_api import expect

from tests.e2e.conftest import ADMIN, NewVisitor, connect_to_database
from tests.e2e.looks import list_problems

REFERENCE = "req_of_a_broken_page"


def test_operator_finds_an_error_by_its_reference(new_visitor: type[NewVisitor]) -> None:
    with connect_to_database() as connection:
        connection.execute(
            "select record_bugs(array['bug_of_a_broken_page'], array[now()], array[%s], 'tenant app', array['KeyError'],"
            " array['tenant_app/pages/home.py:1 in load'])",
            [REFERENCE],
        )
    olga = new_visitor()
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/audit")
    olga.page.fill("input[name=reason]", "ticket 4471")
    olga.page.get_by_role("button", name="Read across tenants").click()
    form = olga.page.get_by_test_id("audit-filter")
    form.get_by_label("Request").fill(REFERENCE)
    form.get_by_role("button", name="Filter", exact=True).click()
    findings = olga.page.get_by_test_id("findings")
    expect(findings).to_contain_text("Unexpected error")
    expect(findings).to_contain_text("KeyError in the tenant app · tenant_app/pages/home.py:1 in load")
    assert list_problems(olga, "operator-request") == []
    form.get_by_label("Request").fill("req_unknown")
    form.get_by_role("button", name="Filter", exact=True).click()
    olga.expect_text("Nothing else has this reference")
