"""Every page as people meet it: light, dark and on a phone, by eye, by keyboard and by screen reader."""

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


def look_at(who: Newcomer, name: str, address: str, look: str) -> list[str]:
    """What is wrong with this page in this look, in words."""
    who.page.goto(address)
    expect(who.page.get_by_role("heading", level=1)).to_be_visible()
    expect(who.page.locator(".bone")).to_have_count(0)
    who.page.wait_for_timeout(150)  # transitions; the axe would measure colours half-way
    who.shot(f"{name}-{look}")
    return judged(who, name, look)


def judged(who: Newcomer, name: str, look: str) -> list[str]:
    wide = who.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    found = [f"{name} {look}: {wide} px wider than the screen"] if wide > 0 else []
    for one in Axe().run(who.page, options={"resultTypes": ["violations"]}).response["violations"]:
        if one["impact"] in SERIOUS:
            found += [f"{name} {look}: {one['id']}: {node['html'][:160]}" for node in one["nodes"][:3]]
    return found


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_fits_and_can_be_used_by_everybody(someone: type[Newcomer], look: str) -> None:
    width, dark = LOOKS[look]
    nobody, ann, olga = (someone(width=width, dark=dark) for _ in range(3))
    ann.signs_in("ann@acme.test")
    ann.page.wait_for_url("**/organisations")
    olga.operates("olga@bulkhead.test")
    wrong = [
        said
        for who, pages in ((nobody, DOORS), (ann, MEMBERS_PAGES), (olga, OPERATORS_PAGES))
        for name, address in pages.items()
        for said in look_at(who, name, address, look)
    ]
    assert wrong == []


def test_the_judge_of_pages_sees_what_it_should(someone: type[Newcomer]) -> None:
    nobody = someone(width=390)
    nobody.page.goto(DOORS["sign-in"])
    nobody.page.evaluate("document.querySelector('label').remove()")
    nobody.page.evaluate("document.querySelector('main').style.minWidth = '600px'")
    said = " ".join(judged(nobody, "sign-in", "spoilt"))
    assert "px wider than the screen" in said
    assert "label" in said


def test_the_main_job_by_keyboard_alone(someone: type[Newcomer]) -> None:
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


def test_a_title_per_page_and_no_secret_in_any_frame(someone: type[Newcomer]) -> None:
    ann = someone()
    frames: list[str] = []
    ann.page.on("websocket", lambda ws: ws.on("framereceived", lambda said: frames.append(str(said))))
    ann.signs_in("ann@acme.test")
    ann.page.wait_for_url("**/organisations")
    for name in ("home", "members", "settings", "audit"):
        ann.page.goto(f"{ACME}/{name}")
        expect(ann.page).to_have_title(re.compile(f"^{name.title()} · "))
        ann.page.wait_for_timeout(400)
    said = "\n".join(frames)
    assert "ann@acme.test" in said  # we do hear what is sent
    cookie = next(one["value"] for one in ann.context.cookies(TENANT) if "bulkhead-tenant" in one["name"])
    for secret in (cookie, "argon2", "password_hash", "token_hash", "bulkhead-demo", "sealed"):
        assert secret not in said
