"""/jobs: the current queue. Jobs that succeeded are not kept; the audit logs have their effects."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import reflex as rx

from admin_app import labels
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import tenant_directory
from shared.backoffice.tenant_directory import JobOverview
from shared.core.context import OperatorCtx
from shared.jobs import queue_status
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import select
from shared.ui.forms import parse_choice
from shared.ui.list_state import ListState, list_pager
from shared.ui.panels import panel, small, stat, stat_grid
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

COLUMNS = [
    Column("Job"),
    Column("Tenant", hidden_on_phone=True),
    Column("Status"),
    Column("Attempts", align_end=True, hidden_on_phone=True),
    Column("Changed", align_end=True, hidden_on_phone=True),
]
STATUS_CHOICES = [
    ("", "All states"),
    *((key, labels.JOB_STATUS_LABELS[key]) for key in queue_status.STATUSES),
]
STATUS_NOTES = {
    "waiting": "Not started yet",
    "retrying": "Failed, will be retried",
    "running": "Running now",
    "failed": "Out of retries",
}
PAGE_SIZE = 50


@dataclass(frozen=True, kw_only=True)
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


def job_row(job: queue_status.QueuedJob, names: Mapping[str, str]) -> JobRow:
    status = labels.JOB_STATUS_LABELS[job.status]
    changed = job.changed_at or job.scheduled_at
    return JobRow(
        id=str(job.id),
        task=job.task,
        request_id=job.request_id,
        tenant_id=job.tenant_id,
        tenant=names.get(job.tenant_id, job.tenant_id),
        status=status,
        tone=labels.tone_of(status),
        tries=str(job.attempts),
        changed_at=changed.isoformat() if changed else "",
    )


class JobsState(ListState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_JOB_READ
    loaded: bool = False
    rows: list[JobRow] = []
    counts: dict[str, str] = dict.fromkeys(queue_status.STATUSES, "0")
    status: str = ""

    @rx.event
    @needs(actions.OP_JOB_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(JobsState.load, "provisioning", "members", "invitations") as octx:
            jobs_view = await self._read(octx)
        self._show(jobs_view)

    async def _read(self, octx: OperatorCtx) -> JobOverview:
        return await tenant_directory.list_jobs(octx, self.status, after=self._cursor(), limit=PAGE_SIZE)

    def _show(self, jobs_view: JobOverview) -> None:
        self.rows = [job_row(job, jobs_view.tenant_names) for job in jobs_view.page.rows]
        self.counts = {key: f"{count:,}" for key, count in jobs_view.counts.items()}
        self._show_page(jobs_view.page, "job")
        self.loaded = True

    async def _reload(self) -> None:
        async with self._ctx() as octx:
            jobs_view = await self._read(octx)
        self._show(jobs_view)

    @rx.event
    @needs(actions.OP_JOB_READ)
    async def choose_status(self, status: str) -> None:
        await self._show_first_page(status=parse_choice(status, ("", *queue_status.STATUSES)))


def job_line(job: JobRow) -> rx.Component:
    tenant_link = rx.cond(
        job.tenant_id != "",
        link(job.tenant, f"/tenants/{job.tenant_id}", class_name="plain-link"),
        rx.el.span("Platform", class_name="muted"),
    )
    name = rx.el.div(
        rx.el.span(job.task, class_name="strong"),
        small(
            "Job ", job.id, " · ", rx.el.code(job.request_id, class_name="mono"), class_name="cut-anywhere"
        ),
        small(tenant_link, class_name="only-small"),
        class_name="two",
    )
    return table_row(
        COLUMNS,
        name,
        tenant_link,
        badge(job.status, job.tone),
        job.tries,
        local_time(job.changed_at, "", "ago"),
    )


@rx.page(route="/jobs", title="Jobs · Operator", on_load=JobsState.load)
def jobs_page() -> rx.Component:
    facts = stat_grid(
        *[
            stat(labels.JOB_STATUS_LABELS[key], JobsState.counts[key], STATUS_NOTES[key])
            for key in queue_status.STATUSES
        ]
    )
    no_jobs = empty_state(
        "The queue is empty", "Waiting and running jobs appear here until they succeed.", glyph="list-checks"
    )
    foot = list_pager(JobsState)
    table = data_table("Jobs", COLUMNS, rx.foreach(JobsState.rows, job_line), footer=foot, test_id="jobs")
    content = rx.cond(has_items(JobsState.rows), table, no_jobs)
    status_select = select("State", STATUS_CHOICES, value=JobsState.status, on_change=JobsState.choose_status)
    return page(
        page_header("Jobs", description="Background jobs (email, provisioning)."),
        panel(facts, name="Jobs by state"),
        rx.el.div(
            rx.el.div(status_select, class_name="row wrap"),
            panel(rx.cond(JobsState.loaded, content, skeleton_rows(4)), name="Jobs"),
            class_name="section",
        ),
        current="Jobs",
        load=JobsState.load,
    )
