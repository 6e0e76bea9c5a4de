"""/jobs: the current queue, with the failed jobs to retry or drop. Jobs that succeeded are not kept."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import reflex as rx
from reflex.event import EventSpec

from admin_app import labels
from admin_app.frame import page
from admin_app.shell import PageState, is_allowed
from shared.access import actions
from shared.access.actions import OperatorAction
from shared.backoffice import failed_jobs, tenant_directory
from shared.backoffice.reasons import Reason, state_reason
from shared.backoffice.tenant_directory import JobOverview
from shared.core.context import OperatorCtx
from shared.core.errors import Invalid
from shared.jobs import queue_status
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import icon_button, select
from shared.ui.dialog_state import DialogState
from shared.ui.dialogs import OPERATOR_AUDIT_HINT, ReasonForm, dialog_opener, form_dialog, reason_field
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
    Column("Changed or due", align_end=True, hidden_on_phone=True),
    Column("Actions", align_end=True, label_hidden=True),
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
JobChange = Callable[[OperatorCtx, int, Reason], Awaitable[str]]


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
    shown_at: str  # when it is due, or when it changed last
    is_due: bool
    error: str
    can_change: bool  # it failed or waits for another attempt


def job_row(job: queue_status.QueuedJob, names: Mapping[str, str]) -> JobRow:
    status = labels.JOB_STATUS_LABELS[job.status]
    due_at = job.scheduled_at if job.status in ("waiting", "retrying") else None
    shown_at = due_at or job.changed_at
    return JobRow(
        id=str(job.id),
        task=job.task,
        request_id=job.request_id,
        tenant_id=job.tenant_id,
        tenant=names.get(job.tenant_id, job.tenant_id),
        status=status,
        tone=labels.tone_of(status),
        tries=str(job.attempts),
        shown_at=shown_at.isoformat() if shown_at else "",
        is_due=due_at is not None,
        error=job.error,
        can_change=job.status in ("failed", "retrying"),
    )


class JobsState(ListState, DialogState, PageState):
    reads: ClassVar[OperatorAction] = actions.OP_JOB_READ
    opens_dialogs: ClassVar[OperatorAction] = actions.OP_JOB_WRITE
    row_dialogs: ClassVar[Sequence[str]] = ("retry", "drop")
    chosen: str = ""  # what the open dialog is about
    _chosen_id: int = 0
    loaded: bool = False
    rows: list[JobRow] = []
    counts: dict[str, str] = dict.fromkeys(queue_status.STATUSES, "0")
    status: str = ""

    @rx.event
    @needs(actions.OP_JOB_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(JobsState.load, "jobs", "provisioning", "members", "invitations") as octx:
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

    async def _fill_dialog(self, dialog: str, row_id: str) -> None:  # noqa: ARG002  both show the same
        row = next((row for row in self.rows if row.id == row_id), None)
        if row is None:
            raise Invalid("The page has changed.", "Reload and try again.")
        self.chosen, self._chosen_id = f"{row.task}, job {row.id}", int(row.id)

    async def _change_chosen_job(self, form: ReasonForm, change: JobChange) -> None:
        async with self._change_page() as octx:
            await change(octx, self._chosen_id, state_reason(octx, form.reason))
            jobs_view = await self._read(octx)
        self._show(jobs_view)
        self._close_dialog()

    @rx.event
    @needs(actions.OP_JOB_WRITE)
    async def retry_job(self, payload: dict[str, Any]) -> EventSpec:
        await self._change_chosen_job(ReasonForm.read(payload), failed_jobs.retry_job)
        return rx.toast.success("Job queued again.", description="A worker runs it within seconds.")

    @rx.event
    @needs(actions.OP_JOB_WRITE)
    async def drop_job(self, payload: dict[str, Any]) -> EventSpec:
        await self._change_chosen_job(ReasonForm.read(payload), failed_jobs.drop_job)
        return rx.toast.success("Job dropped.")

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
            "Job ",
            job.id,
            rx.cond(job.request_id != "", rx.fragment(" · ", rx.el.code(job.request_id, class_name="mono"))),
            class_name="cut-anywhere",
        ),
        small(tenant_link, class_name="only-small"),
        rx.cond(job.error != "", small(job.error, class_name="cut-anywhere", data_testid="job-error")),
        class_name="two",
    )
    change = rx.el.div(
        icon_button(f"Retry job {job.id}", "rotate-cw", **dialog_opener(JobsState, "retry", job.id)),
        icon_button(f"Drop job {job.id}", "x", **dialog_opener(JobsState, "drop", job.id)),
        class_name="row to-end",
    )
    return table_row(
        COLUMNS,
        name,
        tenant_link,
        badge(job.status, job.tone),
        job.tries,
        rx.fragment(rx.cond(job.is_due, "Due ", ""), local_time(job.shown_at, "", "ago")),
        rx.cond(is_allowed(actions.OP_JOB_WRITE), rx.cond(job.can_change, change)),
    )


def job_dialogs() -> rx.Component:
    retry = form_dialog(
        JobsState,
        "retry",
        "Retry job",
        rx.fragment("Queues the job again with all its attempts: ", JobsState.chosen, "."),
        reason_field("retry", OPERATOR_AUDIT_HINT),
        confirm="Retry",
        submit=JobsState.retry_job,
    )
    drop = form_dialog(
        JobsState,
        "drop",
        "Drop job",
        rx.fragment("Deletes the job; its work isn’t done and can’t be restored: ", JobsState.chosen, "."),
        reason_field("drop", OPERATOR_AUDIT_HINT),
        confirm="Drop job",
        submit=JobsState.drop_job,
        kind="danger",
    )
    return rx.fragment(retry, drop)


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
        job_dialogs(),
        current="Jobs",
        load=JobsState.load,
    )
