"""Why something is as it is: a decision layer by layer, and what a change was before and after."""

from dataclasses import dataclass
from typing import Any

import reflex as rx

from shared.access.decision import Decision
from shared.access.reasons import Reason
from shared.entitlements.explain import Line, Trace, Verdict
from shared.ui.form import icon
from shared.ui.hull import small, strong

ANSWERS = {
    Verdict.YES: "Yes",
    Verdict.NO: "No",
    Verdict.WARN: "Yes, for now",
    Verdict.IDLE: "Not asked",
    Verdict.OVERRULED: "Overruled",
}
SIGNS = {
    Verdict.YES: "check",
    Verdict.NO: "x",
    Verdict.WARN: "triangle-alert",
    Verdict.IDLE: "minus",
    Verdict.OVERRULED: "corner-right-down",
}
ALLOWED = {  # what stands in the box where nothing was refused
    Reason.ALLOWED: "Allowed",
    Reason.BILLING_GRACE: "Allowed, for now: a payment is overdue",
    Reason.LIMIT_WARNED: "Allowed, with a warning: above the limit",
}


@dataclass(frozen=True)
class TraceRow:
    """One layer of a decision."""

    layer: str
    question: str
    answer: str
    found: str
    source: str
    verdict: str
    decides: bool = False


@dataclass(frozen=True)
class Outcome:
    """As the person saw it. `tone`: "yes", "warn" or "no"."""

    said: str = ""
    next_step: str = ""
    tone: str = ""
    reason: str = ""


def trace_rows(trace: Trace) -> list[TraceRow]:
    return [trace_row(line, decides=line.layer is trace.decided_by) for line in trace.lines]


def trace_row(line: Line, *, decides: bool = False) -> TraceRow:
    return TraceRow(
        *(line.layer.value, line.question, ANSWERS[line.verdict], line.found, line.source),
        line.verdict.value,
        decides,
    )


def outcome(decision: Decision, detail: str, next_step: str) -> Outcome:
    """`detail` and `next_step`: of the refusal, "" where nothing was refused."""
    if not decision.allowed:
        return Outcome(f"Refused. {detail}", next_step, "no", decision.reason.value)
    tone = "yes" if decision.reason is Reason.ALLOWED else "warn"
    return Outcome(ALLOWED[decision.reason], "", tone, decision.reason.value)


def verdict(shown: Any) -> rx.Component:
    """The box with an `Outcome`, or a var of one."""
    return rx.el.div(
        rx.el.p(shown.said, class_name="strong"),
        rx.cond(shown.next_step != "", rx.el.p(shown.next_step, class_name="small")),
        rx.el.p(rx.el.code(shown.reason, class_name="mono"), class_name="small muted"),
        class_name="verdict",
        data_tone=shown.tone,
        data_testid="verdict",
    )


def sign(verdict: Any) -> rx.Component:
    cases = [(key.value, icon(name)) for key, name in SIGNS.items()]
    return rx.el.span(rx.match(verdict, *cases, icon("minus")), class_name="sign", aria_hidden="true")


def layers(rows: Any) -> rx.Component:
    """`TraceRow`s in the order in which they are asked, or a var of them."""

    def line(row: Any) -> rx.Component:
        source = rx.el.code(row.source, class_name="mono cut-anywhere")
        return rx.el.li(
            sign(row.verdict),
            strong(row.question),
            rx.el.span(row.answer, class_name="answer small strong"),
            small(row.found, " ", source),
            data_verdict=row.verdict,
            data_layer=row.layer,
            data_decides=rx.cond(row.decides, "true", "false"),
        )

    return rx.el.ol(rx.foreach(rows, line), class_name="trace", aria_label="Why, layer by layer")


def trace(shown: Any, rows: Any) -> rx.Component:
    """The verdict as the person saw it, then one line per layer."""
    return rx.el.div(verdict(shown), layers(rows), class_name="why", data_testid="trace")


@dataclass(frozen=True)
class Change:
    name: str
    before: str
    after: str


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """Only what differs, in words. Both sides come from the trail, so any JSON may be in them."""
    names = sorted(before.keys() | after.keys())
    return [
        Change(name.replace("_", " ").capitalize(), _word(before.get(name)), _word(after.get(name)))
        for name in names
        if before.get(name) != after.get(name)
    ]


def _word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_word(one) for one in value)
    return str(value)


def diff(shown: Any) -> rx.Component:
    """A list of `Change` or a var of one. An empty side says so, because a blank could be a bug."""

    def side(value: Any, tag: Any) -> rx.Component:
        return rx.el.dd(rx.cond(value != "", tag(value), rx.el.span("nothing", class_name="muted")))

    def line(change: Any) -> rx.Component:
        return rx.el.div(
            rx.el.dt(change.name), side(change.before, rx.el.del_), side(change.after, rx.el.ins)
        )

    return rx.el.dl(rx.foreach(shown, line), class_name="diff")
