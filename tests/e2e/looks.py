"""Looks: one loaded page in light, in dark and on a phone, judged by width, colours and what a screen reader gets.

The page is not loaded again for a look: the browser changes its colour scheme and its width, as it does for a person
who turns to night mode or makes the window narrow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize, expect

from tests.support import sizes

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
# `only`: the ids of the rules to judge by, all of them when it is empty.
FIND_VIOLATIONS = """
async ([impacts, only]) => {
  const judges = (rule) => impacts.includes(rule.impact) && (only.length === 0 || only.includes(rule.id));
  const others = axe._audit.rules.filter((rule) => !judges(rule));
  const rules = Object.fromEntries(others.map((rule) => [rule.id, { enabled: false }]));
  const leaving = [["[data-sonner-toast][data-removed=true]"], ["[data-sonner-toast][data-mounted=false]"]];
  const results = await axe.run({ exclude: leaving }, { resultTypes: ["violations"], preload: false, rules });
  return results.violations.filter((violation) => impacts.includes(violation.impact));
}
"""
SERIOUS = ("serious", "critical")
# The rules that look at colours. The others read the same elements at the same places in light and in dark.
COLOUR_RULES = ("color-contrast", "link-in-text-block")


def list_looks() -> list[Look]:
    """The looks of this run."""
    return [LIGHT, DARK, PHONE, *([PHONE_DARK] if sizes.is_full() else [])]


def open_page(person: "Visitor", name: str, address: str, *, whole_suffix: str | None = None) -> list[str]:
    """Opens the page at this address; the rest as `list_problems`."""
    person.page.goto(address)
    expect(person.page.get_by_role("heading", level=1)).to_be_visible()
    return list_problems(person, name, whole_suffix=whole_suffix)


def list_problems(
    person: "Visitor", name: str, *, screen: bool = True, whole_suffix: str | None = None
) -> list[str]:
    """The problems of the page as it is, in every look; each says the page and the look.

    Colours are judged in every look, everything else once at every width, and in the long run in every look. That makes `NAME-LOOK.png` of
    what is on the screen, and `NAME-LOOK{whole_suffix}.png` of the whole page where a suffix is given. The page has the
    person's own look again afterwards.
    """
    expect(person.page.locator(".bone")).to_have_count(0)
    problems = []
    judged_widths = set[int]()
    for look in list_looks():
        if problem := put_on(person.page, look):
            problems.append(f"{name} {look.name}: {problem}")
        shot_name = f"{name}-{look.name}"
        whole_names = [] if whole_suffix is None else [f"{shot_name}{whole_suffix}"]
        take_pictures(person, screen_names=[shot_name] if screen else [], whole_names=whole_names)
        rules = COLOUR_RULES if look.width in judged_widths and not sizes.is_full() else ()
        problems += judge_page(person.page, f"{name} {look.name}", rules=rules)
        judged_widths.add(look.width)
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


def judge_page(page: Page, name: str, *, rules: Sequence[str] = ()) -> list[str]:
    """The problems of the page as it looks now, in words that begin with `name`. `rules`: by these of axe only."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    problems = [f"{name}: {wide} px wider than the screen"] if wide > 0 else []
    for violation in find_violations(page, rules):
        problems += [f"{name}: {violation['id']}: {node['html'][:160]}" for node in violation["nodes"][:3]]
    return problems


def find_violations(page: Page, rules: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Serious and critical violations of these rules, or of all, as axe reports them."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    violations: list[dict[str, Any]] = page.evaluate(FIND_VIOLATIONS, [SERIOUS, rules])
    return violations
