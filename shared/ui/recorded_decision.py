"""A recorded decision with its layers, in both apps."""

from dataclasses import dataclass, field
from typing import Any

import reflex as rx

from shared.access.decision import DECISION_BY_REASON
from shared.access.refusal_codes import Reason
from shared.tenancy.recorded_decisions import RecordedDecision
from shared.ui.banners import local_time
from shared.ui.controls import icon_button
from shared.ui.decision_trace import (
    DecisionOutcome,
    TraceRow,
    describe_outcome,
    layer_list,
    layer_rows,
    outcome_box,
)
from shared.ui.panels import small
from shared.ui.tables import has_items

ACTOR_LABELS = {
    "user": "Person",
    "operator": "Operator",
    "job": "Job",
    "api_key": "API key",
    "external": "External identity",
}
SURFACE_LABELS = {
    "page": "a page",
    "rest": "the API",
    "job": "a background job",
    "scim": "SCIM",
    "cli": "the command line",
}
OTHER_STATE = "The state of the object decided, or a limit at that moment."


@dataclass(frozen=True, kw_only=True)
class DecisionRow:
    id: str = ""
    title: str = ""
    at: str = ""
    actor: str = ""  # kind and id, as in "API key key_01jz"
    surface: str = ""
    facts: str = ""
    request_id: str = ""
    outcome: DecisionOutcome = field(default_factory=DecisionOutcome)
    rows: list[TraceRow] = field(default_factory=list)


def decision_row(decision: RecordedDecision) -> DecisionRow:
    outcome = DECISION_BY_REASON[Reason(decision.reason)]
    detail = decision.detail or OTHER_STATE
    return DecisionRow(
        id=decision.id,
        title=f"{decision.actor_name}: {decision.action_text}",
        at=decision.at.isoformat(),
        actor=f"{ACTOR_LABELS[decision.actor_type]} {decision.actor_id}",
        surface=SURFACE_LABELS[decision.surface],
        facts=" · ".join(
            fact for fact in (decision.plan_version, decision.billing_status.replace("_", " ")) if fact
        ),
        request_id=decision.request_id,
        outcome=describe_outcome(outcome, detail, decision.next_step),
        rows=layer_rows(decision.layers or ()),
    )


def decision_panel(row: Any) -> rx.Component:
    """`row`: a var of a `DecisionRow`."""
    copy = icon_button("Copy decision ID", "copy", on_click=rx.set_clipboard(row.id))
    facts = small(
        local_time(row.at, "", "moment"),
        " from ",
        row.surface,
        " · ",
        row.actor,
        rx.cond(row.facts != "", rx.fragment(" · ", row.facts)),
        class_name="cut-anywhere",
    )
    ids = small(
        "Decision ",
        rx.el.code(row.id, class_name="mono"),
        " · Reference ",
        rx.el.code(row.request_id, class_name="mono"),
        class_name="cut-anywhere",
    )
    no_layers = small("What this actor could do at that time isn’t recorded.")
    layers = rx.cond(has_items(row.rows), layer_list(row.rows), no_layers)
    return rx.el.section(
        rx.el.div(rx.el.h2(row.title), copy, class_name="bar"),
        rx.el.div(
            rx.el.div(facts, ids, outcome_box(row.outcome), layers, class_name="why"), class_name="body"
        ),
        class_name="hull",
        aria_label="Decision",
        data_testid="decision",
    )
