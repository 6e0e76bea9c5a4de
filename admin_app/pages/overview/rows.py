"""Rows of the overview."""

from dataclasses import dataclass
from typing import Any

from admin_app import labels
from shared.backoffice.tenant_deletions import ListedDeletion
from shared.backoffice.tenant_directory_rows import UnfinishedProvisioning
from shared.tenancy import provisioning
from shared.tenancy.models import StepState


@dataclass(frozen=True, kw_only=True)
class UnfinishedStepRow:
    tenant_id: str
    name: str
    step: str
    note: str
    state: str
    tone: str
    since: str


@dataclass(frozen=True, kw_only=True)
class AttemptRow:
    id: str
    title: str
    note: str
    actor: str
    request_id: str
    count: str
    at: str


def unfinished_step_row(step: UnfinishedProvisioning) -> UnfinishedStepRow:
    state = labels.STEP_STATE_LABELS[step.state]
    tries = labels.plural(step.attempts, "try", "tries")
    note = f"{step.error} {tries}." if step.state is StepState.FAILED else ""
    step_title = provisioning.STEP_TITLES.get(step.step_key, step.step_key)
    return UnfinishedStepRow(
        tenant_id=step.tenant_id,
        name=step.name,
        step=step_title,
        note=note,
        state=state,
        tone=labels.tone_of(state),
        since=step.created_at.isoformat(),
    )


def attempt_row(event: Any) -> AttemptRow:
    title, _ = labels.SECURITY_EVENT_LABELS.get(event.kind, (event.kind.replace("_", " ").capitalize(), ""))
    note = f"Requested {event.subject}" if event.subject else ""
    return AttemptRow(
        id=event.id,
        title=title,
        note=note,
        actor=event.actor_id,
        request_id=event.request_id,
        count=f"{event.count:,}",
        at=event.at.isoformat(),
    )


def deletion_row(listed: ListedDeletion) -> tuple[str, str, str]:
    """Tenant, its address, what comes next."""
    next_step = f"on {listed.deletion.delete_at:%-d %B %Y}"
    if listed.is_deleted:
        next_step = "deleted; its data will be erased"
    elif listed.deletion.is_held:
        next_step = "delayed, because a subscription is still charged"
    return listed.tenant_name, f"/tenants/{listed.tenant_id}", next_step


def counter_row(kind: str, count: int) -> tuple[str, str, str, bool]:
    title, description = labels.SECURITY_EVENT_LABELS.get(
        kind, (kind.replace("_", " ").capitalize(), "Refused.")
    )
    return title, f"{count:,}", description, count > 0
