"""Plans and add-ons as operators keep them: created, changed as a draft, published, retired.

A draft is changed by one person at a time: whoever saves names the `revision` they read, and another's change in between
is a Conflict. What is published never changes. Publishing asks for the digest of the effect that was looked at
(`tenancy.blast_radius`), so that nobody publishes what they have not seen.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.access import actions, policy
from shared.audit import trail
from shared.core import notices
from shared.core.ctx import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.entitlements import contents
from shared.entitlements import drafts_repository as repository
from shared.entitlements.catalogue import FALLBACK
from shared.entitlements.contents import Content
from shared.entitlements.models import FlagRow, Plan, PlanVersion

KINDS = {"plan": "plan", "addon": "add-on"}
KEY = re.compile(r"[a-z][a-z0-9_-]{0,39}")
LONGEST_NAME, LONGEST_SENTENCE, LONGEST_REASON = 60, 200, 300
EVERY_PAGE = "*"  # operators watch all tenants
WORK = "Work on the catalogue"  # of what nobody outside notices before it is published


@dataclass(frozen=True, slots=True)
class Item:
    plan: Plan
    published: Sequence[PlanVersion]  # oldest first
    draft: PlanVersion | None

    @property
    def newest(self) -> PlanVersion | None:
        return self.published[-1] if self.published else None


@dataclass(frozen=True, slots=True)
class Stock:
    """Everything there is, also what is retired; plans first, from the least to the most."""

    items: Sequence[Item]
    flags: Sequence[FlagRow]  # that a plan may seed


async def list_all(octx: OperatorCtx) -> Stock:
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    by_plan: dict[str, list[PlanVersion]] = {}
    for version in await repository.list_versions(octx.session):
        by_plan.setdefault(version.plan_id, []).append(version)
    items = [_item(plan, by_plan.get(plan.id, [])) for plan in await repository.list_plans(octx.session)]
    return Stock(items, await repository.list_flags(octx.session))


async def get(octx: OperatorCtx, version_id: str) -> tuple[Plan, PlanVersion]:
    """A draft, or what became of it. Raises NotFound."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    version = await repository.get_version(octx.session, version_id)
    plan = await repository.get_plan(octx.session, version.plan_id) if version else None
    if version is None or plan is None:
        raise _gone()
    return plan, version


async def create(
    octx: OperatorCtx, kind: str, key: str, name: str, sentence: str, *, for_tenant: str | None = None
) -> PlanVersion:
    """A plan or add-on with an empty first draft: nobody is offered it yet. `for_tenant`: id; None for everybody.

    Raises Invalid, NotFound for a tenant that does not exist, Conflict where the key is taken.
    """
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    key, name, sentence = key.strip(), " ".join(name.split()), " ".join(sentence.split())
    _check_words(kind, key, name, sentence)
    plan = Plan(
        key=key,
        name=name,
        sentence=sentence,
        kind=kind,
        position=await repository.next_position(octx.session, kind),
        for_tenant=for_tenant or None,
        created_by=octx.actor.name,
    )
    broken = await repository.add_plan(octx.session, plan)
    if broken == "plan_key":
        raise Conflict(f"The key {key} is taken.", "Choose another one.")
    if broken:
        raise NotFound("There is no such tenant.", "Search for it in the list of tenants.")
    draft = await _add_draft(octx, plan, 1, contents.first(kind))
    words = {"Key": key, "Sentence": sentence}
    if kind == "plan":
        _record(octx, "plan.created", draft, plan, WORK, after=words)
    else:
        _record(octx, "addon.created", draft, plan, WORK, after=words)
    await _changed(octx)
    return draft


