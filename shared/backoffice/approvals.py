"""Approval by a second operator: ask for it, approve, decline or withdraw.

The action is carried out once, in the transaction that approves it, as its requester and with what both may do. Before, what
it would change is read again: where that differs from what the requester was shown, nothing happens and the request stays.
The row of the request is locked first, so that of two decisions one is a Conflict.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.access import actions, policy
from shared.access.actions import OPERATOR_ACTIONS, OperatorAction
from shared.access.roles import OPERATOR_ROLES
from shared.audit import audit_log
from shared.backoffice import approvals_repository as repository
from shared.backoffice.approval_kinds import (
    APPROVAL_KINDS,
    ApprovalKind,
    ApprovalPayload,
    ApprovalPreview,
    PreviewLine,
    compute_digest,
)
from shared.backoffice.models import ApprovalState, OperatorApproval
from shared.backoffice.reasons import Reason, state_reason, use_reason
from shared.core import live_events
from shared.core.config import settings
from shared.core.context import Approval, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, DomainError, NotFound, Refused
from shared.core.paging import Page, build_page, clamp_limit, map_page
from shared.core.stated_reason import clean_stated_reason
from shared.identity.models import Operator
from shared.tenancy import entry

LIFETIME = timedelta(hours=24)
MAX_WAITING = 50  # of one operator
TOPIC, ALL_PAGES = "approvals", "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """`approval_id`: of the request; "" where the settings require no second operator, and the action is carried out."""

    approval_id: str
    subject: str

    @property
    def is_waiting(self) -> bool:
        return bool(self.approval_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView:
    id: str
    action: OperatorAction
    subject: str
    reason: str
    requested_by_name: str
    requested_at: datetime
    expires_at: datetime
    state: ApprovalState
    decided_by_name: str
    decided_at: datetime | None
    decision_reason: str
    is_own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDetail:
    """`lines`: what the requester was shown. `effects`: as of now. `obstacle`: why this operator can't approve it."""

    view: ApprovalView
    lines: Sequence[PreviewLine]
    effects: Sequence[PreviewLine]
    obstacle: str
    digest: str


async def submit(
    octx: OperatorCtx, action: OperatorAction, payload: ApprovalPayload, reason: Reason
) -> Submission:
    """Ask for approval, or carry the action out where the settings require no second operator.

    Raises Refused, Conflict where a request about the same object waits, and what the service of the action raises.
    """
    policy.require_operator(octx, action, is_request=True)
    reason_text = use_reason(octx, reason, payload.tenant_id)
    kind = _get_kind(action.name)
    if not await _is_second_required(octx, action):
        await kind.execute(entry.act_without_second(octx, action), payload, reason)
        return Submission(approval_id="", subject="")
    _require_session(octx)
    preview = await kind.preview(octx, payload)
    await repository.expire_old(octx.session)
    if await repository.count_waiting(octx.session, octx.actor_id) >= MAX_WAITING:
        raise Conflict(f"{MAX_WAITING} of your requests are waiting.", "Withdraw those that you don’t need.")
    approval = OperatorApproval(
        action=action.name,
        object_id=preview.object_id,
        subject=preview.subject,
        payload=payload.model_dump(mode="json"),
        shown=[asdict(line) for line in preview.lines],
        digest=compute_digest(action.name, payload, preview),
        reason=reason_text,
        requested_by=octx.actor_id,
        requested_by_name=octx.actor.name,
        expires_at=now() + LIFETIME,
    )
    if not await repository.add(octx.session, approval):
        raise Conflict(
            f"A request about {preview.subject} is already waiting.", "Open it in the list of approvals."
        )
    _record(octx, "approval.requested", approval, reason_text, digest=approval.digest)
    await _publish_change(octx)
    return Submission(approval_id=approval.id, subject=preview.subject)


async def list_approvals(
    octx: OperatorCtx, *, waiting: bool, after: str = "", limit: int = 50
) -> Page[ApprovalView]:
    """Newest first: those that wait, or the others. Raises Invalid for an unknown page."""
    policy.require_operator(octx, actions.OP_APPROVAL_READ)
    limit = clamp_limit(limit)
    approvals = await repository.list_approvals(
        octx.session, waiting=waiting, at=now(), after=after, limit=limit + 1
    )
    page = build_page(approvals, limit=limit, cursor_of=repository.get_cursor)
    return map_page(page, lambda approval: _build_view(octx, approval))


