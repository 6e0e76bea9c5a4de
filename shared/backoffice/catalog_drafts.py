"""Plans and add-ons for operators: create, edit as a draft, publish, retire.

Saving a draft takes the `revision` that was read; a change by someone else in between is a Conflict. Published versions
never change. Publishing takes the digest of the previewed impact (`backoffice.impact`), so that only a previewed draft
is published.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import catalog_drafts_repository as repository
from shared.backoffice import impact
from shared.backoffice.impact import DraftImpact
from shared.backoffice.reasons import Reason, use_reason
from shared.core import live_events
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.displayed_text import find_problem, to_line
from shared.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound
from shared.core.stated_reason import clean_stated_reason
from shared.core.versions import compare_values
from shared.entitlements import plan_content
from shared.entitlements.catalog import FALLBACK_PLAN_KEY
from shared.entitlements.models import FlagRow, Plan, PlanVersion
from shared.entitlements.plan_content import PlanContent

KIND_TITLES = {"plan": "plan", "addon": "add-on"}
KEY_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,39}")
MAX_NAME_LENGTH, MAX_SENTENCE_LENGTH = 60, 200
ALL_TENANTS = "*"  # operators watch all tenants
DRAFT_REASON = "Change the catalog"  # of changes that customers don't see before publishing


@dataclass(frozen=True, slots=True)
class CatalogItem:
    plan: Plan
    published: Sequence[PlanVersion]  # oldest first
    draft: PlanVersion | None

    @property
    def newest(self) -> PlanVersion | None:
        return self.published[-1] if self.published else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishRequest:
    """What the operator confirmed after the preview of a draft's impact."""

    revision: int
    reason: str
    moves: bool  # whether tenants on earlier versions move to this one
    confirmed_digest: str  # `DraftImpact.digest` of the preview
    effective_at: datetime | None = None  # None: immediately


@dataclass(frozen=True, slots=True)
class OperatorCatalog:
    """All plans and add-ons, retired ones included; plans first, from the smallest to the largest."""

    items: Sequence[CatalogItem]
    flags: Sequence[FlagRow]  # that a plan may seed


async def list_catalog(octx: OperatorCtx) -> OperatorCatalog:
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    by_plan: dict[str, list[PlanVersion]] = {}
    for version in await repository.list_versions(octx.session):
        by_plan.setdefault(version.plan_id, []).append(version)
    items = [
        _build_item(plan, by_plan.get(plan.id, [])) for plan in await repository.list_plans(octx.session)
    ]
    return OperatorCatalog(items, await repository.list_flags(octx.session))