async def open_draft(octx: OperatorCtx, plan_id: str) -> PlanVersion:
    """From the newest version. Raises NotFound, Conflict where there is a draft already, or for what is retired."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    plan = await _lock_plan(octx, plan_id)
    versions = await repository.list_versions_of(octx.session, plan.id)
    if versions and versions[0].status == "draft":
        raise Conflict(
            f"{versions[0].created_by} has opened a draft of {plan.name} already.", "Go on with that one."
        )
    number = versions[0].number + 1 if versions else 1
    content = contents.of(versions[0]) if versions else contents.first(plan.kind)
    draft = await _add_draft(octx, plan, number, content)
    _record(octx, "draft.opened", draft, plan, WORK)
    await _changed(octx)
    return draft


async def save(octx: OperatorCtx, version_id: str, revision: int, content: Content) -> PlanVersion:
    """Saving what is saved already is no change. Raises Invalid, NotFound, Conflict where another one was faster."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    flags = {one.key for one in await repository.list_flags(octx.session)}
    draft, plan = await _lock_draft(octx, version_id)
    contents.check(plan.kind, content, flags | set(draft.flags))
    before = contents.of(draft)
    if not (changed := contents.differences(before, content)):
        return draft
    _require_revision(draft, revision)
    contents.put(draft, content)
    draft.revision += 1
    draft.changed_at, draft.changed_by = now(), octx.actor.name
    octx.session.add(draft)
    _record(
        octx,
        "draft.saved",
        draft,
        plan,
        WORK,
        before={name: was for name, was, _ in changed},
        after={name: becomes for name, _, becomes in changed},
    )
    await _changed(octx)
    return draft


async def discard(octx: OperatorCtx, version_id: str, revision: int) -> None:
    """Raises NotFound, Conflict where another one has changed it since."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    draft, plan = await _lock_draft(octx, version_id)
    _require_revision(draft, revision)
    await octx.session.delete(draft)
    _record(octx, "draft.discarded", draft, plan, WORK)
    await _changed(octx)


async def retire(octx: OperatorCtx, plan_id: str, reason: str) -> None:
    """No longer offered; whoever has it keeps it. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    reason = _reason(reason)
    await repository.lock_epoch(octx.session)
    plan = await _lock_plan(octx, plan_id)
    if plan.key == FALLBACK and plan.for_tenant is None:
        raise Conflict(f"{plan.name} is what remains when nobody pays.", "It cannot be retired.")
    versions = await repository.list_versions_of(octx.session, plan.id)
    if versions and versions[0].status == "draft":
        raise Conflict(f"A draft of {plan.name} is open.", "Publish or discard it first.")
    plan.retired_at = now()
    octx.session.add(plan)
    told: dict[str, Any] = {"name": plan.name, **_offered_to(plan.for_tenant)}
    trail.record_operator(octx, "plan.retired", plan.id, reason=reason, **told)
    await _changed(octx)


