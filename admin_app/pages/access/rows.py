"""The rows of an answer."""

from dataclasses import dataclass
from dataclasses import field as filled

from admin_app import addresses
from shared.access.actions import ACTIONS
from shared.backoffice.explanation_causes import Cause
from shared.backoffice.explanations import ExplanationComparison, LayerChange
from shared.backoffice.recent_refusals import RecentRefusal
from shared.entitlements import explain
from shared.tenancy.decision_history import Explanation
from shared.ui.decision_trace import (
    DecisionOutcome,
    TraceRow,
    describe_outcome,
    trace_row,
    trace_rows,
)


@dataclass(frozen=True, kw_only=True)
class TenantChoiceRow:
    id: str
    name: str
    details: str
    href: str


@dataclass(frozen=True, kw_only=True)
class AnswerRow:
    outcome: DecisionOutcome = filled(default_factory=DecisionOutcome)
    at: str = ""
    plan: str = ""  # plan
    rows: list[TraceRow] = filled(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class CauseRow:
    text: str
    actor: str
    reason: str
    at: str
    source: str
    href: str  # of the audit event, "" without one


@dataclass(frozen=True, kw_only=True)
class ChangedLayerRow:
    question: str
    before: TraceRow
    after: TraceRow
    causes: list[CauseRow] = filled(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RecentRefusalRow:
    id: str
    action_text: str
    reason: str
    plan: str
    person: str
    count: str
    at: str
    request_id: str
    audit_url: str
    explain_url: str


def answer_row(answer: Explanation) -> AnswerRow:
    decision_outcome = describe_outcome(answer.trace.decision, answer.detail, answer.next_step)
    return AnswerRow(
        outcome=decision_outcome,
        at=answer.at.isoformat(),
        plan=answer.plan_name,
        rows=trace_rows(answer.trace),
    )


def changed_layer_row(
    layer: LayerChange, comparison: ExplanationComparison, tenant_id: str
) -> ChangedLayerRow:
    before, after = comparison.before.trace, comparison.after.trace
    causes = [cause_row(cause, tenant_id) for cause in layer.causes]
    return ChangedLayerRow(
        question=explain.describe_question(layer.after, after.inputs),
        before=trace_row(layer.before, before),
        after=trace_row(layer.after, after),
        causes=causes,
    )


def cause_row(cause: Cause, tenant_id: str) -> CauseRow:
    href = addresses.request_url(tenant_id, cause.request_id) if cause.request_id else ""
    return CauseRow(
        text=cause.text,
        actor=cause.actor_name or "Scheduled",
        reason=cause.reason,
        at=cause.at.isoformat(),
        source=cause.source_id,
        href=href,
    )


def recent_refusal_row(refusal: RecentRefusal, tenant_id: str) -> RecentRefusalRow:
    return RecentRefusalRow(
        id=refusal.id,
        action_text=f"{refusal.action_text[:1].upper()}{refusal.action_text[1:]}"
        if refusal.action_text
        else "Internal error",
        reason=refusal.reason.replace("_", " ").capitalize(),
        plan=refusal.plan,
        person=refusal.person_name,
        count=f"{refusal.count:,}",
        at=refusal.at.isoformat(),
        request_id=refusal.request_id,
        audit_url=addresses.request_url(tenant_id, refusal.request_id),
        explain_url=_explain_url(refusal, tenant_id),
    )


def _explain_url(refusal: RecentRefusal, tenant_id: str) -> str:
    """ "" where nothing can be explained, as for an internal error."""
    if refusal.decision_id:
        return addresses.decision_url(tenant_id, refusal.decision_id)
    if not refusal.user_id or refusal.action not in ACTIONS:
        return ""
    at = refusal.at.isoformat().replace("+00:00", "Z")
    return addresses.explain_url(tenant_id, refusal.user_id, refusal.action, at=at)
