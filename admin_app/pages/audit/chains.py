"""The tab about the chains of the audit logs: what is verified and anchored, and what is wrong."""

from dataclasses import dataclass
from typing import Any

import reflex as rx
from reflex.event import EventSpec

from admin_app.shell import PageState
from shared.access import actions
from shared.backoffice import audit_evidence
from shared.backoffice.audit_evidence import ChainAlert, ChainOverview
from shared.core.plurals import plural
from shared.evidence.models import AnchorProblem
from shared.ui.authorize import needs
from shared.ui.banners import empty_state, local_time, skeleton_rows
from shared.ui.controls import button
from shared.ui.panels import code, panel, small, strong, text_with_note
from shared.ui.shell import link
from shared.ui.tables import badge, has_items

PROBLEM_TEXTS = {
    AnchorProblem.NONE: "",
    AnchorProblem.BROKEN: "An event or its place in the chain was changed, deleted or inserted.",
    AnchorProblem.CUT: "The end of the chain is missing: events that were anchored are gone.",
    AnchorProblem.FORGED: "The anchor in the file storage has no valid signature.",
    AnchorProblem.MISSING: "The anchor is missing in the file storage.",
    AnchorProblem.REPLACED: "The chain was replaced: the anchored event has another hash now.",
}


@dataclass(frozen=True, kw_only=True)
class AlertRow:
    title: str
    url: str  # of the tenant's page, "" for the operators' chain
    note: str
    since: str


def alert_row(alert: ChainAlert) -> AlertRow:
    place = f"From event {alert.number:,} on. " if alert.number else ""
    return AlertRow(
        title=alert.name or "Operator audit log",
        url=f"/tenants/{alert.tenant_id}?tab=audit" if alert.tenant_id else "",
        note=f"{place}{PROBLEM_TEXTS[alert.problem]}",
        since=alert.since.isoformat(),
    )


class ChainsState(PageState):
    loaded: bool = False
    alerts: list[AlertRow] = []
    tenants_text: str = ""
    is_late: bool = False
    operators_text: str = ""
    verified_at: str = ""
    anchored_at: str = ""
    key_id: str = ""

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL, page=True)
    async def load(self) -> None:
        """For the page, whose own load has filled the frame and watches."""
        async with self._ctx() as octx:
            overview = await audit_evidence.get_overview(octx)
        self._show(overview)

    @rx.event
    @needs(actions.OP_AUDIT_READ_ALL)
    async def check_chains(self) -> EventSpec:
        async with self._ctx() as octx:
            await audit_evidence.request_check(octx)
        return rx.toast.info(
            "The chains are verified in the background.", description="This page updates automatically."
        )

    def _show(self, overview: ChainOverview) -> None:
        self.alerts = [alert_row(alert) for alert in overview.alerts]
        self.is_late = overview.late_count > 0
        verified = overview.tenant_count - overview.late_count
        tenants = plural(overview.tenant_count, "tenant")
        self.tenants_text = (
            f"{verified:,} of {tenants} verified within a day"
            if overview.tenant_count
            else "None verified yet"
        )
        self.operators_text = plural(overview.operator_events, "event")
        self.verified_at = _to_text(overview.operators_verified_at)
        self.anchored_at = _to_text(overview.anchored_at)
        self.key_id = overview.key_id
        self.loaded = True


def _to_text(at: Any) -> str:  # a datetime or None
    return at.isoformat() if at is not None else ""


def chains_tab() -> rx.Component:
    state = ChainsState
    check = button(
        "Verify all now",
        glyph="link",
        on_click=state.check_chains,
        data_once="true",
        data_testid="check-chains",
    )
    description = small(
        "Every chain is verified once a day, and its end is anchored outside the database every 15 minutes.",
        class_name="grow",
    )
    content = rx.el.div(status_panel(), alerts_panel(), class_name="section")
    return rx.el.div(
        rx.el.div(description, check, class_name="row wrap"),
        rx.cond(state.loaded, content, panel(skeleton_rows(4), name="Chains")),
        class_name="section",
    )


def status_panel() -> rx.Component:
    state = ChainsState

    def moment(at: Any, text: str) -> rx.Component:
        return rx.cond(at != "", rx.el.span(text, local_time(at, "", "moment")), rx.el.span("Not yet"))

    tenants_badge = rx.cond(state.is_late, badge("Late", "warn"), badge("On time", "ok"))
    operators = rx.el.span(state.operators_text, ", ", moment(state.verified_at, "verified "))
    key = rx.el.span(
        "Signed with the key ", code(state.key_id), ". ", moment(state.anchored_at, "Last anchor ")
    )
    rows = rx.el.ul(
        rx.el.li(text_with_note(strong("Tenants"), small(state.tenants_text)), tenants_badge),
        rx.el.li(text_with_note(strong("Operator audit log"), small(operators))),
        rx.el.li(text_with_note(strong("Anchors"), small(key))),
        class_name="list",
        data_testid="chains",
    )
    return panel(rows, title="Verification")


def alerts_panel() -> rx.Component:
    def line(row: AlertRow) -> rx.Component:
        title = rx.cond(
            row.url != "", link(row.title, row.url, class_name="strong plain-link"), strong(row.title)
        )
        return rx.el.li(
            text_with_note(title, small(row.note)), small("Since ", local_time(row.since, "", "moment"))
        )

    alerts = rx.el.ul(rx.foreach(ChainsState.alerts, line), class_name="list", data_testid="chain-alerts")
    nothing = empty_state(
        "All chains are intact", "Changed, deleted and replaced events appear here.", glyph="circle-check"
    )
    return panel(rx.cond(has_items(ChainsState.alerts), alerts, nothing), title="Problems")
