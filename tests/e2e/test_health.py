"""An operator sees one flag's cohort fail while the platform is healthy, and opens the runbook of the alert."""

from playwright.sync_api import expect

from tests.e2e.conftest import ADMIN, NewVisitor, connect_to_database
from tests.e2e.looks import list_problems

ADD_TRAFFIC = """
    insert into traffic_minute (minute, dimension, value, requests, errors, total_ms, latency)
    select date_trunc('minute', now()) - n * interval '1 minute', dimension, value, requests, errors, 1000, '{0,0,9,0,0,0,0,0}'
    from generate_series(1, 50) n, (values ('all', '', 400, 4), ('kind', 'event', 400, 4), ('flag', 'beta_reports', 20, 4))
        as counted(dimension, value, requests, errors)
    on conflict do nothing
"""


def test_operator_sees_a_failing_cohort_and_opens_its_runbook(new_visitor: type[NewVisitor]) -> None:
    with connect_to_database() as connection:
        connection.execute(ADD_TRAFFIC)
    olga = new_visitor()
    olga.platform.run_now("shared.backoffice.alerts.evaluation", "evaluate_in_turn")
    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/health")
    alert = olga.page.get_by_test_id("alert").filter(has_text="beta_reports")
    expect(alert).to_contain_text("The cohort of a flag fails")
    expect(alert).to_contain_text("requests failed (20.0%)")
    # All requests together are healthy.
    expect(olga.page.get_by_test_id("alerts")).not_to_contain_text("Requests fail")
    expect(olga.page.get_by_test_id("flags")).to_contain_text("Failing")
    expect(olga.page.get_by_test_id("lanes")).to_contain_text("Payment provider")
    assert list_problems(olga, "operator-health") == []
    alert.get_by_role("link", name="Runbook").click()
    expect(olga.page.get_by_role("heading", name="The cohort of a flag fails")).to_be_visible()
    expect(olga.page.get_by_role("region", name="Fix")).to_contain_text("Kill the flag.")
    assert list_problems(olga, "operator-runbook") == []
