"""Our members page and the peers' pages of the same table, looked at by the same browser.

Ours shows 50 of 2,000 members to a signed-in owner, with everything else the page has; the peers show the bare table.
`heavy` is the control: our page with a thousand people on it and without compression. Wall time, because waiting is the
subject; no delay on the network. A tiny run takes the frontend of the browser tests, which is built for their address:
its browser finds the server of the bench there. Delays of 50 and 150 ms, and many open pages at once, are not measured yet.
"""

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import psycopg
from playwright.sync_api import Browser, sync_playwright

from shared.core import db
from shared.core.config import settings
from tests.bench import databases, environment
from tests.bench.broken import Broken, reason, with_last_line
from tests.bench.databases import PageTenants
from tests.bench.goals import Goal
from tests.bench.options import Options
from tests.bench.people import LAST, PAGE
from tests.bench.rows import Result, counted, ratios, without_warm_up
from tests.bench.servers import ROOT, Server, free_port, serving
from tests.bench.visits import Seen, Site, Table, Timing, visit
from tests.support import browser, database, master_keys

OURS, HEAVY, PEERS = "ours", "heavy", ("django", "nicegui", "streamlit")
PORTS = {OURS: 3300, "django": 3304, "nicegui": 3305, "streamlit": 3306}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Searches and sorts in a visit, the first of each is dropped; people on the page of the control."""

    acts: int
    heavy_acts: int
    heavy_page: int


FULL = Size(acts=6, heavy_acts=2, heavy_page=1_000)
TINY = Size(acts=2, heavy_acts=2, heavy_page=120)  # more than the product shows at once
HEAVY_QUERIES = ["ar", "er", "in", "li", "an", "or"]  # what hundreds of the two thousand match, but never all
TRUTH = """
select lower(u.name) from membership m join "user" u on u.id = m.user_id
where m.tenant_id = %(tenant)s and m.state <> 'removed' and lower(u.name) || ' ' || u.email like %(pattern)s
order by lower(u.name)
"""


def _timing(acts: Sequence[Timing], figure: Callable[[Timing], float]) -> float:
    return median(figure(act) for act in without_warm_up(acts))


Figure = Callable[[Seen], float]
# Row: what of a visit, and the same of whom or which figure it is divided by.
COMPARED: dict[str, tuple[Figure, str | float]] = {
    "page/nicegui-cold": (lambda seen: seen.cold, "nicegui"),
    "page/streamlit-cold": (lambda seen: seen.cold, "streamlit"),
    "page/first-paint": (lambda seen: seen.painted, "nicegui"),
    "page/kilobytes": (lambda seen: seen.bytes, 400_000.0),
    "page/nicegui-kilobytes": (lambda seen: seen.bytes, "nicegui"),
    "page/streamlit-kilobytes": (lambda seen: seen.bytes, "streamlit"),
    "filter/django": (lambda seen: _timing(seen.searches, lambda timing: timing.waited), "django"),
    "filter/django-sent": (lambda seen: _timing(seen.searches, lambda timing: timing.answered), "django"),
    "filter/ws-bytes": (lambda seen: _timing(seen.searches, lambda timing: timing.socket_bytes), 4_000.0),
    "event/django": (lambda seen: _timing(seen.sorts, lambda timing: timing.waited), "django"),
}
# Controls that are no visit to the heavy page: a page of ours with nothing to see before its table.
CONTROLS: dict[str, Figure] = {"page/first-paint": lambda seen: seen.cold}


class Pages:
    """Servers that stand, and what their pages showed so far. Without `peers` the figures of those are 1."""

    def __init__(self, page_tenants: PageTenants, size: Size, *, peers: bool) -> None:
        self.page_tenants, self.size, self.peers = page_tenants, size, peers
        self.sites: dict[str, Site] = {}
        self.broken: dict[str, str] = {}  # site: why it is out
        self.rounds: list[dict[str, Seen]] = []
        with psycopg.connect(database.admin_url(page_tenants.database)) as connection:
            self._names = {
                (tenant, query): _truth(connection, tenant, query)
                for tenant in (page_tenants.tenant_id, page_tenants.heavy_id)
                for query in ("", *(word.lower() for word in (*LAST, *HEAVY_QUERIES)))
            }

    def table(self, site: str, query: str = "", *, descending: bool = False) -> Table:
        tenant, most = (
            (self.page_tenants.heavy_id, self.size.heavy_page)
            if site == HEAVY
            else (self.page_tenants.tenant_id, PAGE)
        )
        names = self._names[tenant, query.lower()]
        shown = (names[::-1] if descending else names)[:most]
        return Table(len(shown), shown[0], shown[-1], query.lower())

    def a_round(self, chromium: Browser, chance: random.Random) -> None:
        """Every site once, in shuffled order, with the same searches; one that breaks is out from then on."""
        queries = chance.sample(LAST, self.size.acts)
        seen: dict[str, Seen] = {}
        for name in chance.sample(list(self.sites), len(self.sites)):
            if name in self.broken:
                continue
            mine = chance.sample(HEAVY_QUERIES, self.size.heavy_acts) if name == HEAVY else queries
            acts = mine if name in (OURS, HEAVY, "django") else []
            searches = [self.table(name, query) for query in acts]
            sorts = [self.table(name, acts[-1], descending=number % 2 == 0) for number in range(len(acts))]
            try:
                self.sites[name].server.require_ours()
                seen[name] = visit(
                    chromium, self.sites[name], self.page_tenants.cookie, self.table(name), searches, sorts
                )
                self.sites[name].server.require_ours()
            except Exception as problem:
                self.broken[name] = reason(problem)
        self.rounds.append(seen)

    def result(self, goal: Goal) -> Result:
        row = goal.control_of or goal.name
        figure, to = COMPARED[row]
        site = OURS
        if goal.control_of:
            figure, site = (CONTROLS[row], OURS) if row in CONTROLS else (figure, HEAVY)
        if to in PEERS and not self.peers:
            to = 1.0
        needed = [site] if isinstance(to, float) else [site, to]
        if reasons := [self.broken[name] for name in needed if name in self.broken]:
            return Result(goal, reason=reasons[0])
        seen = counted(self.rounds)
        our_figures = [figure(visits[site]) for visits in seen]
        peer_figures = [to if isinstance(to, float) else COMPARED[row][0](visits[to]) for visits in seen]
        return Result(goal, ratios(our_figures, peer_figures))

    @property
    def raw(self) -> list[dict[str, Any]]:
        return [{name: asdict(visit) for name, visit in seen.items()} for seen in self.rounds]


def _truth(connection: psycopg.Connection, tenant: str, query: str) -> list[str]:
    """The names in their order, by another SQL than ours and the peers'."""
    values = {"tenant": tenant, "pattern": f"%{query}%"}
    return [name for (name,) in connection.execute(TRUTH, values).fetchall()]


