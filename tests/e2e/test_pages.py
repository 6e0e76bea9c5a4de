"""Every page in light, dark and on a phone, by eye, keyboard and screen reader."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import ADMIN, TENANT, NewVisitor
from tests.e2e.looks import DARK, LIGHT, PHONE, list_problems, open_page

DOORS = {
    "sign-in": f"{TENANT}/sign-in",
    "sign-up": f"{TENANT}/sign-up",
    "forgot": f"{TENANT}/forgot",
    "operator-sign-in": f"{ADMIN}/sign-in",
}
ACME = f"{TENANT}/t/acme"
MEMBERS_PAGES = {
    **{
        name: f"{ACME}/{name}"
        for name in (
            *("home", "members", "roles", "audit", "decisions"),
            *("webhooks", "usage", "settings", "notifications"),
        )
    },
    "audit-streams": f"{ACME}/settings/audit",
    "account": f"{TENANT}/account",
    "organisations": f"{TENANT}/organisations",
    "onboarding-1": f"{TENANT}/onboarding?t=acme",
    "onboarding-2": f"{TENANT}/onboarding?t=acme&step=look",
    "onboarding-3": f"{TENANT}/onboarding?t=acme&step=people",
    "nothing-here": f"{TENANT}/t/initech/home",
}
OPERATORS_PAGES = {
    "operator-overview": f"{ADMIN}/",
    "operator-tenants": f"{ADMIN}/tenants",
    "operator-audit": f"{ADMIN}/audit",
    "operator-chains": f"{ADMIN}/audit?tab=chains",
    "operator-operators-log": f"{ADMIN}/audit?tab=operators",
    "operator-catalog": f"{ADMIN}/catalog",
    "operator-prices": f"{ADMIN}/prices",
    "operator-jobs": f"{ADMIN}/jobs",
    "operator-operators": f"{ADMIN}/operators",
    "operator-account": f"{ADMIN}/account",
}


def test_every_page_is_usable_in_every_look(new_visitor: type[NewVisitor]) -> None:
    nobody, ann, olga = (
        new_visitor(LIGHT),
        new_visitor(PHONE),
        new_visitor(DARK),
    )  # as it is loaded differs too
    ann.sign_in_as("ann@acme.test")
    olga.sign_in_as_operator("olga@bulkhead.test")
    problems = [
        problem
        for person, pages in ((nobody, DOORS), (ann, MEMBERS_PAGES), (olga, OPERATORS_PAGES))
        for name, address in pages.items()
        for problem in open_page(person, name, address)
    ]
    assert problems == []


def add_style(page: Page, css: str) -> None:
    """Past the policy of our pages, which refuses a style sheet that is not theirs."""
    page.evaluate(
        "css => { const sheet = new CSSStyleSheet(); sheet.replaceSync(css); document.adoptedStyleSheets.push(sheet) }",
        css,
    )


def test_page_checker_finds_planted_problems_in_their_looks(new_visitor: type[NewVisitor]) -> None:
    """A label that is gone everywhere, one that nobody can read in the dark, and a page too wide for a phone."""
    nobody = new_visitor()
    assert open_page(nobody, "sign-in", DOORS["sign-in"]) == []
    nobody.page.evaluate("document.querySelector('label[for=password]').remove()")
    add_style(nobody.page, "@media (prefers-color-scheme: dark) { label { color: #222 !important } }")
    add_style(nobody.page, "@media (max-width: 500px) { main { min-width: 600px } }")
    report = "\n".join(list_problems(nobody, "spoilt", judged=(LIGHT, DARK, PHONE)))
    problems = re.findall(
        r"^(\w+ (?:light|dark|phone)): (?:\d+ )?(label|color-contrast|px wider)", report, re.MULTILINE
    )
    assert set(problems) == {
        ("spoilt light", "label"),
        ("spoilt dark", "color-contrast"),
        ("spoilt dark", "label"),
        ("spoilt phone", "label"),
        ("spoilt phone", "px wider"),
    }


def test_page_checker_finds_problems_of_the_dark_app(new_visitor: type[NewVisitor]) -> None:
    """There a script follows the browser, and the style sheet follows the script."""
    ann = new_visitor()
    ann.sign_in_as("ann@acme.test")
    ann.page.goto(f"{ACME}/home")
    expect(ann.page.get_by_role("heading", level=1)).to_be_visible()
    add_style(ann.page, ".dark h1 { color: #222 !important }")
    report = "\n".join(list_problems(ann, "home", judged=(LIGHT, DARK, PHONE)))
    assert re.findall(r"^(\w+ \w+): color-contrast", report, re.MULTILINE) == ["home dark"]


def test_main_task_can_be_done_by_keyboard(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    ann.page.goto(f"{TENANT}/sign-in")
    expect(ann.page.get_by_label("Email")).to_be_focused()
    ann.page.keyboard.type("ann@acme.test")
    ann.page.keyboard.press("Tab")
    ann.page.keyboard.type("bulkhead-demo")
    ann.page.keyboard.press("Enter")
    ann.page.wait_for_url("**/organisations")
    ann.page.goto(f"{ACME}/members")
    expect(ann.page.get_by_test_id("invite")).to_be_visible()
    ann.page.keyboard.press("Tab")
    expect(ann.page.get_by_role("link", name="Skip to content")).to_be_focused()
    ann.page.keyboard.press("Enter")
    expect(ann.page.locator("main")).to_be_focused()
    ann.page.keyboard.press("Tab")  # a link of the heading
    ann.page.keyboard.press("Tab")
    expect(ann.page.get_by_test_id("invite")).to_be_focused()
    ann.page.keyboard.press("Enter")
    expect(ann.page.get_by_role("dialog").get_by_label("Email")).to_be_focused()
    ann.page.keyboard.press("Escape")
    expect(ann.page.get_by_role("dialog")).to_have_count(0)
    expect(ann.page.get_by_test_id("invite")).to_be_focused()  # where it came from


def test_every_page_has_its_title_and_no_frame_carries_a_secret(new_visitor: type[NewVisitor]) -> None:
    ann = new_visitor()
    frames: list[str] = []
    ann.page.on("websocket", lambda ws: ws.on("framereceived", lambda frame: frames.append(str(frame))))
    ann.sign_in("ann@acme.test")
    ann.page.wait_for_url("**/organisations")
    titles = {"home": "Home", "members": "Members", "settings": "Settings", "audit": "Audit log"}
    for name, title in titles.items():
        ann.page.goto(f"{ACME}/{name}")
        expect(ann.page).to_have_title(re.compile(f"^{title} · "))
        expect(ann.page.get_by_role("heading", level=1)).to_be_visible()
        expect(ann.page.locator(".bone")).to_have_count(0)  # everything has come
    traffic = "\n".join(frames)
    assert "ann@acme.test" in traffic  # we do hear what is sent
    cookie = next(
        cookie["value"] for cookie in ann.context.cookies(TENANT) if "bulkhead-tenant" in cookie["name"]
    )
    for secret in (cookie, "argon2", "password_hash", "token_hash", "bulkhead-demo", "sealed"):
        assert secret not in traffic
