"""Every page in light, dark and on a phone, by eye, keyboard and screen reader."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.e2e.conftest import ADMIN, TENANT, Newcomer

DOORS = {
    "sign-in": f"{TENANT}/sign-in",
    "sign-up": f"{TENANT}/sign-up",
    "forgot": f"{TENANT}/forgot",
    "operator-sign-in": f"{ADMIN}/sign-in",
}
ACME = f"{TENANT}/t/acme"
MEMBERS_PAGES = {
    **{name: f"{ACME}/{name}" for name in ("home", "members", "roles", "audit", "settings", "notifications")},
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
    "operator-catalog": f"{ADMIN}/catalog",
    "operator-prices": f"{ADMIN}/prices",
    "operator-jobs": f"{ADMIN}/jobs",
    "operator-operators": f"{ADMIN}/operators",
    "operator-account": f"{ADMIN}/account",
}
LOOKS = {"light": (1280, False), "dark": (1280, True), "phone": (390, False), "phone-dark": (390, True)}
# Where a fourth look would only take time: a phone in the dark has nothing that these three have not.
PROMISED = ("light", "dark", "phone")
SERIOUS = ("serious", "critical")


def look_at(person: Newcomer, name: str, address: str, look: str) -> list[str]:
    """What is wrong with this page in this look, in words."""
    person.page.goto(address)
    expect(person.page.get_by_role("heading", level=1)).to_be_visible()
    expect(person.page.locator(".bone")).to_have_count(0)
    person.page.wait_for_timeout(150)  # transitions; the axe would measure colours half-way
    person.shot(f"{name}-{look}")
    return judged(person, name, look)


def judged(person: Newcomer, name: str, look: str) -> list[str]:
    wide = person.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    problems = [f"{name} {look}: {wide} px wider than the screen"] if wide > 0 else []
    for violation in Axe().run(person.page, options={"resultTypes": ["violations"]}).response["violations"]:
        if violation["impact"] in SERIOUS:
            problems += [
                f"{name} {look}: {violation['id']}: {node['html'][:160]}" for node in violation["nodes"][:3]
            ]
    return problems


@pytest.mark.parametrize(
    "look", ["light", "dark", "phone", pytest.param("phone-dark", marks=pytest.mark.long)]
)
def test_every_page_is_usable_in_every_look(someone: type[Newcomer], look: str) -> None:
    width, dark = LOOKS[look]
    nobody, ann, olga = (someone(width=width, dark=dark) for _ in range(3))
    ann.signs_in("ann@acme.test")
    ann.page.wait_for_url("**/organisations")
    olga.operates("olga@bulkhead.test")
    wrong = [
        problem
        for person, pages in ((nobody, DOORS), (ann, MEMBERS_PAGES), (olga, OPERATORS_PAGES))
        for name, address in pages.items()
        for problem in look_at(person, name, address, look)
    ]
    assert wrong == []


def test_page_checker_finds_planted_problems(someone: type[Newcomer]) -> None:
    nobody = someone(width=390)
    nobody.page.goto(DOORS["sign-in"])
    nobody.page.evaluate("document.querySelector('label').remove()")
    nobody.page.evaluate("document.querySelector('main').style.minWidth = '600px'")
    report = " ".join(judged(nobody, "sign-in", "spoilt"))
    assert "px wider than the screen" in report
    assert "label" in report


def test_main_task_can_be_done_by_keyboard(someone: type[Newcomer]) -> None:
    ann = someone()
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


def test_every_page_has_its_title_and_no_frame_carries_a_secret(someone: type[Newcomer]) -> None:
    ann = someone()
    frames: list[str] = []
    ann.page.on("websocket", lambda ws: ws.on("framereceived", lambda frame: frames.append(str(frame))))
    ann.signs_in("ann@acme.test")
    ann.page.wait_for_url("**/organisations")
    titles = {"home": "Home", "members": "Members", "settings": "Settings", "audit": "Audit log"}
    for name, title in titles.items():
        ann.page.goto(f"{ACME}/{name}")
        expect(ann.page).to_have_title(re.compile(f"^{title} · "))
        ann.page.wait_for_timeout(400)
    traffic = "\n".join(frames)
    assert "ann@acme.test" in traffic  # we do hear what is sent
    cookie = next(
        cookie["value"] for cookie in ann.context.cookies(TENANT) if "bulkhead-tenant" in cookie["name"]
    )
    for secret in (cookie, "argon2", "password_hash", "token_hash", "bulkhead-demo", "sealed"):
        assert secret not in traffic
