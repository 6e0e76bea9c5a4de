"""Looks: one loaded page in light, in dark and on a phone, judged by width, colours and what a screen reader gets.

The page is not loaded again for a look: the browser changes its colour scheme and its width, as it does for a person
who turns to night mode or makes the window narrow.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize, expect

from tests.support import sizes
from tests.support.sizes import size

if TYPE_CHECKING:
    from tests.e2e.conftest import Visitor

HEIGHT = 860


@dataclass(frozen=True, slots=True)
class Look:
    name: str
    width: int = 1280
    dark: bool = False


LIGHT, DARK, PHONE = Look("light"), Look("dark", dark=True), Look("phone", width=390)
# Only in the long run: a phone in the dark has nothing that the other three have not.
PHONE_DARK = Look("phone-dark", width=390, dark=True)

# Waits for the colour scheme and for the end of every transition: the checker would measure colours half-way.
SETTLE = """
async (scheme) => {
  const until = performance.now() + 5000;
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const ends = (animation) =>
    animation.playState === "running" && Number.isFinite(animation.effect?.getComputedTiming().endTime);
  do {
    await frame();
    await frame();
    await Promise.allSettled(document.getAnimations().filter(ends).map((animation) => animation.finished));
    const styled = getComputedStyle(document.documentElement).colorScheme;
    const stated = document.querySelector("meta[name=color-scheme]")?.content ?? "light";
    const schemes = (styled === "normal" ? stated : styled).split(" ");
    if (schemes.length > 1 || schemes[0] === scheme) return ""; // a page of both follows the browser
  } while (performance.now() < until);
  return `does not turn ${scheme}`;
}
"""
# A toast that is leaving is half transparent, so that its contrast says nothing.
# Without the rules whose findings are never serious, and without fetching style sheets, which no rule that runs needs.
FIND_VIOLATIONS = """
async ([impacts]) => {
  const others = axe._audit.rules.filter((rule) => !impacts.includes(rule.impact));
  const rules = Object.fromEntries(others.map((rule) => [rule.id, { enabled: false }]));
  const leaving = [["[data-sonner-toast][data-removed=true]"], ["[data-sonner-toast][data-mounted=false]"]];
  const results = await axe.run({ exclude: leaving }, { resultTypes: ["violations"], preload: false, rules });
  return results.violations.filter((violation) => impacts.includes(violation.impact));
}
"""
SERIOUS = ("serious", "critical")


def list_looks() -> list[Look]:
    """The looks of this run."""
    return [LIGHT, DARK, PHONE, *([PHONE_DARK] if sizes.is_full() else [])]


def draw_looks() -> list[Look]:
    """Looks to judge a page in, others each time."""
    return random.sample(list_looks(), size("e2e.looks"))


def open_page(person: "Visitor", name: str, address: str, *, whole_suffix: str | None = None) -> list[str]:
    """Opens the page at this address; the rest as `list_problems`."""
    person.page.goto(address)
    expect(person.page.get_by_role("heading", level=1)).to_be_visible()
    return list_problems(person, name, whole_suffix=whole_suffix)


def list_problems(
    person: "Visitor",
    name: str,
    *,
    screen: bool = True,
    whole_suffix: str | None = None,
    judged: Sequence[Look] | None = None,
) -> list[str]:
    """The problems of the page as it is; each says the page and the look.

    The width is checked in every look. Colours and what a screen reader gets are checked in the looks `judged`, which are
    drawn anew in every run; the long run checks all of them. It also makes `NAME-LOOK.png` of what is on the screen, and
    `NAME-LOOK{whole_suffix}.png` of the whole page where a suffix is given. The page has the person's own look again
    afterwards.
    """
    expect(person.page.locator(".bone")).to_have_count(0)
    problems = []
    judged = draw_looks() if judged is None else judged
    for look in list_looks():
        if look not in judged and look.dark:
            continue  # as wide as in light
        if problem := put_on(person.page, look):
            problems.append(f"{name} {look.name}: {problem}")
        shot_name = f"{name}-{look.name}"
        whole_names = [] if whole_suffix is None else [f"{shot_name}{whole_suffix}"]
        take_pictures(person, screen_names=[shot_name] if screen else [], whole_names=whole_names)
        problems += check_width(person.page, f"{name} {look.name}")
        if look in judged:
            problems += check_rules(person.page, f"{name} {look.name}")
    put_on(person.page, person.look)
    return problems


def take_pictures(person: "Visitor", *, screen_names: list[str], whole_names: list[str]) -> None:
    """Of the screen and of the whole page: the same picture where the page is no longer than the screen.

    Only in the long run.
    """
    if not sizes.is_full():
        return
    if whole_names and not person.page.evaluate("document.documentElement.scrollHeight > innerHeight"):
        screen_names, whole_names = screen_names + whole_names, []
    if screen_names:
        person.take_picture(*screen_names)
    if whole_names:
        person.take_picture(*whole_names, whole=True)


def put_on(page: Page, look: Look) -> str:
    """Gives the page this look and waits until it has it. The problem when it never does, else ""."""
    page.emulate_media(color_scheme="dark" if look.dark else "light")
    size: ViewportSize = {"width": look.width, "height": HEIGHT}
    if page.viewport_size != size:
        page.set_viewport_size(size)
    return str(page.evaluate(SETTLE, "dark" if look.dark else "light"))


def judge_page(page: Page, name: str) -> list[str]:
    """The problems of the page as it looks now, in words that begin with `name`."""
    return check_width(page, name) + check_rules(page, name)


def check_width(page: Page, name: str) -> list[str]:
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"{name}: {wide} px wider than the screen"] if wide > 0 else []


def check_rules(page: Page, name: str) -> list[str]:
    return [
        f"{name}: {violation['id']}: {node['html'][:160]}"
        for violation in find_violations(page)
        for node in violation["nodes"][:3]
    ]


def find_violations(page: Page) -> list[dict[str, Any]]:
    """Serious and critical violations, as axe reports them."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    violations: list[dict[str, Any]] = page.evaluate(FIND_VIOLATIONS, [SERIOUS])
    return violations
