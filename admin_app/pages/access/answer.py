"""The parts of /access that show an answer."""

from typing import Any

import reflex as rx

from admin_app.pages.access.rows import CauseRow, ChangedLayerRow, RecentRefusalRow
from admin_app.pages.access.state import AccessState
from shared.backoffice import recent_refusals
from shared.ui.banners import empty_state, local_time
from shared.ui.controls import icon_button, search_input
from shared.ui.decision_trace import (
    TraceRow,
    layer_list,
    outcome_box,
    trace_panel,
    verdict_icon,
)
from shared.ui.panels import panel, small, strong
from shared.ui.shell import link
from shared.ui.tables import Column, badge, data_table, has_items, table_row

REFUSAL_COLUMNS = [
    Column("Refused"),
    Column("Applies to", hidden_on_phone=True),
    Column("Times", align_end=True, hidden_on_phone=True),
    Column("Last", align_end=True),
    Column("Explain", align_end=True, label_hidden=True),
]


def answer_panel() -> rx.Component:
    copy = icon_button("Copy link to this answer", "link", on_click=rx.set_clipboard(AccessState.permalink))
    context_text = small(
        AccessState.tenant_name,
        ", on ",
        AccessState.answer.plan,
        ", ",
        local_time(AccessState.answer.at, "", "moment"),
        ". Explaining a decision changes nothing.",
    )
    single_answer = rx.el.div(
        context_text, trace_panel(AccessState.answer.outcome, AccessState.answer.rows), class_name="why"
    )
    content = rx.cond(AccessState.earlier_answer.at != "", comparison_panel(), single_answer)
    return rx.el.div(
        rx.el.section(
            rx.el.div(rx.el.h2(AccessState.title), copy, class_name="bar"),
            rx.el.div(content, class_name="body"),
            class_name="hull",
            aria_label="Answer",
            data_testid="answer",
        )
    )


def comparison_panel() -> rx.Component:
    def side(answer: Any) -> rx.Component:
        return rx.el.div(
            small(local_time(answer.at, "", "moment"), ", on ", answer.plan),
            outcome_box(answer.outcome),
            class_name="section",
        )

    def detail(answer: Any) -> rx.Component:
        return rx.el.div(
            small(local_time(answer.at, "", "moment")), layer_list(answer.rows), class_name="section"
        )

    sides = rx.el.div(
        side(AccessState.earlier_answer), side(AccessState.answer), class_name="split", data_even="true"
    )
    layer_items = rx.el.ul(
        rx.foreach(AccessState.changed_layers, changed_layer_item), class_name="list", data_testid="changed"
    )
    no_changes = empty_state(
        "No differences", "No change between these two times affects this decision.", glyph="equal"
    )
    return rx.el.div(
        sides,
        panel(rx.cond(has_items(AccessState.changed_layers), layer_items, no_changes), title="What changed"),
        rx.el.details(
            rx.el.summary("Both answers, layer by layer", class_name="strong"),
            rx.el.div(
                detail(AccessState.earlier_answer),
                detail(AccessState.answer),
                class_name="split",
                data_even="true",
            ),
            class_name="more",
        ),
        class_name="why",
    )


def changed_layer_item(layer: ChangedLayerRow) -> rx.Component:
    def side(label: str, trace: TraceRow) -> rx.Component:
        return rx.el.div(
            verdict_icon(trace.verdict),
            small(rx.el.span(label, class_name="sr"), rx.el.b(trace.answer), ". ", trace.explanation),
            class_name="row",
            data_verdict=trace.verdict,
        )

    def cause(cause: CauseRow) -> rx.Component:
        audit_link = rx.cond(cause.href != "", rx.fragment(" ", link("Audit log", cause.href)))
        reason = rx.cond(cause.reason != "", rx.fragment(" Reason: ", cause.reason))
        return rx.el.li(
            strong(cause.text),
            small(
                cause.actor,
                ", ",
                local_time(cause.at, "", "moment"),
                ".",
                reason,
                " ",
                rx.el.code(cause.source, class_name="mono"),
                audit_link,
                class_name="cut-anywhere",
            ),
            class_name="two",
        )

    causes = rx.el.ul(rx.foreach(layer.causes, cause), class_name="causes")
    layer_text = rx.el.div(
        rx.el.h3(layer.question),
        rx.el.div(side("Before: ", layer.before), side("After: ", layer.after), class_name="trace"),
        rx.cond(has_items(layer.causes), causes),
        class_name="section",
    )
    return rx.el.li(layer_text)


def refusals_panel() -> rx.Component:
    def line(refusal: RecentRefusalRow) -> rx.Component:
        request_code = rx.el.code(refusal.request_id, class_name="mono cut-anywhere")
        action_cell = rx.el.div(
            rx.el.span(strong(refusal.action_text), " ", badge(refusal.reason, "bad"), class_name="row wrap"),
            small("On ", refusal.plan, " · ", link(request_code, refusal.audit_url, class_name="")),
            small(refusal.person, " · ", refusal.count, "×", class_name="only-small"),
            class_name="two",
        )
        explain_link = rx.cond(
            refusal.explain_url != "",
            link(
                rx.fragment("Why?", rx.el.span(" ", refusal.action_text, class_name="sr")),
                refusal.explain_url,
            ),
        )
        return table_row(
            REFUSAL_COLUMNS,
            action_cell,
            refusal.person,
            refusal.count,
            local_time(refusal.at, "", "ago"),
            explain_link,
        )

    table = data_table(
        "Recent denials", REFUSAL_COLUMNS, rx.foreach(AccessState.refusal_rows, line), test_id="refusals"
    )
    no_refusals = rx.cond(
        AccessState.request != "",
        empty_state("No denials found", "IDs begin with dcn_ or req_.", glyph="search-x"),
        empty_state("No recent denials", "Recent denials appear here.", glyph="shield-check"),
    )
    search_field = search_input(
        "Find a decision or request, dcn_… or req_…",
        on_change=AccessState.search_refusals.debounce(200),
        max_length=recent_refusals.MAX_SEARCH_LENGTH,
    )
    return panel(
        rx.cond(has_items(AccessState.refusal_rows), table, no_refusals),
        title="Recent denials",
        aside=search_field,
    )