@contextmanager
def standing(page_tenants: PageTenants, options: Options) -> Iterator[Pages]:
    """Ours and the peers. A peer that does not come costs its own rows only."""
    pages = Pages(page_tenants, TINY if options.tiny else FULL, peers=options.peers)
    ports = {name: free_port() for name in PORTS} if options.tiny else PORTS
    database.use(page_tenants.database)
    env = {
        "DATABASE_URL": database.admin_url(page_tenants.database),
        "BENCH_DATABASE": db.login_url("app"),
        "BENCH_TENANT": page_tenants.tenant_id,
        "BULKHEAD_DATA_DIR": str(data_of_frontend(options)),
        "BULKHEAD_MASTER_KEYS": master_keys.render(
            settings().load_master_keys()
        ),  # that prove the owner's session
    }
    with ExitStack() as stack:

        def start(name: str, command: Sequence[str]) -> Server | None:
            try:
                return stack.enter_context(serving(name, ports[name], [*command], env))
            except Broken as problem:
                pages.broken[name] = str(problem)
                return None

        shown = (str(ports[OURS]), page_tenants.heavy_slug, str(pages.size.heavy_page))
        if our_server := start(OURS, [sys.executable, "-m", "tests.bench.serve", *shown]):
            for name, slug in ((OURS, page_tenants.slug), (HEAVY, page_tenants.heavy_slug)):
                pages.sites[name] = Site(
                    our_server,
                    f"/t/{slug}/members",
                    "table[data-testid=members] tbody tr",
                    plain=name == HEAVY,
                    counts=True,
                    origin=settings().tenant_url,
                )
        else:
            pages.broken[HEAVY] = pages.broken[OURS]
        try:
            python = environment.python() if options.peers else ""
        except Broken as problem:
            python = ""
            pages.broken |= dict.fromkeys(PEERS, reason(problem))
        for name in PEERS if python else ():
            if peer := start(name, [python, "-m", "tests.bench.peers.serve", name, str(ports[name])]):
                pages.sites[name] = Site(peer)
        yield pages


def data_of_frontend(options: Options) -> Path:
    return ROOT / ".bulkhead" / "e2e" if options.tiny else settings().absolute_data_dir


def build(options: Options) -> None:
    """Both frontends, where their sources changed. Raises Broken."""
    env = os.environ | {"BULKHEAD_DATA_DIR": str(data_of_frontend(options))}
    with tempfile.TemporaryFile() as written:
        command = [sys.executable, "-m", "shared.cli", "build"]
        if subprocess.run(command, cwd=ROOT, env=env, check=False, stdout=written, stderr=written).returncode:
            raise Broken(with_last_line("the frontend could not be built", written))


def measure(options: Options) -> Pages:
    if not browser.is_installed():
        raise Broken("no Chromium; python -m tests.support.browser installs one")
    build(options)
    chance = options.chance()
    with databases.built("pages") as name, ExitStack() as stack:
        pages = stack.enter_context(standing(asyncio.run(databases.create_page_tenants(name)), options))
        chromium = browser.launch_browser(stack.enter_context(sync_playwright()), *_rules(pages))
        stack.callback(chromium.close)
        for _ in options.numbered("pages"):
            pages.a_round(chromium, chance)
    return pages


def _rules(pages: Pages) -> list[str]:
    """Arguments for a browser that finds our server at the address its pages take for theirs."""
    site = pages.sites.get(OURS)
    if site is None or site.origin == site.server.url:
        return []
    return [f"--host-resolver-rules=MAP {urlsplit(site.origin).netloc} 127.0.0.1:{site.server.port}"]