async def get_draft(octx: OperatorCtx, version_id: str) -> tuple[Plan, PlanVersion]:
    """The version with this id: a draft, or the version that it was published as. Raises NotFound."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    version = await repository.get_version(octx.session, version_id)
    plan = await repository.get_plan(octx.session, version.plan_id) if version else None
    if version is None or plan is None:
        raise _draft_not_found()
    return plan, version


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftDescription:
    title: str  # as in "Pro, version 3"
    changes: Sequence[
        tuple[str, str, str]
    ]  # (title, before, after) against the version before; "" for nothing


async def describe_draft(octx: OperatorCtx, version_id: str) -> DraftDescription:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    plan, draft = await get_draft(octx, version_id)
    versions = await repository.list_versions_of_plan(octx.session, plan.id)
    changes = plan_content.compare(_get_content_before(plan, versions), plan_content.from_version(draft))
    return DraftDescription(title=f"{plan.name}, version {draft.number}", changes=changes)


async def create_plan(
    octx: OperatorCtx, kind: str, key: str, name: str, sentence: str, *, for_tenant: str | None = None
) -> PlanVersion:
    """Creates a plan or add-on with an empty first draft that isn't offered yet. `for_tenant`: id; None for all
    tenants.

    Raises Invalid, NotFound for a tenant that does not exist, Conflict where the key is taken.
    """
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    key, name, sentence = key.strip(), to_line(name), to_line(sentence)
    _validate_texts(kind, key, name, sentence)
    plan = Plan(
        key=key,
        name=name,
        sentence=sentence,
        kind=kind,
        position=await repository.get_next_position(octx.session, kind),
        for_tenant=for_tenant or None,
        created_by=octx.actor.name,
    )
    violated_constraint = await repository.add_plan(octx.session, plan)
    if violated_constraint == "plan_key":
        raise Conflict(f"The key {key} is taken.", "Choose another key.")
    if violated_constraint:
        raise NotFound("This tenant doesn’t exist.", "Search for it in the list of tenants.")
    draft = await _add_draft(octx, plan, 1, plan_content.build_empty(kind))
    details = {"Key": key, "Sentence": sentence}
    if kind == "plan":
        _record_draft_event(octx, "plan.created", draft, plan, DRAFT_REASON, after=details)
    else:
        _record_draft_event(octx, "addon.created", draft, plan, DRAFT_REASON, after=details)
    await _publish_change(octx)
    return draft


async def open_draft(octx: OperatorCtx, plan_id: str) -> PlanVersion:
    """Opens a draft from the newest version. Raises NotFound, Conflict where a draft is open or the plan is retired."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    plan = await _lock_plan(octx, plan_id)
    versions = await repository.list_versions_of_plan(octx.session, plan.id)
    if versions and versions[0].status == "draft":
        raise Conflict(
            f"{versions[0].created_by} already opened a draft of {plan.name}.", "Continue with that draft."
        )
    number = versions[0].number + 1 if versions else 1
    content = plan_content.from_version(versions[0]) if versions else plan_content.build_empty(plan.kind)
    draft = await _add_draft(octx, plan, number, content)
    _record_draft_event(octx, "draft.opened", draft, plan, DRAFT_REASON)
    await _publish_change(octx)
    return draft


async def save_draft(octx: OperatorCtx, version_id: str, revision: int, content: PlanContent) -> PlanVersion:
    """Saves the draft; unchanged content is not a change.

    Raises Invalid, NotFound, and ChangedMeanwhile with both values for another revision.
    """
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    flags = {flag.key for flag in await repository.list_flags(octx.session)}
    draft, plan = await _lock_draft(octx, version_id)
    plan_content.validate(plan.kind, content, flags | set(draft.flags))
    before = plan_content.from_version(draft)
    if not (changes := plan_content.compare(before, content)):
        return draft
    _require_revision(draft, revision, {name: (old, new) for name, old, new in changes})
    plan_content.write_to_version(draft, content)
    draft.revision += 1
    draft.changed_at, draft.changed_by = now(), octx.actor.name
    octx.session.add(draft)
    _record_draft_event(
        octx,
        "draft.saved",
        draft,
        plan,
        DRAFT_REASON,
        before={name: old for name, old, _ in changes},
        after={name: new for name, _, new in changes},
    )
    await _publish_change(octx)
    return draft


async def discard_draft(octx: OperatorCtx, version_id: str, revision: int) -> None:
    """Raises NotFound, Conflict for another revision."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    draft, plan = await _lock_draft(octx, version_id)
    _require_revision(draft, revision)
    await octx.session.delete(draft)
    _record_draft_event(octx, "draft.discarded", draft, plan, DRAFT_REASON)
    await _publish_change(octx)


async def retire_plan(octx: OperatorCtx, plan_id: str, reason: Reason) -> None:
    """Stops offering it; tenants that have it keep it. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    reason_text = use_reason(octx, reason)
    await repository.lock_epoch(octx.session)
    plan = await _lock_plan(octx, plan_id)
    if plan.key == FALLBACK_PLAN_KEY and plan.for_tenant is None:
        raise Conflict(
            f"{plan.name} is the free plan for organisations that don’t pay.", "It can’t be retired."
        )
    versions = await repository.list_versions_of_plan(octx.session, plan.id)
    if versions and versions[0].status == "draft":
        raise Conflict(f"A draft of {plan.name} is open.", "Publish or discard it first.")
    plan.retired_at = now()
    octx.session.add(plan)
    details: dict[str, Any] = {"name": plan.name, **_tenant_details(plan.for_tenant)}
    audit_log.record_operator(octx, "plan.retired", plan.id, reason=reason_text, **details)
    await _publish_change(octx)


