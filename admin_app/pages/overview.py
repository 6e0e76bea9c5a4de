"""/: overview of the platform: tenants by state, unfinished provisioning, suspicious requests."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from admin_app import addresses, labels
from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.backoffice import tenant_directory
from shared.backoffice.tenant_directory_rows import UnfinishedProvisioning
from shared.identity import factor_resets
from shared.tenancy import provisioning
from shared.tenancy.models import StepState, TenantState
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.panels import code, panel, small, stat_grid, strong, text_with_note
from shared.ui.shell import link, page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row

UNFINISHED_COLUMNS = [
    Column("Tenant"),
    Column("Step"),
    Column("State"),
    Column("Since", align_end=True, hidden_on_phone=True),
]
ALWAYS_SHOWN = (
    "cross_tenant_attempt",
    "missing_tenant_context",
)  # shown at 0 too, which is the good value


@dataclass(frozen=True, kw_only=True)
class UnfinishedStepRow:
    tenant_id: str
    name: str
    step: str
    note: str
    state: str
    tone: str
    since: str


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    id: str
    title: str
    note: str
    actor: str
    request_id: str
    count: str
    at: str


def unfinished_step_row(step: UnfinishedProvisioning) -> UnfinishedStepRow:
    state = labels.STEP_STATE_LABELS[step.state]
    tries = labels.plural(step.attempts, "try", "tries")
    note = f"{step.error} {tries}." if step.state is StepState.FAILED else ""
    step_title = provisioning.STEP_TITLES.get(step.step_key, step.step_key)
    return UnfinishedStepRow(
        tenant_id=step.tenant_id,
        name=step.name,
        step=step_title,
        note=note,
        state=state,
        tone=labels.tone_of(state),
        since=step.created_at.isoformat(),
    )


def attempt_row(event: Any) -> AttemptRow:
    title, _ = labels.SECURITY_EVENT_LABELS.get(event.kind, (event.kind.replace("_", " ").capitalize(), ""))
    note = f"Requested {event.subject}" if event.subject else ""
    return AttemptRow(
        id=event.id,
        title=title,
        note=note,
        actor=event.actor_id,
        request_id=event.request_id,
        count=f"{event.count:,}",
        at=event.at.isoformat(),
    )


class OverviewState(PageState):
    loaded: bool = False
    active: str = ""
    unverified: str = ""
    suspended: str = ""
    deleted: str = ""
    failed_jobs: int = 0
    waiting_resets: int = 0
    paying_twice: list[tuple[str, str]] = []  # name and address of the billing tab
    unbilled_usage: list[tuple[str, str, str]] = []  # tenant, its address, problem
    unfinished: list[UnfinishedStepRow] = []
    counters: list[tuple[str, str, str, bool]] = []  # title, count, explanation, more than 0
    attempts: list[AttemptRow] = []

    @rx.event
    @needs(actions.OP_HOME_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(
            OverviewState.load, "tenant", "provisioning", "jobs", "billing", factor_resets.TOPIC
        ) as octx:
            platform = await tenant_directory.get_overview(octx)
            security = await tenant_directory.get_security_overview(octx)
        self._show(platform, security)

    def _show(
        self, platform: tenant_directory.PlatformOverview, security: tenant_directory.SecurityOverview
    ) -> None:
        count_by_state = {state: f"{platform.tenants_by_state.get(state, 0):,}" for state in TenantState}
        self.active = count_by_state[TenantState.ACTIVE]
        self.unverified = count_by_state[TenantState.PENDING_VERIFICATION]
        self.suspended = count_by_state[TenantState.SUSPENDED]
        self.failed_jobs = platform.failed_jobs
        self.waiting_resets = platform.waiting_resets
        self.paying_twice = [
            (f"{row.name} ({row.extra + 1} subscriptions)", addresses.billing_url(row.tenant_id))
            for row in platform.paying_twice
        ]
        self.unbilled_usage = [
            (
                usage.name,
                addresses.billing_url(usage.tenant_id),
                labels.describe_usage_problem(usage.problem, usage.count),
            )
            for usage in platform.unbilled_usage
        ]
        self.deleted = count_by_state[TenantState.DELETED]
        self.unfinished = [unfinished_step_row(step) for step in platform.unfinished]
        kinds = [*ALWAYS_SHOWN, *sorted(kind for kind in security.counts if kind not in ALWAYS_SHOWN)]
        self.counters = [counter_row(kind, security.counts.get(kind, 0)) for kind in kinds]
        self.attempts = [attempt_row(event) for event in security.events]
        self.loaded = True


def counter_row(kind: str, count: int) -> tuple[str, str, str, bool]:
    title, description = labels.SECURITY_EVENT_LABELS.get(
        kind, (kind.replace("_", " ").capitalize(), "Refused.")
    )
    return title, f"{count:,}", description, count > 0


def state_stat(label: str, value: Any, note: str, state: str) -> rx.Component:
    return rx.el.div(
        rx.el.h2(label, class_name="label"),
        rx.el.p(value, class_name="figure"),
        link(note, f"/tenants?state={state}", class_name="link small"),
        class_name="stat",
    )


def state_stats() -> rx.Component:
    shown = stat_grid(
        state_stat("Active", OverviewState.active, "Show them", "active"),
        state_stat("Unverified", OverviewState.unverified, "Show them", "pending_verification"),
        state_stat("Suspended", OverviewState.suspended, "Show them", "suspended"),
        state_stat("Deleted", OverviewState.deleted, "Show them", "deleted"),
    )
    return panel(rx.cond(OverviewState.loaded, shown, skeleton_rows(1)), name="Tenants by state")


def failed_jobs_banner() -> rx.Component:
    """Shown only while there are some."""
    sentence = rx.cond(
        OverviewState.failed_jobs == 1,
        "1 job is out of retries.",
        rx.fragment(OverviewState.failed_jobs, " jobs are out of retries."),
    )
    content = rx.el.p(sentence, " ", link("Retry or drop them", "/jobs"), data_testid="failed-jobs")
    return rx.cond(OverviewState.failed_jobs > 0, panel(content, title="Failed jobs", body=True))


def waiting_resets_banner() -> rx.Component:
    """Shown only while there are some."""
    sentence = rx.cond(
        OverviewState.waiting_resets == 1,
        "1 person has lost their second factor and waits for an answer.",
        rx.fragment(
            OverviewState.waiting_resets, " people have lost their second factor and wait for an answer."
        ),
    )
    content = rx.el.p(sentence, " ", link("Answer them", "/recovery"), data_testid="waiting-resets")
    return rx.cond(OverviewState.waiting_resets > 0, panel(content, title="Recovery", body=True))


def paying_twice_banner() -> rx.Component:
    """Shown only while there are some."""

    def line(row: Any) -> rx.Component:
        return rx.el.li(link(row[0], row[1]))

    content = rx.el.div(
        rx.el.p("These customers are charged for more than one subscription. End one of them and refund it."),
        rx.el.ul(rx.foreach(OverviewState.paying_twice, line)),
        data_testid="paying-twice",
    )
    return rx.cond(has_items(OverviewState.paying_twice), panel(content, title="Paying twice", body=True))


def unbilled_usage_banner() -> rx.Component:
    """Shown only while there is some."""

    def line(usage: Any) -> rx.Component:
        return rx.el.li(link(usage[0], usage[1]), ": ", usage[2])

    content = rx.el.ul(rx.foreach(OverviewState.unbilled_usage, line), data_testid="unbilled-usage")
    return rx.cond(
        has_items(OverviewState.unbilled_usage), panel(content, title="Usage that isn't billed", body=True)
    )


def unfinished_panel() -> rx.Component:
    def line(unfinished: UnfinishedStepRow) -> rx.Component:
        step = text_with_note(
            rx.el.span(unfinished.step), rx.cond(unfinished.note != "", small(unfinished.note))
        )
        return table_row(
            UNFINISHED_COLUMNS,
            link(unfinished.name, f"/tenants/{unfinished.tenant_id}", class_name="strong plain-link"),
            step,
            badge(unfinished.state, unfinished.tone),
            local_time(unfinished.since, "", "ago"),
        )

    table = data_table(
        "Unfinished provisioning",
        UNFINISHED_COLUMNS,
        rx.foreach(OverviewState.unfinished, line),
        test_id="unfinished",
    )
    no_steps = empty_state(
        "All tenants are provisioned", "Waiting and failed steps appear here.", glyph="circle-check"
    )
    content = rx.cond(has_items(OverviewState.unfinished), table, no_steps)
    return panel(rx.cond(OverviewState.loaded, content, skeleton_rows(2)), title="Unfinished provisioning")


def security_panels() -> rx.Component:
    def count(counter: Any) -> rx.Component:
        return rx.el.li(
            text_with_note(rx.el.h3(counter[0]), small(counter[2])),
            rx.el.span(
                counter[1],
                class_name=rx.cond(counter[3], "num down", "num strong"),
                data_testid="security-count",
            ),
        )

    def attempt(security_event: AttemptRow) -> rx.Component:
        actor = small(
            code(security_event.actor),
            rx.cond(security_event.note != "", rx.fragment(" · ", security_event.note)),
            class_name="cut-anywhere",
        )
        times = rx.cond(security_event.count != "1", rx.fragment(" ", small(security_event.count, " times")))
        return rx.el.li(
            text_with_note(rx.el.span(strong(security_event.title), times), actor),
            small(local_time(security_event.at, "", "ago"), class_name="nowrap"),
        )

    counts = rx.el.ul(rx.foreach(OverviewState.counters, count), class_name="list", data_testid="security")
    latest = rx.cond(
        has_items(OverviewState.attempts),
        rx.el.ol(rx.foreach(OverviewState.attempts, attempt), class_name="list", data_testid="attempts"),
        empty_state(
            "No suspicious requests",
            "No suspicious requests in the last 24 hours.",
            glyph="shield-check",
        ),
    )
    return rx.el.div(
        panel(
            rx.cond(OverviewState.loaded, counts, skeleton_rows(2)),
            title="Blocked requests",
            aside=small("24 hours"),
        ),
        panel(
            rx.cond(OverviewState.loaded, latest, skeleton_rows(3)),
            title="Latest blocked requests",
            aside=small("24 hours"),
        ),
        class_name="split",
        data_even="true",
    )


@rx.page(route="/", title="Overview · Operator", on_load=OverviewState.load)
def overview_page() -> rx.Component:
    return page(
        page_header("Overview", description="Updates automatically."),
        state_stats(),
        failed_jobs_banner(),
        waiting_resets_banner(),
        paying_twice_banner(),
        unbilled_usage_banner(),
        unfinished_panel(),
        security_panels(),
        current="Overview",
        load=OverviewState.load,
    )
