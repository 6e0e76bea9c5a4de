"""A visit: a browser that has never been there, a cold page, then searches and sorts, timed inside the page."""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page

from tests.bench.broken import Broken
from tests.bench.servers import Server

WATCHER = (Path(__file__).parent / "watcher.js").read_text()
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"  # a table before it is not visible
WITHIN = 30_000  # milliseconds for any table to show
QUIET = 300  # milliseconds without a byte: then the page has come


@dataclass(frozen=True, slots=True)
class Table:
    """What must be on the page: so many rows, these two first and last, this text in every one. All lower case."""

    count: int
    first: str
    last: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """`plain`: without compression. `counts`: its server says how many bytes its websockets took.

    `origin`: what its pages take for their address, where it is not the server's own.
    """

    server: Server
    path: str = "/"
    rows: str = "table tbody tr"
    plain: bool = False
    counts: bool = False
    origin: str = ""

    @property
    def address(self) -> str:
        return (self.origin or self.server.url) + self.path

    def socket_bytes(self) -> int:
        return self.server.socket_bytes() if self.counts else 0


@dataclass(slots=True)
class Timing:
    """Milliseconds from the person's event, and from the message it caused, to the table; bytes on the socket.

    Those bytes are compressed, with every frame's head, in both directions; 0 where the server does not count them.
    """

    waited: float
    answered: float
    socket_bytes: int


@dataclass(slots=True)
class Seen:
    cold: float = 0.0  # milliseconds from the start of the navigation to the table
    painted: float = 0.0  # and to the first thing to see
    bytes: int = 0
    searches: list[Timing] = field(default_factory=list)
    sorts: list[Timing] = field(default_factory=list)
    cpu: float = 0.0  # milliseconds of the server


class Wire:
    """Bytes: responses as they crossed the wire, messages of the socket as their payload before compression."""

    def __init__(self, session: CDPSession) -> None:
        self.http = self.socket = 0
        session.on("Network.loadingFinished", self._loaded)
        session.on("Network.webSocketFrameReceived", self._message)
        session.on("Network.webSocketFrameSent", self._message)
        session.send("Network.enable")

    @property
    def total(self) -> int:
        return self.http + self.socket

    def _loaded(self, event: dict[str, Any]) -> None:
        self.http += int(event["encodedDataLength"])

    def _message(self, event: dict[str, Any]) -> None:
        frame = event["response"]
        text = frame["payloadData"]
        self.socket += len(text.encode() if frame["opcode"] == 1 else base64.b64decode(text))


@dataclass(slots=True)
class Visit:
    site: Site
    page: Page
    wire: Wire

    def comes(self) -> tuple[float, float, int]:
        """Milliseconds until the table and until the first paint, bytes until the page is quiet."""
        self.page.goto(self.site.address, wait_until="commit")
        shown, before = self._shown()["shown"], -1
        while before != self.wire.total:
            before = self.wire.total
            self.page.wait_for_timeout(QUIET)
        painted = self.page.evaluate(PAINTED)
        return max(shown, painted), painted, before

    def searches(self, table: Table) -> Timing:
        box = self.page.get_by_label("Search members").first
        box.select_text()
        return self._timed(table, lambda: self.page.keyboard.insert_text(table.query))

    def sorts(self, table: Table) -> Timing:
        button = self.page.locator("th button").filter(has_text="Name").first
        return self._timed(table, lambda: button.click())

    def _timed(self, table: Table, act: Any) -> Timing:
        self.page.evaluate("([wanted, within]) => bench.expect(wanted, within)", [asdict(table), WITHIN])
        before = self.site.socket_bytes()
        act()
        at = self._shown()
        if not at["typed"] <= at["sent"] <= at["shown"] or not at["typed"]:
            raise Broken(f"{self.site.server.name}: the table changed before it was asked to")
        self.page.wait_for_timeout(50)  # the rest of the answer, and notice of it
        return Timing(at["shown"] - at["typed"], at["shown"] - at["sent"], self.site.socket_bytes() - before)

    def _shown(self) -> dict[str, float]:
        if not self.page.evaluate("() => bench.done"):
            title, address = self.page.title(), self.page.url
            raise Broken(f"{self.site.server.name}: the table does not show; at {address} “{title}”")
        marks: dict[str, float] = self.page.evaluate("() => ({...bench, wanted: 0, done: 0, expect: 0})")
        return marks


@contextmanager
def visiting(browser: Browser, site: Site, cookie: str, first: Table) -> Iterator[Visit]:
    headers = {"accept-encoding": "identity"} if site.plain else {}
    context = browser.new_context(viewport={"width": 1280, "height": 860}, extra_http_headers=headers)
    try:
        name, _, value = cookie.partition("=")
        secure = {"name": name, "value": value, "url": "https://localhost/", "secure": True, "httpOnly": True}
        context.add_cookies([secure])  # type: ignore[list-item]
        context.add_init_script(f"({WATCHER})({json.dumps(site.rows)}, {json.dumps(asdict(first))})")
        page = context.new_page()
        yield Visit(site, page, Wire(context.new_cdp_session(page)))
    finally:
        context.close()


def visit(
    browser: Browser, site: Site, cookie: str, first: Table, searches: Sequence[Table], sorts: Sequence[Table]
) -> Seen:
    """Raises Broken when a table is not what it should be."""
    before, seen = site.server.cpu(), Seen()
    with visiting(browser, site, cookie, first) as visit:
        seen.cold, seen.painted, seen.bytes = visit.comes()
        seen.searches = [visit.searches(search) for search in searches]
        seen.sorts = [visit.sorts(sort) for sort in sorts]
    seen.cpu = site.server.cpu() - before
    return seen