async def get_approval(octx: OperatorCtx, approval_id: str) -> ApprovalDetail:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_APPROVAL_READ)
    approval = await repository.get_approval(octx.session, approval_id)
    if approval is None:
        raise _not_found()
    effects: Sequence[PreviewLine] = ()
    obstacle = ""
    try:
        await _require_decidable(octx, approval)
        effects = (await _require_unchanged(octx, approval)).effects
        _require_other_operator(octx, approval)
    except DomainError as error:
        obstacle = f"{error.detail} {error.next_step}"
    return ApprovalDetail(
        view=_build_view(octx, approval),
        lines=[PreviewLine(**line) for line in approval.shown],
        effects=effects,
        obstacle=obstacle,
        digest=approval.digest,
    )


async def approve(octx: OperatorCtx, approval_id: str, reason: str) -> ApprovalView:
    """Carry out the action. Nothing has changed, and the request still waits, where this raises.

    Raises Invalid, NotFound, Refused for one's own request or without the permission of the action, Conflict for a request
    that has expired or was decided, or whose object has changed, and what the service of the action raises.
    """
    policy.require_operator(octx, actions.OP_APPROVAL_DECIDE)
    reason_text = clean_stated_reason(reason)
    approval = await _lock(octx, approval_id)
    await _require_decidable(octx, approval)
    _require_other_operator(octx, approval)
    requester = await _lock_requester(octx, approval)
    await _require_unchanged(octx, approval)
    _decide(octx, approval, ApprovalState.APPROVED, reason_text)
    await octx.session.flush()
    _record(octx, "approval.approved", approval, reason_text, requested_by=approval.requested_by_name)
    requester_octx = entry.act_for_requester(
        octx, requester, Approval(approval.id, approval.action, octx.actor.name)
    )
    view = _build_view(octx, approval)
    kind, payload = _get_kind(approval.action), _read_payload(approval)
    await kind.execute(
        requester_octx, payload, state_reason(requester_octx, approval.reason, tenant_id=payload.tenant_id)
    )
    await _publish_change(octx)
    return view


async def decline(octx: OperatorCtx, approval_id: str, reason: str) -> ApprovalView:
    """Raises Invalid, NotFound, Refused for one's own request, Conflict for one that doesn't wait."""
    policy.require_operator(octx, actions.OP_APPROVAL_DECIDE)
    reason_text = clean_stated_reason(reason)
    approval = await _lock(octx, approval_id)
    await _require_decidable(octx, approval)
    _require_other_operator(octx, approval)
    _decide(octx, approval, ApprovalState.DECLINED, reason_text)
    _record(octx, "approval.declined", approval, reason_text, requested_by=approval.requested_by_name)
    await _publish_change(octx)
    return _build_view(octx, approval)


async def withdraw(octx: OperatorCtx, approval_id: str, reason: str) -> ApprovalView:
    """For one's own request. Raises Invalid, NotFound, Refused, Conflict for one that doesn't wait."""
    policy.require_operator(octx, actions.OP_APPROVAL_READ)
    reason_text = clean_stated_reason(reason)
    approval = await _lock(octx, approval_id)
    _require_waiting(approval)
    _require_session(octx)
    if approval.requested_by != octx.actor_id:
        raise Refused(
            f"{approval.requested_by_name} has asked for it.", "Decline it instead.", reason="not_own_request"
        )
    _decide(octx, approval, ApprovalState.WITHDRAWN, reason_text)
    _record(octx, "approval.withdrawn", approval, reason_text)
    await _publish_change(octx)
    return _build_view(octx, approval)


async def _is_second_required(octx: OperatorCtx, action: OperatorAction) -> bool:
    mode = settings().approval_mode
    if mode != "one_operator":
        return mode == "required"
    deciding = {action.permission, actions.OP_APPROVAL_DECIDE.permission}
    roles = [key for key, role in OPERATOR_ROLES.items() if deciding <= role.permissions]
    return await repository.count_others(octx.session, octx.actor_id, roles) > 0


def _require_session(octx: OperatorCtx) -> None:
    """Raises Refused for keys and for the command line, which show no person."""
    if octx.key_id or not octx.session_hash:
        raise Refused(
            "Only operators who are signed in ask for approval and decide about it.",
            "Open the admin app.",
            reason="approval_needed",
        )


