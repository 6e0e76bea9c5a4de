"""State of the overview."""

import reflex as rx

from admin_app import addresses, labels
from admin_app.pages.health.rows import AlertRow, alert_row
from admin_app.pages.overview.attention import AttentionRow, attention_rows
from admin_app.pages.overview.rows import (
    AttemptRow,
    UnfinishedStepRow,
    attempt_row,
    counter_row,
    deletion_row,
    unfinished_step_row,
)
from admin_app.shell import PageState
from shared.access import actions
from shared.backoffice import health, tenant_deletions, tenant_directory
from shared.backoffice.alerts import evaluation
from shared.evidence import chain_checks
from shared.identity import factor_resets
from shared.tenancy.models import TenantState
from shared.ui.authorize import needs

ALWAYS_SHOWN = (
    "cross_tenant_attempt",
    "missing_tenant_context",
)  # shown at 0 too, which is the good value


class OverviewState(PageState):
    loaded: bool = False
    active: str = ""
    unverified: str = ""
    suspended: str = ""
    deleted: str = ""
    alerts: list[AlertRow] = []
    attention: list[AttentionRow] = []
    failed_jobs: int = 0
    waiting_resets: int = 0
    paying_twice: list[tuple[str, str]] = []  # name and address of the billing tab
    unbilled_usage: list[tuple[str, str, str]] = []  # tenant, its address, problem
    differing_usage: list[tuple[str, str, str]] = []  # tenant, its address, how many hours
    chain_alerts: int = 0
    cancellations: list[tuple[str, str]] = []  # why, how many
    deletions: list[tuple[str, str, str]] = []  # tenant, its address, what comes next
    unfinished: list[UnfinishedStepRow] = []
    counters: list[tuple[str, str, str, bool]] = []  # title, count, explanation, more than 0
    attempts: list[AttemptRow] = []

    @rx.event
    @needs(actions.OP_HOME_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(
            *(OverviewState.load, "tenant", "provisioning", "jobs", "billing"),
            *(factor_resets.TOPIC, chain_checks.TOPIC, evaluation.TOPIC),
        ) as octx:
            platform = await tenant_directory.get_overview(octx)
            security = await tenant_directory.get_security_overview(octx)
            deletions = await tenant_deletions.list_unfinished(octx)
            self.alerts = [alert_row(alert) for alert in await health.list_firing_alerts(octx)]
        self.deletions = [deletion_row(deletion) for deletion in deletions]
        self._show(platform, security)

    def _show(
        self, platform: tenant_directory.PlatformOverview, security: tenant_directory.SecurityOverview
    ) -> None:
        count_by_state = {state: f"{platform.tenants_by_state.get(state, 0):,}" for state in TenantState}
        self.active = count_by_state[TenantState.ACTIVE]
        self.unverified = count_by_state[TenantState.PENDING_VERIFICATION]
        self.suspended = count_by_state[TenantState.SUSPENDED]
        self.failed_jobs = platform.failed_jobs
        self.attention = attention_rows(platform.attention)
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
        self.differing_usage = [
            (
                usage.name,
                addresses.usage_url(usage.tenant_id),
                labels.plural(usage.count, "hour", "hours"),
            )
            for usage in platform.differing_usage
        ]
        self.chain_alerts = len(platform.chain_alerts)
        self.cancellations = [
            (labels.describe_cancellation(feedback), f"{count:,}")
            for feedback, count in platform.cancellation_counts.items()
        ]
        self.deleted = count_by_state[TenantState.DELETED]
        self.unfinished = [unfinished_step_row(step) for step in platform.unfinished]
        kinds = [*ALWAYS_SHOWN, *sorted(kind for kind in security.counts if kind not in ALWAYS_SHOWN)]
        self.counters = [counter_row(kind, security.counts.get(kind, 0)) for kind in kinds]
        self.attempts = [attempt_row(event) for event in security.events]
        self.loaded = True
