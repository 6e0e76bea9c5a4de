"""/t/[tenant]/access: features and limits with their source and use, and scheduled changes."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access import actions
from shared.core.context import Limit
from shared.entitlements import explain
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.tenancy import access_overview
from shared.ui import charts
from shared.ui.authorize import needs
from shared.ui.banners import local_time, skeleton_rows
from shared.ui.panels import panel, small, stat, stat_grid, strong, text_with_note
from shared.ui.shell import page_header
from shared.ui.tables import Column, badge, data_table, has_items, table_row
from tenant_app.frame import page
from tenant_app.shell import PageState

FEATURE_COLUMNS = [Column("Feature"), Column("Now"), Column("Source", hidden_on_phone=True)]
LIMIT_COLUMNS = [
    Column("Limit"),
    Column("In use", align_end=True),
    Column("Limit", align_end=True),
    Column("Source", hidden_on_phone=True),
]
CHANGE_COLUMNS = [Column("Date"), Column("Change"), Column("Now", hidden_on_phone=True), Column("Then")]


@dataclass(frozen=True)
class FeatureRow:
    title: str
    description: str
    value: str
    tone: str
    explanation: str


@dataclass(frozen=True)
class LimitRow:
    title: str
    used: str  # "" where use is not counted
    amount: str
    explanation: str
    share: str
    tone: str
    used_count: int
    maximum: int


@dataclass(frozen=True)
class ScheduledChangeRow:
    at: str
    subject: str
    before: str
    after: str


def limit_row(name: str, limit: Limit, explanation: str, used: int | None) -> LimitRow:
    kind = LIMITS[name]
    share, tone = (
        ("0%", "calm")
        if used is None or limit.amount is None
        else charts.meter_width_and_tone(used, limit.amount)
    )
    soft = "" if limit.hard or limit.amount is None else " You’ll get a warning; nothing is blocked."
    return LimitRow(
        kind.title,
        "" if used is None else f"{used:,}",
        explain.format_amount(limit, name),
        f"{explanation}{soft}",
        share,
        tone,
        used or 0,
        0 if used is None or limit.amount is None else limit.amount,
    )


class AccessState(PageState):
    loaded: bool = False
    plan: str = ""
    plan_since: str = ""
    billing: str = ""
    billing_since: str = ""
    billing_until: str = ""
    trial: str = ""
    trial_ends_at: str = ""
    next_at: str = ""
    features: list[FeatureRow] = []
    limits: list[LimitRow] = []
    changes: list[ScheduledChangeRow] = []

    @rx.event
    @needs(actions.ACCESS_READ, page=True)
    async def load(self) -> None:
        async with self._open_page(AccessState.load, "members", "invitations", "roles") as ctx:
            access = await access_overview.get_access_overview(ctx)
        self._show(access)

    def _show(self, access: access_overview.AccessOverview) -> None:
        self.plan, self.billing = access.plan, access_overview.STATUS_TEXTS[access.billing_status]
        self.plan_since = access.plan_since.isoformat() if access.plan_since else ""
        self.billing_since = access.billing_since.isoformat() if access.billing_since else ""
        self.billing_until = access.billing_until.isoformat() if access.billing_until else ""
        self.trial = (
            "No trial" if access.trial_ends_at is None else "Ended" if access.trial_ended else "Running"
        )
        self.trial_ends_at = access.trial_ends_at.isoformat() if access.trial_ends_at else ""
        self.features = [
            FeatureRow(
                FEATURES[name].title,
                FEATURES[name].benefit,
                access_overview.INCLUDED_TEXTS[chain.included],
                "ok" if chain.included else "idle",
                explain.describe_feature_chain(chain),
            )
            for name, chain in access.features.items()
        ]
        self.limits = [
            limit_row(name, chain.limit, explain.describe_limit_chain(chain), access.usage.get(name))
            for name, chain in access.limits.items()
        ]
        self.changes = [
            ScheduledChangeRow(change.at.isoformat(), change.title, change.before, change.after)
            for change in access.scheduled_changes
        ]
        self.next_at = self.changes[0].at if self.changes else ""
        self.loaded = True


def plan_stats() -> rx.Component:
    def day(word: str, at: Any, otherwise: str) -> rx.Component:
        return rx.cond(at != "", rx.fragment(word, local_time(at, "", "day")), otherwise)

    shown = stat_grid(
        stat("Plan", AccessState.plan, day("Since ", AccessState.plan_since, "Not chosen yet")),
        stat(
            "Billing",
            AccessState.billing,
            rx.cond(
                AccessState.billing_until != "",
                day("Until ", AccessState.billing_until, ""),
                day("Since ", AccessState.billing_since, "Since the start"),
            ),
        ),
        stat(
            "Trial",
            AccessState.trial,
            rx.cond(
                AccessState.trial == "Ended",
                day("On ", AccessState.trial_ends_at, ""),
                day("Until ", AccessState.trial_ends_at, "No end date"),
            ),
        ),
        stat(
            "Next change",
            rx.cond(AccessState.next_at != "", local_time(AccessState.next_at, "", "day"), "None"),
            "Scheduled changes only",
        ),
    )
    return panel(rx.cond(AccessState.loaded, shown, skeleton_rows(1)), name="Plan and billing")


def feature_line(feature: FeatureRow) -> rx.Component:
    title = text_with_note(strong(feature.title), small(feature.description))
    why = small(feature.explanation, class_name="only-small")
    return table_row(
        FEATURE_COLUMNS,
        rx.fragment(title, why),
        badge(feature.value, feature.tone),
        small(feature.explanation),
    )


def limit_line(limit: LimitRow) -> rx.Component:
    gauge = charts.meter(
        limit.title,
        limit.used_count,
        limit.maximum,
        share=limit.share,
        tone=limit.tone,
        value_text=f"{limit.used} of {limit.amount}",
    )
    title = rx.el.div(
        strong(limit.title),
        rx.cond(limit.maximum > 0, gauge),
        small(limit.explanation, class_name="only-small"),
        class_name="two metered",
    )
    used = rx.cond(limit.used != "", limit.used, rx.el.span("Not counted", class_name="muted small"))
    return table_row(LIMIT_COLUMNS, title, used, limit.amount, small(limit.explanation))


def change_line(change: ScheduledChangeRow) -> rx.Component:
    return table_row(
        CHANGE_COLUMNS,
        local_time(change.at, "", "moment"),
        strong(change.subject),
        small(change.before),
        small(change.after),
    )


def features_panel() -> rx.Component:
    table = data_table(
        "Features", FEATURE_COLUMNS, rx.foreach(AccessState.features, feature_line), test_id="features"
    )
    return panel(rx.cond(AccessState.loaded, table, skeleton_rows(6)), title="Features")


def limits_panel() -> rx.Component:
    table = data_table("Limits", LIMIT_COLUMNS, rx.foreach(AccessState.limits, limit_line), test_id="limits")
    return panel(rx.cond(AccessState.loaded, table, skeleton_rows(6)), title="Limits")


def changes_panel() -> rx.Component:
    table = data_table(
        "Scheduled changes", CHANGE_COLUMNS, rx.foreach(AccessState.changes, change_line), test_id="turns"
    )
    return panel(table, title="Scheduled changes")


@rx.page(route="/t/[tenant]/access", title="Access · Bulkhead", on_load=AccessState.load)
def access_page() -> rx.Component:
    return page(
        page_header("Access", description="What’s included in your plan and why."),
        plan_stats(),
        rx.cond(has_items(AccessState.changes), changes_panel()),
        features_panel(),
        limits_panel(),
        current="Access",
        load=AccessState.load,
    )
