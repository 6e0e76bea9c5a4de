"""No browser reports a violation of our policies on the main pages, and an inline script that is not ours is refused."""

from playwright.sync_api import Page, expect

from tests.e2e.conftest import ADMIN, TENANT, NewVisitor

NOTE_VIOLATIONS = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation", event =>
        window.violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""
MEMBER_PAGES = ("home", "members", "roles", "settings", "billing", "audit", "notifications")
OPERATOR_PAGES = ("", "tenants", "flags", "catalog", "prices", "webhooks", "jobs", "operators", "audit")


def list_violations(page: Page, address: str) -> list[str]:
    """After the page is drawn, its socket has answered, and a menu was opened."""
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_test_id("account-menu").first.click()
    expect(page.get_by_role("menuitem", name="Sign out")).to_be_visible()
    return [f"{address}: {violation}" for violation in page.evaluate("window.violations")]


def test_no_page_violates_its_policy(new_visitor: type[NewVisitor]) -> None:
    ann, olga = new_visitor(), new_visitor()
    for person in (ann, olga):
        person.page.add_init_script(NOTE_VIOLATIONS)
    ann.sign_in_as("ann@acme.test")
    olga.sign_in_as_operator("olga@bulkhead.test")
    addresses = [(ann, f"{TENANT}/t/acme/{name}") for name in MEMBER_PAGES]
    addresses += [(olga, f"{ADMIN}/{name}") for name in OPERATOR_PAGES]
    assert [each for person, address in addresses for each in list_violations(person.page, address)] == []


def test_inline_script_that_is_not_ours_is_refused(new_visitor: type[NewVisitor]) -> None:
    """The control: violations are noticed."""
    ann = new_visitor()
    ann.page.add_init_script(NOTE_VIOLATIONS)
    ann.sign_in_as("ann@acme.test")
    ann.page.goto(f"{TENANT}/t/acme/home")
    expect(ann.page.get_by_role("heading", level=1)).to_be_visible()
    ann.page.evaluate(
        "() => { const script = document.createElement('script'); script.textContent = 'window.ran = true';"
        " document.head.append(script) }"
    )
    assert ann.page.evaluate("window.ran") is None
    assert any(each.startswith("script-src-elem inline") for each in ann.page.evaluate("window.violations"))