async def lock_catalog(octx: OperatorCtx) -> int:
    """Blocks publishing and flag changes until the transaction ends. Returns the epoch of the catalog."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    return await repository.lock_epoch(octx.session)


async def simulate_draft(
    octx: OperatorCtx, version_id: str, revision: int, *, moves: bool, effective_at: datetime | None = None
) -> DraftImpact:
    """The impact of publishing the draft. Raises Invalid, NotFound, Conflict for another revision than this."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    effective_at = require_future_date(effective_at)
    plan, draft = await get_draft(octx, version_id)
    if draft.status != "draft" or draft.revision != revision:
        raise Conflict(
            f"This draft of {plan.name} has changed since you opened it.", "Preview the impact again."
        )
    return await impact.simulate_publication(octx, plan, draft, moves=moves, effective_at=effective_at)


async def publish(octx: OperatorCtx, draft_id: str, request: PublishRequest) -> PlanVersion:
    """Publish the draft, with its impact computed now and recorded in the operator audit log. It needs approval.

    Raises Refused, Invalid, NotFound, and Conflict where the impact is no longer the one that was confirmed.
    """
    policy.require_operator(octx, actions.OP_CATALOG_PUBLISH)
    reason, effective_at = clean_stated_reason(request.reason), require_future_date(request.effective_at)
    moves = request.moves
    # Before the lock, so that no kill switch waits for the simulation. The digest is compared under the lock.
    plan, draft = await get_draft(octx, draft_id)
    _require_unpublished(draft, plan)
    _require_revision(draft, request.revision)
    current = await impact.simulate_publication(octx, plan, draft, moves=moves, effective_at=effective_at)
    epoch = await lock_catalog(octx)
    draft, plan = await _lock_draft(octx, draft_id)
    _require_revision(draft, request.revision)
    if plan.retired_at is not None:
        raise Conflict(f"{plan.name} is retired.", "No more versions of it can be published.")
    content = plan_content.from_version(draft)
    if plan.kind == "addon" and plan_content.is_empty(content):
        raise Invalid("This add-on adds nothing.", "Add a feature or a limit first.")
    if request.confirmed_digest != plan_content.compute_digest(draft, epoch, moves, effective_at):
        raise Conflict(
            "The catalog or its tenants changed since you previewed the impact.", "Preview the impact again."
        )
    versions = await repository.list_versions_of_plan(octx.session, plan.id)
    before = _get_content_before(plan, versions)
    draft.status, draft.moves, draft.reason = "published", moves, reason
    draft.published_at, draft.published_by = now(), octx.actor.name
    draft.effective_at = effective_at or draft.published_at
    octx.session.add(draft)
    changes = plan_content.compare(before, content)
    _record_draft_event(
        octx,
        "draft.published",
        draft,
        plan,
        reason,
        before={name: old for name, old, _ in changes},
        after={name: new for name, _, new in changes},
        in_force_from=f"{draft.effective_at:%-d %B %Y, %H:%M} UTC",
        existing_tenants="move" if moves else "stay",
        effect=current.report.numbers,
    )
    await _publish_change(octx)
    return draft


def _get_content_before(plan: Plan, versions: Sequence[PlanVersion]) -> PlanContent:
    """`versions`: newest first; the first one is the draft."""
    return (
        plan_content.from_version(versions[1]) if len(versions) > 1 else plan_content.build_empty(plan.kind)
    )


def require_future_date(effective_at: datetime | None) -> datetime | None:
    """Raises Invalid for a past time, or one without a time zone."""
    if effective_at is not None and (effective_at.tzinfo is None or effective_at <= now()):
        raise Invalid(
            "This date is in the past.",
            "Choose a later date, or leave it empty to publish now.",
            fields={"effective_at": "Must be in the future"},
        )
    return effective_at


