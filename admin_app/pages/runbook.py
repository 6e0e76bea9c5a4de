"""/health/[alert]: when an alert fires, and what to do then."""

from dataclasses import dataclass, field

import reflex as rx

from admin_app.frame import page
from admin_app.shell import PageState
from shared.access import actions
from shared.backoffice import runbooks
from shared.backoffice.alerts.alert_catalog import ALERTS, Severity
from shared.ui.authorize import needs
from shared.ui.banners import skeleton_block, skeleton_rows
from shared.ui.object_state import ObjectState
from shared.ui.panels import panel
from shared.ui.shell import link, page_header
from shared.ui.tables import has_items


@dataclass(frozen=True, kw_only=True)
class PartRow:
    title: str
    paragraphs: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


class RunbookState(ObjectState, PageState):
    loaded: bool = False
    title: str = ""
    description: str = ""
    parts: list[PartRow] = []

    @rx.event
    @needs(actions.OP_HEALTH_READ, page=True)
    async def load(self) -> None:
        name = self._shown_path.strip("/").partition("/")[2]
        async with self._open_page(RunbookState.load) as octx:
            parts = runbooks.get_runbook(octx, name)
        alert = ALERTS[name]
        urgency = "Look now." if alert.severity is Severity.PAGE else "Check it within a day."
        self.title = alert.title
        self.description = f"Fires when {alert.condition}. Owner: {alert.owner}. {urgency}"
        self.parts = [
            PartRow(title=part.title, paragraphs=part.paragraphs, steps=part.steps) for part in parts
        ]
        self.loaded = True


def part_panel(part: PartRow) -> rx.Component:
    paragraphs = rx.foreach(part.paragraphs, lambda text: rx.el.p(text))
    steps = rx.el.ol(rx.foreach(part.steps, lambda text: rx.el.li(rx.el.span(text))), class_name="list")
    return rx.el.section(
        rx.el.div(rx.el.h2(part.title), class_name="bar"),
        rx.cond(has_items(part.paragraphs), rx.el.div(paragraphs, class_name="body")),
        rx.cond(has_items(part.steps), steps),
        class_name="hull",
        aria_label=part.title,
    )


@rx.page(route="/health/[alert]", title="Runbook · Operator", on_load=RunbookState.load)
def runbook_page() -> rx.Component:
    return page(
        page_header(
            rx.cond(RunbookState.loaded, RunbookState.title, skeleton_block("160px", "24px")),
            breadcrumbs=link("Health", "/health", class_name="link"),
            description=rx.el.span(RunbookState.description),
        ),
        rx.cond(
            RunbookState.loaded,
            rx.fragment(rx.foreach(RunbookState.parts, part_panel)),
            panel(skeleton_rows(4), name="Runbook"),
        ),
        current="Health",
        load=RunbookState.load,
    )
