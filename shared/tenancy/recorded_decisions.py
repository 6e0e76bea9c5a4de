"""Recorded decisions: find one by its id or its request, and explain it as of its time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from shared.access import actions, decision_records, policy
from shared.access.actions import ACTIONS, Action
from shared.access.models import DecisionRecord
from shared.access.refusal_codes import Reason
from shared.access.refusal_messages import build_refusal
from shared.audit.models import AuditEvent
from shared.core import registry
from shared.core.context import Ctx, Surface
from shared.core.errors import Invalid, NotFound
from shared.core.ids import is_id
from shared.entitlements.evaluate import AccessSubject
from shared.tenancy import decision_history, own_decisions
from shared.tenancy.decision_history import Explanation
from shared.tenancy.own_decisions import DecisionLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedDecision:
    """`layers`: as of its time; None where they can't be computed, as for tokens and operators.

    `detail` and `next_step`: of the refusal, "" where it was allowed or where the layers say something else, because an
    object's state or a limit under its lock refused.
    """

    id: str
    at: datetime
    surface: Surface
    actor_type: str
    actor_id: str
    actor_name: str  # as it is now; the id where there is no name
    holder_id: str
    action: str
    action_text: str  # completes "You don't have permission to …"
    allowed: bool
    layer: str
    reason: str
    plan_version: str
    billing_status: str
    request_id: str
    detail: str
    next_step: str
    layers: Sequence[DecisionLayer] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSearch:
    """`decision`: the one that is shown. `others`: of the same request."""

    decision: RecordedDecision
    others: Sequence[DecisionRecord]


async def get(ctx: Ctx, decision_id: str) -> RecordedDecision:
    """Raises NotFound, including for one that was deleted after its retention."""
    policy.require(ctx, actions.DECISION_READ)
    record = await decision_records.find_record(ctx, decision_id)
    if record is None:
        raise _not_found()
    return await explain_record(ctx, record)


async def search(ctx: Ctx, text: str) -> DecisionSearch:
    """By the id of a decision or of a request, whose latest refusal is shown first. Raises Invalid, NotFound."""
    policy.require(ctx, actions.DECISION_READ)
    return await search_records(ctx, text)


async def search_records(ctx: Ctx, text: str) -> DecisionSearch:
    """As `search`. The caller checks the permission."""
    searched_id = parse_search(text)
    shown = await decision_records.find_record(ctx, searched_id)
    request_id = shown.request_id if shown is not None else searched_id
    records = await decision_records.list_of_requests(ctx, [request_id])
    if shown is None and not records:
        raise _not_found()
    shown = shown or max(records, key=lambda record: (not record.allowed, record.id))
    others = [record for record in records if record.id != shown.id]
    return DecisionSearch(decision=await explain_record(ctx, shown), others=others)


def parse_search(text: str) -> str:
    """The id. Raises Invalid for any text but the id of a decision or a request."""
    searched_id = text.strip()
    if not decision_records.is_record_id(searched_id) and not is_id("req", searched_id):
        raise Invalid("This isn’t an ID of a decision.", "Copy it again. It starts with dcn_ or req_.")
    return searched_id


async def explain_record(ctx: Ctx, record: DecisionRecord) -> RecordedDecision:
    """With its layers as of its time. The caller checks the permission."""
    action, name, detail, next_step = ACTIONS.get(record.action), "", "", ""
    explanation = await _explain(ctx, record, action) if action is not None else None
    layers: list[DecisionLayer] | None = None
    if action is not None and explanation is not None:
        name, layers = (
            explanation.trace.inputs.subject.person_name,
            own_decisions.build_layers(explanation.trace),
        )
        if record.reason == Reason.MISSING_SCOPE:
            refusal = build_refusal(Reason.MISSING_SCOPE, action, ctx)
            detail, next_step = refusal.detail, refusal.next_step
            layers[0] = own_decisions.build_scope_layer(layers[0], record.actor_id, detail)
        elif explanation.trace.decision.reason == record.reason:
            detail, next_step = explanation.detail, explanation.next_step
    return RecordedDecision(
        id=record.id,
        at=record.at,
        surface=cast(Surface, record.surface),  # the database checks it
        actor_type=record.actor_type,
        actor_id=record.actor_id,
        actor_name=name or record.actor_id,
        holder_id=record.holder_id,
        action=record.action,
        action_text=action.description if action is not None else record.action,
        allowed=record.allowed,
        layer=record.layer,
        reason=record.reason,
        plan_version=record.plan_version,
        billing_status=record.billing_status,
        request_id=record.request_id,
        detail=detail,
        next_step=next_step,
        layers=layers,
    )


async def _explain(ctx: Ctx, record: DecisionRecord, action: Action) -> Explanation | None:
    """None where nothing says what the actor could do at that time."""
    try:
        subject = await _get_subject(ctx, record)
        if subject is None:
            return None
        if record.reason == Reason.MISSING_SCOPE:
            subject = subject.limit_permissions(subject.permissions - {action.permission})
        return await decision_history.explain_for_subject(ctx, subject, action, at=record.at)
    except NotFound:
        return None


async def _get_subject(ctx: Ctx, record: DecisionRecord) -> AccessSubject | None:
    """Raises NotFound."""
    if record.actor_type == "job":
        return await decision_history.get_job_subject_at(ctx, record.actor_id, record.at)
    if is_id("usr", record.holder_id):
        return await decision_history.get_subject_at(ctx, record.holder_id, record.at)
    if record.holder_id:
        return await decision_history.get_account_subject_at(ctx, record.holder_id, record.at)
    return None


async def find_event_decisions(ctx: Ctx, events: Sequence[AuditEvent]) -> Mapping[str, str]:
    """The ids of the records of what allowed these events, by the id of the event. The caller checks the permission.

    Of several in one request it is the one whose action records such events, or else the last.
    """
    request_ids = sorted({event.request_id for event in events})
    if not request_ids:
        return {}
    by_asker: dict[tuple[str, str], list[DecisionRecord]] = {}
    for record in await decision_records.list_of_requests(ctx, request_ids):
        if record.allowed:
            by_asker.setdefault((record.request_id, record.actor_id), []).append(record)
    recorded = {name: types for module in registry.list_modules() for name, types in module.recorded.items()}
    decision_ids = {}
    for event in events:
        records = by_asker.get((event.request_id, event.actor_id), [])
        fitting = [record for record in records if event.action in recorded.get(record.action, ())] or records
        if fitting:
            decision_ids[event.id] = fitting[-1].id
    return decision_ids


def _not_found() -> NotFound:
    return NotFound("This decision doesn’t exist.", "Check its ID. Decisions are kept for 90 days.")
