"""/jobs: the queue as it stands. Jobs that succeeded are not kept; their effects are in the trail."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from admin_app import words
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.core.ctx import OperatorCtx
from shared.jobs import board
from shared.tenancy import directory
from shared.ui.feedback import empty, skeleton_rows, when
from shared.ui.form import select
from shared.ui.form_model import a_word
from shared.ui.gate import needs
from shared.ui.hull import cells, fact, hull, small
from shared.ui.shell import head, link
from shared.ui.table import Column, badge, data_table, pager, row, some

COLUMNS = [
    Column("Job"),
    Column("Tenant", less=True),
    Column("Status"),
    Column("Tries", end=True, less=True),
    Column("Changed", end=True, less=True),
]
CHOICES = [("", "All states"), *((key, words.JOB[key]) for key in board.STATUSES)]
SAID = {
    "waiting": "Not started yet",
    "retrying": "Failed, will be tried again",
    "running": "A worker has them",
    "failed": "Tried for the last time",
}
PAGE = 50


@dataclass(frozen=True)
class JobRow:
    id: str
    task: str
    request_id: str
    tenant_id: str
    tenant: str
    status: str
    tone: str
    tries: str
    changed_at: str


def job_row(one: board.Job, names: Any) -> JobRow:
    status = words.JOB[one.status]
    changed = one.changed_at or one.scheduled_at
    return JobRow(
        str(one.id),
        one.task,
        one.request_id,
        one.tenant_id,
        names.get(one.tenant_id, one.tenant_id),
        status,
        words.tone(status),
        str(one.attempts),
        changed.isoformat() if changed else "",
    )


class JobsState(PageState):
    loaded: bool = False
    rows: list[JobRow] = []
    counts: dict[str, str] = dict.fromkeys(board.STATUSES, "0")
    status: str = ""
    said: str = ""
    has_next: bool = False
    has_previous: bool = False
    _cursors: list[int] = []  # of the pages before this one; the last is this page's own
    _next: int | None = None

    @rx.event
    @needs(actions.OP_JOB_READ, page=True)
    async def load(self) -> None:
        async with self._open(JobsState.load, "provisioning", "members", "invitations") as octx:
            await self._read(octx, self.status, self._cursors)

    async def _read(self, octx: OperatorCtx, status: str, cursors: list[int]) -> None:
        after = cursors[-1] if cursors else None
        found = await directory.list_jobs(octx, status, after=after, limit=PAGE)
        self.rows = [job_row(one, found.names) for one in found.page.jobs]
        self.counts = {key: f"{count:,}" for key, count in found.counts.items()}
        self.status, self._cursors, self._next = status, cursors, found.page.after
        self.has_next, self.has_previous = found.page.after is not None, bool(cursors)
        self.said = words.some_of(len(self.rows), "job", "jobs")
        self.loaded = True

    async def _turn(self, status: str, cursors: list[int]) -> None:
        async with self._ctx() as octx:
            await self._read(octx, status, cursors)

    @rx.event
    @needs(actions.OP_JOB_READ)
    async def choose_status(self, status: str) -> None:
        await self._turn(a_word(status, ("", *board.STATUSES)), [])

    @rx.event
    @needs(actions.OP_JOB_READ)
    async def next(self) -> None:
        if self._next is not None:
            await self._turn(self.status, [*self._cursors, self._next])

    @rx.event
    @needs(actions.OP_JOB_READ)
    async def previous(self) -> None:
        await self._turn(self.status, self._cursors[:-1])


def job_line(one: JobRow) -> rx.Component:
    whose = rx.cond(
        one.tenant_id != "",
        link(one.tenant, f"/tenants/{one.tenant_id}", class_name="plain-link"),
        rx.el.span("Platform", class_name="muted"),
    )
    name = rx.el.div(
        rx.el.span(one.task, class_name="strong"),
        small(
            "Job ", one.id, " · ", rx.el.code(one.request_id, class_name="mono"), class_name="cut-anywhere"
        ),
        small(whose, class_name="only-small"),
        class_name="two",
    )
    return row(COLUMNS, name, whose, badge(one.status, one.tone), one.tries, when(one.changed_at, "", "ago"))


@rx.page(route="/jobs", title="Jobs · Operator", on_load=JobsState.load)
def jobs() -> rx.Component:
    facts = cells(*[fact(words.JOB[key], JobsState.counts[key], SAID[key]) for key in board.STATUSES])
    nothing = empty(
        "The queue is empty", "Jobs wait here, run, and leave when they have succeeded.", glyph="list-checks"
    )
    foot = pager(
        JobsState.said,
        older=JobsState.next,
        newer=JobsState.previous,
        has_older=JobsState.has_next,
        has_newer=JobsState.has_previous,
    )
    table = data_table("Jobs", COLUMNS, rx.foreach(JobsState.rows, job_line), foot=foot, test_id="jobs")
    found = rx.cond(some(JobsState.rows), table, nothing)
    chosen = select("State", CHOICES, value=JobsState.status, on_change=JobsState.choose_status)
    return page(
        head("Jobs", said="What happens after a request has answered: mails, setting up."),
        hull(facts, name="Jobs by state"),
        rx.el.div(
            rx.el.div(chosen, class_name="row wrap"),
            hull(rx.cond(JobsState.loaded, found, skeleton_rows(4)), name="Jobs"),
            class_name="section",
        ),
        current="Jobs",
        load=JobsState.load,
    )
