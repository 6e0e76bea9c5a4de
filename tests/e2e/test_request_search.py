"""An operator finds what happened by the reference that a person was shown and copied."""

import re
import time

from playwright.sync_api import expect

from shared.core import trace_ids
from tests.e2e.conftest import ADMIN, TENANT, NewVisitor, Platform, connect_to_database
from tests.e2e.looks import list_problems

ADD_BUG = """
    select record_bugs(array[%s], array[now()], array[%s], 'tenant app', array['KeyError'],
        array['tenant_app/pages/home.py:1 in load'])
"""


def expect_in_log_and_traces(platform: Platform, request_id: str) -> None:
    """Both are written within seconds."""
    assert platform.collector is not None
    lines, trace_id, until = list[str](), trace_ids.derive(request_id), time.monotonic() + 20
    while time.monotonic() < until:
        lines = [line for line in platform.read_logs().splitlines() if request_id in line]
        if lines and any(span.trace_id == trace_id for span in platform.collector.spans):
            return
        time.sleep(0.2)
    raise AssertionError(f"log lines {lines}, and no span of the trace {trace_id}")


def test_copied_reference_finds_decision_error_log_line_and_trace(new_visitor: type[NewVisitor]) -> None:
    max_, olga = new_visitor(), new_visitor()
    max_.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=TENANT)
    max_.sign_in_as("max@acme.test")
    max_.page.goto(f"{TENANT}/t/acme/billing")
    max_.page.get_by_role("button", name="Copy reference").click()
    request_id = str(max_.page.evaluate("navigator.clipboard.readText()"))
    assert re.fullmatch(r"req_\w+", request_id)
    with connect_to_database() as connection:
        connection.execute(ADD_BUG, [f"bug_{request_id[4:]}", request_id])

    olga.sign_in_as_operator("olga@bulkhead.test")
    olga.page.goto(f"{ADMIN}/audit")
    olga.page.fill("input[name=reason]", "ticket 4471")
    olga.page.get_by_role("button", name="Read across tenants").click()
    form = olga.page.get_by_test_id("audit-filter")
    form.get_by_label("Request").fill(request_id)
    form.get_by_role("button", name="Filter", exact=True).click()
    findings = olga.page.get_by_test_id("findings")
    expect(findings).to_contain_text("Refused to view billing")
    expect(findings).to_contain_text("Unexpected error")
    expect(findings).to_contain_text("KeyError in the tenant app · tenant_app/pages/home.py:1 in load")
    expect(olga.page.get_by_text(trace_ids.derive(request_id))).to_be_visible()
    expect_in_log_and_traces(olga.platform, request_id)
    assert list_problems(olga, "operator-request") == []
    form.get_by_label("Request").fill("req_unknown")
    form.get_by_role("button", name="Filter", exact=True).click()
    olga.expect_text("Nothing else has this reference")