async def _lock(octx: OperatorCtx, approval_id: str) -> OperatorApproval:
    approval = await repository.lock_approval(octx.session, approval_id)
    if approval is None:
        raise _not_found()
    return approval


async def _lock_requester(octx: OperatorCtx, approval: OperatorApproval) -> Operator:
    """Raises Conflict where the requester no longer has the permission."""
    requester = await repository.lock_operator(octx.session, approval.requested_by)
    action = OPERATOR_ACTIONS[approval.action]
    if (
        requester is None
        or requester.disabled_at is not None
        or action.permission not in OPERATOR_ROLES[requester.role].permissions
    ):
        raise Conflict(
            f"{approval.requested_by_name} no longer has permission to {action.description}.",
            "Decline the request.",
        )
    return requester


async def _require_decidable(octx: OperatorCtx, approval: OperatorApproval) -> None:
    """Raises Refused without the permission of the action, Conflict for a request that doesn't wait."""
    _require_waiting(approval)
    _require_session(octx)
    policy.require_operator(octx, actions.OP_APPROVAL_DECIDE)
    policy.require_operator(octx, OPERATOR_ACTIONS[approval.action], is_request=True)


def _require_waiting(approval: OperatorApproval) -> None:
    state = _get_state(approval)
    if state is ApprovalState.EXPIRED:
        raise Conflict("This request has expired.", "Ask for approval again.")
    if state is not ApprovalState.WAITING:
        raise Conflict(f"{approval.decided_by_name} has {state.value} this request.", "Reload the page.")


def _require_other_operator(octx: OperatorCtx, approval: OperatorApproval) -> None:
    if approval.requested_by == octx.actor_id:
        raise Refused(
            "You can’t decide about your own request.",
            "Ask another operator, or withdraw it.",
            reason="own_request",
        )


async def _require_unchanged(octx: OperatorCtx, approval: OperatorApproval) -> ApprovalPreview:
    """What the action would change now. Raises Conflict where it isn't what the requester was shown."""
    payload = _read_payload(approval)
    preview = await _get_kind(approval.action).preview(octx, payload)
    if compute_digest(approval.action, payload, preview) != approval.digest:
        raise Conflict(
            f"{approval.subject} has changed since {approval.requested_by_name} asked for approval.",
            "Nothing was changed. Decline the request; it can be made again for the present state.",
            reason="changed_meanwhile",
        )
    return preview


def _decide(octx: OperatorCtx, approval: OperatorApproval, state: ApprovalState, reason: str) -> None:
    approval.state, approval.decision_reason = state, reason
    approval.decided_by, approval.decided_by_name = octx.actor_id, octx.actor.name
    approval.decided_at = now()
    octx.session.add(approval)


def _get_state(approval: OperatorApproval) -> ApprovalState:
    is_waiting = approval.state is ApprovalState.WAITING
    return ApprovalState.EXPIRED if is_waiting and approval.expires_at <= now() else approval.state


# Each kind has a payload of its own; `_read_payload` makes the one of its kind.
def _get_kind(action: str) -> ApprovalKind[Any]:
    return APPROVAL_KINDS[action]


def _read_payload(approval: OperatorApproval) -> ApprovalPayload:
    payload_class: type[ApprovalPayload] = _get_kind(approval.action).payload
    return payload_class.model_validate_json(json.dumps(approval.payload))


def _build_view(octx: OperatorCtx, approval: OperatorApproval) -> ApprovalView:
    return ApprovalView(
        id=approval.id,
        action=OPERATOR_ACTIONS[approval.action],
        subject=approval.subject,
        reason=approval.reason,
        requested_by_name=approval.requested_by_name,
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
        state=_get_state(approval),
        decided_by_name=approval.decided_by_name,
        decided_at=approval.decided_at,
        decision_reason=approval.decision_reason,
        is_own=approval.requested_by == octx.actor_id,
    )


def _record(octx: OperatorCtx, event: str, approval: OperatorApproval, reason: str, **details: str) -> None:
    audit_log.record_operator(
        octx,
        event,
        approval.id,
        reason=reason,
        name=approval.subject,
        approval_of=approval.action,
        object_id_of_change=approval.object_id,
        **details,
    )


def _not_found() -> NotFound:
    return NotFound("This request doesn’t exist.", "Choose one from the list of approvals.")


async def _publish_change(octx: OperatorCtx) -> None:
    await octx.session.flush()
    await live_events.refresh_pages(octx.session, ALL_PAGES, TOPIC)