async def freeze(octx: OperatorCtx) -> int:
    """Until the transaction ends, nothing else is published and no flag changes. The epoch of the catalogue."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    return await repository.lock_epoch(octx.session)


async def publish(
    octx: OperatorCtx,
    version_id: str,
    revision: int,
    reason: str,
    effective_at: datetime | None,
    moves: bool,
    confirmed: str,
    *,
    effect: Mapping[str, int] | None = None,
) -> PlanVersion:
    """`effective_at`: None for at once. `moves`: who has an earlier version moves to this one then.

    `confirmed`: `contents.digest` of what was looked at; `effect`: its numbers, for the trail. Raises Invalid, NotFound,
    Conflict where something relevant has changed since somebody looked.
    """
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    reason, effective_at = _reason(reason), checked_date(effective_at)
    epoch = await freeze(octx)
    draft, plan = await _lock_draft(octx, version_id)
    _require_revision(draft, revision)
    if plan.retired_at is not None:
        raise Conflict(f"{plan.name} is retired.", "Nothing of it can be published any more.")
    content = contents.of(draft)
    if plan.kind == "addon" and contents.is_empty(content):
        raise Invalid("This add-on adds nothing.", "Give it a feature or raise a limit first.")
    if confirmed != contents.digest(draft, epoch, moves, effective_at):
        raise Conflict("Something has changed since the effect was looked at.", "Look at the effect again.")
    versions = await repository.list_versions_of(octx.session, plan.id)
    before = contents.of(versions[1]) if len(versions) > 1 else contents.first(plan.kind)
    draft.status, draft.moves, draft.reason = "published", moves, reason
    draft.published_at, draft.published_by = now(), octx.actor.name
    draft.effective_at = effective_at or draft.published_at
    octx.session.add(draft)
    changed = contents.differences(before, content)
    _record(
        octx,
        "draft.published",
        draft,
        plan,
        reason,
        before={name: was for name, was, _ in changed},
        after={name: becomes for name, _, becomes in changed},
        in_force_from=f"{draft.effective_at:%-d %B %Y, %H:%M} UTC",
        existing_tenants="move" if moves else "stay",
        effect=dict(effect or {}),
    )
    await _changed(octx)
    return draft


def checked_date(effective_at: datetime | None) -> datetime | None:
    """Raises Invalid for a time that is past, or that has no zone."""
    if effective_at is not None and (effective_at.tzinfo is None or effective_at <= now()):
        raise Invalid(
            "This date is past.",
            "Choose a later one, or leave it empty to publish at once.",
            fields={"effective_at": "Must lie ahead"},
        )
    return effective_at


def _item(plan: Plan, versions: Sequence[PlanVersion]) -> Item:
    published = [one for one in versions if one.status == "published"]
    return Item(plan, published, next((one for one in versions if one.status == "draft"), None))


def _check_words(kind: str, key: str, name: str, sentence: str) -> None:
    wrong = {}
    if kind not in KINDS:
        wrong["kind"] = "Choose a plan or an add-on."
    if not KEY.fullmatch(key):
        wrong["key"] = "A key has up to 40 small letters, digits, - and _, and begins with a letter."
    if not 1 <= len(name) <= LONGEST_NAME:
        wrong["name"] = f"A name has 1 to {LONGEST_NAME} characters."
    if len(sentence) > LONGEST_SENTENCE:
        wrong["sentence"] = f"The sentence has at most {LONGEST_SENTENCE} characters."
    if wrong:
        raise Invalid(" ".join(wrong.values()), "Nothing was created. Correct it.", fields=wrong)


async def _add_draft(octx: OperatorCtx, plan: Plan, number: int, content: Content) -> PlanVersion:
    who = octx.actor.name
    draft = PlanVersion(
        plan_id=plan.id, for_tenant=plan.for_tenant, number=number, created_by=who, changed_by=who
    )
    contents.put(draft, content)
    octx.session.add(draft)
    await octx.session.flush()
    return draft


async def _lock_plan(octx: OperatorCtx, plan_id: str) -> Plan:
    plan = await repository.lock_plan(octx.session, plan_id)
    if plan is None:
        raise NotFound("There is no such plan or add-on.", "Reload the page.")
    if plan.retired_at is not None:
        raise Conflict(f"{plan.name} is retired.", "Create another one.")
    return plan


async def _lock_draft(octx: OperatorCtx, version_id: str) -> tuple[PlanVersion, Plan]:
    draft = await repository.lock_version(octx.session, version_id)
    plan = await repository.get_plan(octx.session, draft.plan_id) if draft else None
    if draft is None or plan is None:
        raise _gone()
    if draft.status == "published":
        raise Conflict(
            f"{draft.published_by} has published version {draft.number} of {plan.name} in the meantime.",
            "Open a new draft for further changes.",
        )
    return draft, plan


def _gone() -> NotFound:
    return NotFound("This draft does not exist any more.", "Somebody has discarded it. Open a new one.")


def _require_revision(draft: PlanVersion, revision: int) -> None:
    if draft.revision != revision:
        raise Conflict(
            f"{draft.changed_by} has changed this draft at {draft.changed_at:%H:%M} UTC on"
            f" {draft.changed_at:%-d %B}, after you opened it.",
            "Look at what they changed. Nothing of yours is lost.",
        )


def _reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise Invalid(
            "This needs a reason." if not reason else f"A reason has at most {LONGEST_REASON} characters.",
            "Say why in a sentence.",
            fields={"reason": "Missing or too long"},
        )
    return reason


def _record(
    octx: OperatorCtx, action: str, version: PlanVersion, plan: Plan, reason: str, **details: Any
) -> None:
    told = {"name": plan.name, "version": version.number, **_offered_to(plan.for_tenant), **details}
    trail.record_operator(octx, action, version.id, reason=reason, **told)


def _offered_to(tenant_id: str | None) -> dict[str, str]:
    return {"for_tenant": tenant_id} if tenant_id else {}


async def _changed(octx: OperatorCtx) -> None:
    """Open pages of the catalogue load again."""
    await octx.session.flush()
    await notices.page(octx.session, EVERY_PAGE, "catalog")
