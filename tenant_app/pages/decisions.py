"""/t/[tenant]/decisions: a recorded decision with its layers, found by its id or its request. The address has the id."""

from dataclasses import dataclass
from typing import Annotated, Any

import reflex as rx
from pydantic import StringConstraints

from shared.access import actions
from shared.access.actions import ACTIONS
from shared.access.models import DecisionRecord
from shared.core.errors import Invalid, NotFound
from shared.tenancy import recorded_decisions
from shared.tenancy.recorded_decisions import DecisionSearch
from shared.ui.authorize import needs
from shared.ui.banners import banner, empty_state, local_time, skeleton_rows
from shared.ui.controls import button, form_field, text_input
from shared.ui.forms import Form
from shared.ui.panels import panel, small, strong, text_with_note
from shared.ui.recorded_decision import DecisionRow, decision_panel, decision_row
from shared.ui.shell import link, page_header
from shared.ui.tables import badge, has_items
from tenant_app.frame import page
from tenant_app.shell import PageState, decision_path

MAX_LENGTH = 60  # characters


class SearchForm(Form):
    searched_id: Annotated[str, StringConstraints(max_length=MAX_LENGTH, strip_whitespace=True)] = ""


@dataclass(frozen=True, kw_only=True)
class OtherRow:
    """Another decision of the same request."""

    id: str
    title: str
    at: str
    url: str
    status: str
    tone: str


def other_row(record: DecisionRecord, slug: str) -> OtherRow:
    action = ACTIONS.get(record.action)
    text = action.description if action else record.action
    return OtherRow(
        id=record.id,
        title=f"{text[:1].upper()}{text[1:]}",
        at=record.at.isoformat(),
        url=decision_path(slug, record.id),
        status="Allowed" if record.allowed else "Refused",
        tone="ok" if record.allowed else "bad",
    )


class DecisionsState(PageState):
    loaded: bool = False
    searched: str = ""
    problem: str = ""
    problem_step: str = ""
    decision: DecisionRow = DecisionRow()
    others: list[OtherRow] = []

    @rx.event
    @needs(actions.DECISION_READ, page=True)
    async def load(self) -> None:
        results: DecisionSearch | None = None
        problem: Invalid | NotFound | None = None
        self.searched = str(dict(self.router.url.query_parameters).get("id", ""))[:MAX_LENGTH].strip()
        async with self._open_page(DecisionsState.load) as ctx:
            try:
                if self.searched:
                    results = await recorded_decisions.search(ctx, self.searched)
            except (Invalid, NotFound) as error:
                problem = error
        self.problem, self.problem_step = (problem.detail, problem.next_step) if problem else ("", "")
        self.decision = decision_row(results.decision) if results else DecisionRow()
        self.others = [other_row(record, ctx.slug) for record in results.others] if results else []
        self.loaded = True

    @rx.event
    @needs(actions.DECISION_READ)
    async def search_decision(self, payload: dict[str, Any]) -> Any:
        """Puts the id into the address, so that a link repeats it. Raises Invalid."""
        searched = recorded_decisions.parse_search(SearchForm.read(payload).searched_id)
        if searched == self.searched:
            return DecisionsState.load
        return rx.redirect(decision_path(self._slug(), searched))


def search_form() -> rx.Component:
    field = form_field(
        "Decision or reference",
        text_input(
            "searched_id",
            placeholder="dcn_… or req_…",
            max_length=MAX_LENGTH,
            default_value=DecisionsState.searched,
            required=True,
        ),
        id="searched_id",
    )
    return rx.form(
        rx.el.div(field, button("Find", type="submit", kind="primary", glyph="search"), class_name="filters"),
        on_submit=DecisionsState.search_decision,
        data_asks="true",
        key=DecisionsState.searched,
        data_testid="decision-search",
    )


def other_line(row: OtherRow) -> rx.Component:
    title = link(strong(row.title), row.url, class_name="plain-link")
    return rx.el.li(
        text_with_note(title, small(local_time(row.at, "", "moment"))), badge(row.status, row.tone)
    )


@rx.page(route="/t/[tenant]/decisions", title="Why? · Bulkhead", on_load=DecisionsState.load)
def decisions_page() -> rx.Component:
    state = DecisionsState
    problem = banner(
        rx.fragment(rx.el.b(state.problem), " ", state.problem_step), tone="warn", glyph="triangle-alert"
    )
    others = panel(
        rx.el.ul(rx.foreach(state.others, other_line), class_name="list", data_testid="other-decisions"),
        title="Others in the same request",
    )
    nothing = empty_state(
        "No decision chosen",
        "Every refusal and every change is recorded for 90 days. Enter an ID to see why.",
        glyph="circle-help",
    )
    content = rx.cond(
        state.decision.id != "", decision_panel(state.decision), panel(nothing, name="Decision")
    )
    return page(
        page_header(
            "Why?",
            description="Find a decision by the ID that a refusal or an answer of the API names, and see why it was made.",
        ),
        rx.el.div(
            search_form(),
            rx.cond(state.problem != "", problem),
            rx.cond(state.loaded, content, panel(skeleton_rows(5), name="Decision")),
            rx.cond(has_items(state.others), others),
            class_name="stack",
        ),
        current="Why?",
        load=DecisionsState.load,
    )
