"""Our members page and the peers' pages of the same table, looked at by the same browser.

Ours shows 50 of 2,000 members to a signed-in owner, with everything else the page has; the peers show the bare table.
`heavy` is the control: our page with a thousand people on it and without compression. Wall time, because waiting is the
subject; no delay on the network. Delays of 50 and 150 ms, and many open pages at once, are not measured yet.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from statistics import median
from typing import Any

import psycopg
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Error as BrowserError

from shared.core import db
from tests.bench import environment
from tests.bench.broken import Broken, reason
from tests.bench.databases import House
from tests.bench.people import HEAVY_PAGE, LAST, PAGE
from tests.bench.rows import Goal, Result, ratios, without_warm_up
from tests.bench.servers import Server, serving
from tests.bench.visits import Seen, Site, Table, Timing, visit
from tests.support import browser, database

OURS, HEAVY, PEERS = "ours", "heavy", ("django", "nicegui", "streamlit")
PORTS = {OURS: 3300, "django": 3304, "nicegui": 3305, "streamlit": 3306}
ACTS, HEAVY_ACTS = 6, 2  # searches and sorts in a visit; the first of each is dropped
HEAVY_QUERIES = ["ar", "er", "in", "li", "an", "or"]  # what hundreds of the two thousand match, but never all
TRUTH = """
select lower(u.name) from membership m join "user" u on u.id = m.user_id
where m.tenant_id = %(tenant)s and m.state <> 'removed' and lower(u.name) || ' ' || u.email like %(pattern)s
order by lower(u.name)
"""


def _timing(acts: Sequence[Timing], figure: Callable[[Timing], float]) -> float:
    return median(figure(one) for one in without_warm_up(acts))


Figure = Callable[[Seen], float]
# Row: what of a visit, and the same of whom or which figure it is divided by.
COMPARED: dict[str, tuple[Figure, str | float]] = {
    "page/nicegui-cold": (lambda seen: seen.cold, "nicegui"),
    "page/streamlit-cold": (lambda seen: seen.cold, "streamlit"),
    "page/kilobytes": (lambda seen: seen.bytes, 400_000.0),
    "page/nicegui-kilobytes": (lambda seen: seen.bytes, "nicegui"),
    "page/streamlit-kilobytes": (lambda seen: seen.bytes, "streamlit"),
    "filter/django": (lambda seen: _timing(seen.searches, lambda one: one.waited), "django"),
    "filter/django-sent": (lambda seen: _timing(seen.searches, lambda one: one.answered), "django"),
    "filter/ws-bytes": (lambda seen: _timing(seen.searches, lambda one: one.socket_bytes), 8_000.0),
    "event/django": (lambda seen: _timing(seen.sorts, lambda one: one.waited), "django"),
}


class Pages:
    """Servers that stand, and what their pages showed so far."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.sites: dict[str, Site] = {}
        self.broken: dict[str, str] = {}  # site: why it is out
        self.rounds: list[dict[str, Seen]] = []
        with psycopg.connect(database.admin_url(house.database)) as connection:
            self._names = {
                (tenant, query): _truth(connection, tenant, query)
                for tenant in (house.tenant_id, house.heavy_id)
                for query in ("", *(one.lower() for one in (*LAST, *HEAVY_QUERIES)))
            }

    def table(self, site: str, query: str = "", *, descending: bool = False) -> Table:
        tenant, most = (self.house.heavy_id, HEAVY_PAGE) if site == HEAVY else (self.house.tenant_id, PAGE)
        names = self._names[tenant, query.lower()]
        shown = (names[::-1] if descending else names)[:most]
        return Table(len(shown), shown[0], shown[-1], query.lower())

    def a_round(self, chromium: Browser, chance: random.Random) -> None:
        """Every site once, in shuffled order, with the same searches; one that breaks is out from then on."""
        queries = chance.sample(LAST, ACTS)
        seen: dict[str, Seen] = {}
        for name in chance.sample(list(self.sites), len(self.sites)):
            if name in self.broken:
                continue
            mine = chance.sample(HEAVY_QUERIES, HEAVY_ACTS) if name == HEAVY else queries
            acts = mine if name in (OURS, HEAVY, "django") else []
            searches = [self.table(name, query) for query in acts]
            sorts = [self.table(name, acts[-1], descending=number % 2 == 0) for number in range(len(acts))]
            try:
                self.sites[name].server.require_ours()
                seen[name] = visit(
                    chromium, self.sites[name], self.house.cookie, self.table(name), searches, sorts
                )
                self.sites[name].server.require_ours()
            except (Broken, BrowserError) as problem:
                self.broken[name] = reason(problem)
        self.rounds.append(seen)

    def result(self, goal: Goal) -> Result:
        figure, to = COMPARED[goal.control_of or goal.name]
        site = HEAVY if goal.control_of else OURS
        needed = [site] if isinstance(to, float) else [site, to]
        if reasons := [self.broken[one] for one in needed if one in self.broken]:
            return Result(goal, reason=reasons[0])
        counted = self.rounds[1:]
        ours = [figure(seen[site]) for seen in counted]
        theirs = [to if isinstance(to, float) else figure(seen[to]) for seen in counted]
        return Result(goal, ratios(ours, theirs))

    def raw(self) -> list[dict[str, Any]]:
        return [{name: asdict(one) for name, one in seen.items()} for seen in self.rounds]


def _truth(connection: psycopg.Connection, tenant: str, query: str) -> list[str]:
    """The names in their order, by another SQL than ours and the peers'."""
    values = {"tenant": tenant, "pattern": f"%{query}%"}
    return [name for (name,) in connection.execute(TRUTH, values).fetchall()]


@contextmanager
def standing(house: House) -> Iterator[Pages]:
    """Ours and the peers. A peer that does not come costs its own rows only."""
    pages = Pages(house)
    database.use(house.database)
    env = {
        "DATABASE_URL": database.admin_url(house.database),
        "BENCH_DATABASE": db.login_url("app"),
        "BENCH_TENANT": house.tenant_id,
    }
    with ExitStack() as stack:

        def start(name: str, command: Sequence[str]) -> Server | None:
            try:
                return stack.enter_context(serving(name, PORTS[name], [*command], env))
            except Broken as problem:
                pages.broken[name] = str(problem)
                return None

        if ours := start(OURS, [sys.executable, "-m", "tests.bench.serve", house.heavy_slug]):
            rows = "table[data-testid=members] tbody tr"
            pages.sites[OURS] = Site(ours, f"/t/{house.slug}/members", rows)
            pages.sites[HEAVY] = Site(ours, f"/t/{house.heavy_slug}/members", rows, plain=True)
        else:
            pages.broken[HEAVY] = pages.broken[OURS]
        try:
            python = environment.python()
        except subprocess.CalledProcessError:
            pages.broken |= dict.fromkeys(PEERS, "the peers could not be installed")
        else:
            for name in PEERS:
                if peer := start(name, [python, "-m", "tests.bench.peers.serve", name, str(PORTS[name])]):
                    pages.sites[name] = Site(peer)
        yield pages


def measure(house: House, rounds: int, chance: random.Random, say: Callable[[str], None]) -> Pages:
    """One round more than asked for, and the first one dropped."""
    if not browser.is_installed():
        raise Broken("no Chromium; python -m tests.support.browser installs one")
    with standing(house) as pages, sync_playwright() as playwright:
        chromium = browser.launch_browser(playwright)
        for number in range(rounds + 1):
            pages.a_round(chromium, chance)
            say(f"pages: round {number} of {rounds}" if number else "pages: warm")
        chromium.close()
        return pages
