"""A decision layer by layer, and a change with its values before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access.decision import Decision
from shared.access.refusal_codes import Reason
from shared.entitlements import explain
from shared.entitlements.evaluate import DecisionTrace, TraceLine, Verdict
from shared.tenancy.own_decisions import DecisionLayer
from shared.ui.controls import icon
from shared.ui.panels import small, strong

ANSWER_LABELS = {
    Verdict.YES: "Yes",
    Verdict.NO: "No",
    Verdict.WARN: "Yes, for now",
    Verdict.IDLE: "Not applicable",
    Verdict.OVERRULED: "Overruled",
}
VERDICT_ICONS = {
    Verdict.YES: "check",
    Verdict.NO: "x",
    Verdict.WARN: "triangle-alert",
    Verdict.IDLE: "minus",
    Verdict.OVERRULED: "corner-right-down",
}
ALLOWED_TEXTS = {  # text of the box for an allowed action
    Reason.ALLOWED: "Allowed",
    Reason.BILLING_GRACE: "Allowed for now: a payment is overdue",
    Reason.LIMIT_WARNED: "Allowed, with a warning: above the limit",
}


@dataclass(frozen=True)
class TraceRow:
    """One layer of a decision."""

    layer: str
    question: str
    answer: str
    explanation: str
    source: str
    verdict: str
    decides: bool = False


@dataclass(frozen=True)
class DecisionOutcome:
    """As the person saw it. `tone`: "yes", "warn" or "no"."""

    text: str = ""
    next_step: str = ""
    tone: str = ""
    reason: str = ""


def trace_rows(trace: DecisionTrace) -> list[TraceRow]:
    return [trace_row(line, trace, decides=line.layer is trace.decided_by) for line in trace.lines]


def trace_row(line: TraceLine, trace: DecisionTrace, *, decides: bool = False) -> TraceRow:
    return TraceRow(
        layer=line.layer.value,
        question=explain.describe_question(line, trace.inputs),
        answer=ANSWER_LABELS[line.verdict],
        explanation=explain.describe_line(line, trace.inputs),
        source=line.source_id,
        verdict=line.verdict.value,
        decides=decides,
    )


def layer_rows(layers: Sequence[DecisionLayer]) -> list[TraceRow]:
    return [
        TraceRow(
            layer=layer.layer,
            question=layer.question,
            answer=ANSWER_LABELS[Verdict(layer.verdict)],
            explanation=layer.explanation,
            source=layer.source_id,
            verdict=layer.verdict,
            decides=layer.decides,
        )
        for layer in layers
    ]


def describe_outcome(decision: Decision, detail: str, next_step: str) -> DecisionOutcome:
    """`detail` and `next_step`: of the refusal, "" where nothing was refused."""
    if not decision.allowed:
        return DecisionOutcome(f"Refused. {detail}", next_step, "no", decision.reason.value)
    tone = "yes" if decision.reason is Reason.ALLOWED else "warn"
    return DecisionOutcome(ALLOWED_TEXTS[decision.reason], "", tone, decision.reason.value)


def outcome_box(outcome: Any) -> rx.Component:
    """The box with a `DecisionOutcome`, or a var of one."""
    return rx.el.div(
        rx.el.p(outcome.text, class_name="strong"),
        rx.cond(outcome.next_step != "", rx.el.p(outcome.next_step, class_name="small")),
        rx.el.p(rx.el.code(outcome.reason, class_name="mono"), class_name="small muted"),
        class_name="verdict",
        data_tone=outcome.tone,
        data_testid="verdict",
    )


def verdict_icon(verdict: Any) -> rx.Component:
    cases = [(key.value, icon(name)) for key, name in VERDICT_ICONS.items()]
    return rx.el.span(rx.match(verdict, *cases, icon("minus")), class_name="sign", aria_hidden="true")


def layer_list(rows: Any) -> rx.Component:
    """`TraceRow`s in the order in which they are asked, or a var of them."""

    def line(row: Any) -> rx.Component:
        source = rx.el.code(row.source, class_name="mono cut-anywhere")
        return rx.el.li(
            verdict_icon(row.verdict),
            strong(row.question),
            rx.el.span(row.answer, class_name="answer small strong"),
            small(row.explanation, " ", source),
            data_verdict=row.verdict,
            data_layer=row.layer,
            data_decides=rx.cond(row.decides, "true", "false"),
        )

    return rx.el.ol(rx.foreach(rows, line), class_name="trace", aria_label="Why, layer by layer")


def trace_panel(outcome: Any, rows: Any) -> rx.Component:
    """The verdict as the person saw it, then one line per layer."""
    return rx.el.div(outcome_box(outcome), layer_list(rows), class_name="why", data_testid="trace")


@dataclass(frozen=True)
class Change:
    name: str
    before: str
    after: str


def list_changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Only what differs, in words. Both sides come from the audit log and hold any JSON."""
    names = sorted(before.keys() | after.keys())
    return [
        Change(
            name.replace("_", " ").capitalize(),
            _format_value(before.get(name)),
            _format_value(after.get(name)),
        )
        for name in names
        if before.get(name) != after.get(name)
    ]


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_format_value(item) for item in value)
    return str(value)


def change_list(shown: Any) -> rx.Component:
    """A list of `Change` or a var of one. An empty side shows a text, because a blank could be a bug."""

    def side(value: Any, tag: Any) -> rx.Component:
        return rx.el.dd(rx.cond(value != "", tag(value), rx.el.span("–", class_name="muted")))

    def line(change: Any) -> rx.Component:
        return rx.el.div(
            rx.el.dt(change.name), side(change.before, rx.el.del_), side(change.after, rx.el.ins)
        )

    return rx.el.dl(rx.foreach(shown, line), class_name="diff")