def _build_item(plan: Plan, versions: Sequence[PlanVersion]) -> CatalogItem:
    published = [version for version in versions if version.status == "published"]
    return CatalogItem(
        plan, published, next((version for version in versions if version.status == "draft"), None)
    )


def _validate_texts(kind: str, key: str, name: str, sentence: str) -> None:
    errors = {}
    if kind not in KIND_TITLES:
        errors["kind"] = "Choose a plan or an add-on."
    if not KEY_PATTERN.fullmatch(key):
        errors["key"] = (
            "A key can have up to 40 lower-case letters, digits, - and _, and starts with a letter."
        )
    if problem := find_problem(name, noun="name", missing="Enter a name.", max_length=MAX_NAME_LENGTH):
        errors["name"] = problem
    if problem := find_problem(sentence, noun="description", missing="", max_length=MAX_SENTENCE_LENGTH):
        errors["sentence"] = problem
    if errors:
        raise Invalid(
            " ".join(errors.values()), "Nothing was created. Correct it and try again.", fields=errors
        )


async def _add_draft(octx: OperatorCtx, plan: Plan, number: int, content: PlanContent) -> PlanVersion:
    author = octx.actor.name
    draft = PlanVersion(
        plan_id=plan.id, for_tenant=plan.for_tenant, number=number, created_by=author, changed_by=author
    )
    plan_content.write_to_version(draft, content)
    octx.session.add(draft)
    await octx.session.flush()
    return draft


async def _lock_plan(octx: OperatorCtx, plan_id: str) -> Plan:
    plan = await repository.lock_plan(octx.session, plan_id)
    if plan is None:
        raise NotFound("This plan or add-on doesn’t exist.", "Reload the page.")
    if plan.retired_at is not None:
        raise Conflict(f"{plan.name} is retired.", "Create a new plan or add-on.")
    return plan


async def _lock_draft(octx: OperatorCtx, version_id: str) -> tuple[PlanVersion, Plan]:
    draft = await repository.lock_version(octx.session, version_id)
    plan = await repository.get_plan(octx.session, draft.plan_id) if draft else None
    if draft is None or plan is None:
        raise _draft_not_found()
    _require_unpublished(draft, plan)
    return draft, plan


def _require_unpublished(draft: PlanVersion, plan: Plan) -> None:
    if draft.status == "published":
        raise Conflict(
            f"{draft.published_by} published version {draft.number} of {plan.name} in the meantime.",
            "Open a new draft for further changes.",
        )


def _draft_not_found() -> NotFound:
    return NotFound("This draft was discarded.", "Open a new draft.")


def _require_revision(
    draft: PlanVersion, revision: int, values: Mapping[str, tuple[object, object]] | None = None
) -> None:
    """`values`: of the draft and of the form, by what they are. Raises ChangedMeanwhile."""
    if draft.revision != revision:
        raise ChangedMeanwhile(
            "this draft",
            version=draft.revision,
            changed_by=draft.changed_by,
            changed_at=draft.changed_at,
            differences=compare_values(values or {}),
        )


def _record_draft_event(
    octx: OperatorCtx, action: str, version: PlanVersion, plan: Plan, reason: str, **details: Any
) -> None:
    audit_details = {
        "name": plan.name,
        "version": version.number,
        **_tenant_details(plan.for_tenant),
        **details,
    }
    audit_log.record_operator(octx, action, version.id, reason=reason, **audit_details)


def _tenant_details(tenant_id: str | None) -> dict[str, str]:
    return {"for_tenant": tenant_id} if tenant_id else {}


async def _publish_change(octx: OperatorCtx) -> None:
    """Reloads open pages of the catalog."""
    await octx.session.flush()
    await live_events.refresh_pages(octx.session, ALL_TENANTS, "catalog")
