"""NiceGUI: its table element with the rows of the database, searched by the server."""

from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from nicegui import run, ui

from tests.bench.peers import table

COLUMNS: list[dict[str, Any]] = [
    {"name": key, "label": label, "field": key, "align": "left"}
    for key, label in zip(table.Row._fields, table.HEADINGS, strict=True)
]
app = FastAPI()


@dataclass
class List:
    cookie: str
    shown: ui.table

    async def search(self, query: str) -> None:
        self.shown.rows = await _rows(self.cookie, query)


@ui.page("/")
async def page(request: Request) -> None:
    cookie = request.cookies.get(table.COOKIE, "")
    ui.label("Members").classes("text-h5")
    rows = await _rows(cookie)
    find = ui.input("Search members").props(f'debounce={table.DEBOUNCE} type="search"')
    members = List(cookie, ui.table(columns=COLUMNS, rows=rows, row_key="email", pagination=0))
    find.on_value_change(lambda event: members.search(event.value))


async def _rows(cookie: str, query: str = "") -> list[dict[str, str]]:
    return [row._asdict() for row in await run.io_bound(table.rows, cookie, query)]


ui.run_with(app, title="Members")
