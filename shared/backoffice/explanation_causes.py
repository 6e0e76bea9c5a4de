"""The changes between two times that affect a decision: what, by whom, when, why, and in which request.

Each layer lists only changes that can affect it. Changes that happen on schedule (a planned end, the end of a trial)
have no actor.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access.actions import Action
from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.audit.models import AuditEvent
from shared.backoffice import history_repository as repository
from shared.core.context import Ctx
from shared.entitlements import assignments, explain
from shared.entitlements.catalog import Catalog
from shared.entitlements.entitlement_chains import get_override_limit
from shared.entitlements.evaluate import Layer
from shared.entitlements.features import FEATURES
from shared.entitlements.history import EntitlementHistory
from shared.entitlements.limits import LIMITS, find_usage
from shared.entitlements.models import TenantOverride, TimedRow
from shared.entitlements.rights_changes import RightsChange
from shared.entitlements.snapshot import EntitlementSnapshot
from shared.tenancy import roles
from shared.tenancy.limit_usage import build_role_change
from shared.tenancy.models import MembershipState

MAX_CAUSES = 5  # of one layer
AUDIT_TOLERANCE = timedelta(seconds=30)  # a change and its audit event are written in one transaction
REPLACEMENT_WINDOW = timedelta(seconds=2)  # a row that replaces another one


@dataclass(frozen=True, slots=True)
class Cause:
    source_id: str  # id of the row
    text: str  # a sentence
    at: datetime
    actor_name: str = ""  # "" for scheduled changes
    reason: str = ""
    request_id: str = ""  # of the audit event, "" where there is none


@dataclass(frozen=True, slots=True)
class ChangeWindow:
    """Changes after `since`, up to and including `until`."""

    ctx: Ctx
    user_id: str
    action: Action
    since: datetime
    until: datetime
    history: EntitlementHistory
    catalog: Catalog
    initial_snapshot: EntitlementSnapshot

    async def list_causes(self, layer: Layer) -> Sequence[Cause]:
        """Newest first."""
        changes = [
            change for change in await self._list_changes(layer) if self.since < change.at <= self.until
        ]
        changes.sort(key=lambda change: change.at, reverse=True)
        return [await self._build_cause(change) for change in changes[:MAX_CAUSES]]

    async def _list_changes(self, layer: Layer) -> list[RightsChange]:
        if layer is Layer.PERMISSION:
            return await self._list_person_changes()
        if layer is Layer.TENANT:
            return await self._list_tenant_changes()
        if layer is Layer.BILLING:
            return self._list_billing_changes()
        if layer is Layer.PLAN:
            return await self._list_plan_changes()
        if layer is Layer.ADDONS:
            return self._list_addon_changes()
        if layer is Layer.OVERRIDE:
            return self._list_override_changes("feature", self.action.feature)
        if layer is Layer.TRIAL:
            return [*await self._list_plan_changes(), *self._list_trial_ends()]
        if layer is Layer.FLAG:
            return await self._list_flag_changes()
        return await self._list_limit_changes() if layer is Layer.LIMIT else []

    async def _list_person_changes(self) -> list[RightsChange]:
        membership_changes = (
            await repository.list_membership_changes(self.ctx, self.user_id, self.until)
            if self.user_id
            else []
        )
        member = await repository.get_member(self.ctx, self.user_id) if self.user_id else None
        if member is None:
            return []
        membership, user = member
        changes, previous_state = [], ""
        for row in membership_changes:
            text = f"{user.name} was {row.state}."
            if row.state == MembershipState.ACTIVE:
                role = await roles.get_name(self.ctx, row.role)
                text = f"{user.name} became {role}." if previous_state else f"{user.name} joined as {role}."
            changes.append(
                RightsChange(
                    source_id=row.id,
                    text=text,
                    at=row.at,
                    object_id=membership.id,
                    action_prefixes=("membership.", "ownership.", "tenant."),
                )
            )
            previous_state = row.state
        keys = sorted({row.role for row in membership_changes})
        role_changes = await repository.list_role_changes(self.ctx, keys, self.since, self.until, MAX_CAUSES)
        return [*changes, *(build_role_change(row) for row in role_changes)]

    async def _list_tenant_changes(self) -> list[RightsChange]:
        rows = await repository.list_state_changes(self.ctx, self.since, self.until, MAX_CAUSES)
        changes = [
            RightsChange(
                source_id=row.id,
                text=f"The organisation became {row.state.replace('_', ' ')}.",
                at=row.at,
                reason=row.reason,
                object_id=self.ctx.tenant_id,
                action_prefixes=("tenant.",),
            )
            for row in rows
        ]
        member = await repository.get_member(self.ctx, self.user_id) if self.user_id else None
        if member is not None and (at := member[1].email_verified_at) is not None:
            changes.append(
                RightsChange(
                    source_id=member[1].id,
                    text=f"{member[1].name} verified their email.",
                    at=at,
                    actor_name=member[1].name,
                )
            )
        return changes

    def _list_billing_changes(self, *, status: str = "") -> list[RightsChange]:
        """Changes to any status, or to this one."""
        return [
            change
            for row in self.history.billing
            if status in ("", row.status)
            for change in _list_row_changes(
                row, f"The billing status became {row.status.replace('_', '-')}", "", object_id=row.id
            )
        ]

    async def _list_plan_changes(self) -> list[RightsChange]:
        changes = [
            change
            for row in self.history.assignments
            for change in _list_row_changes(
                row, f"{self._get_offer_label(row.plan_version_id)} was assigned", "", object_id=row.id
            )
        ]
        for offer in self.catalog.offers_by_plan.get(self.initial_snapshot.offer.plan_id, ()):
            if (
                offer.moves
                and offer.number > self.initial_snapshot.offer.number
                and offer.effective_at <= self.until
            ):
                version = await repository.get_plan_version(self.ctx, offer.id)
                actor_name, reason = (version.published_by, version.reason) if version else ("", "")
                changes.append(
                    RightsChange(
                        source_id=offer.id,
                        text=f"{offer.label} replaced earlier versions.",
                        at=offer.effective_at,
                        actor_name=actor_name,
                        reason=reason,
                    )
                )
        return changes

    def _list_trial_ends(self) -> list[RightsChange]:
        return [
            RightsChange(
                source_id=row.id,
                text=f"The trial of {self._get_offer_label(row.plan_version_id)} ended.",
                at=row.trial_ends_at,
            )
            for row in self.history.assignments
            if row.trial_ends_at is not None
        ]

    def _list_addon_changes(self, limit: str = "") -> list[RightsChange]:
        changes: list[RightsChange] = []
        for row in self.history.addons:
            addon = self.catalog.resolve_offer(row.plan_version_id, self.until)
            if (limit and limit in addon.limits) or (not limit and self.action.feature in addon.features):
                changes += _list_row_changes(
                    row, f"{addon.label} was added", f"{addon.label} ended", object_id=row.id
                )
        return changes

    def _list_override_changes(self, target: str, name: str) -> list[RightsChange]:
        title = FEATURES[name].title if target == "feature" and name else ""
        title = LIMITS[name].title if target == "limit" else title
        return [
            change
            for row in self.history.overrides
            if (row.target, row.name) == (target, name)
            for change in _list_row_changes(
                row,
                f"{title} was set to {_format_value(row)}",
                f"The override of {title} ended",
                object_id=row.id,
            )
        ]

    async def _list_flag_changes(self) -> list[RightsChange]:
        flag, rollout = self.action.flag, self.catalog.flags.get(self.action.flag)
        changes = [
            change
            for row in self.history.flags
            if row.flag == flag
            for change in _list_row_changes(
                row,
                f"The flag {flag} was turned {'on' if row.enabled else 'off'} for this tenant",
                f"The flag override of {flag} ended",
                object_id=flag,
                action_prefixes=("flag.",),
            )
        ]
        changes += [
            change
            for row in self.history.traits
            for change in _list_row_changes(
                row, f"{row.name} became {row.value}", f"{row.name} was removed", object_id=row.name
            )
        ]
        for version in rollout.versions if rollout else ():
            text = f"The rules of {flag} changed to version {version.number}."
            text = f"The flag {flag} was killed." if version.killed else text
            changes.append(
                RightsChange(
                    source_id=version.id,
                    text=text,
                    at=version.created_at,
                    actor_name=version.created_by,
                    reason=version.reason,
                )
            )
        required_feature = rollout.flag.required_feature if rollout else ""
        if required_feature:
            changes += [
                *await self._list_plan_changes(),
                *self._list_trial_ends(),
                *self._list_override_changes("feature", required_feature),
            ]
        return _drop_replaced(changes)

    async def _list_limit_changes(self) -> list[RightsChange]:
        name = self.action.limit
        changes = [
            *await self._list_plan_changes(),
            *self._list_addon_changes(name),
            *self._list_override_changes("limit", name),
        ]
        changes += [
            *self._list_trial_ends(),
            *self._list_billing_changes(status="none"),
        ]
        if (usage := find_usage(name)) is not None:
            changes += await usage.causes(self.ctx, self.since, self.until)
        return changes

    def _get_offer_label(self, version_id: str) -> str:
        return self.catalog.offers[version_id].label

    async def _build_cause(self, change: RightsChange) -> Cause:
        event = await self._find_audit_event(change) if change.object_id else None
        actor_name, reason, request_id = change.actor_name, change.reason, ""
        if event is not None:
            actor_name, reason, request_id = (
                actor_name or event.actor_name,
                reason or event.reason,
                event.request_id,
            )
        return Cause(change.source_id, change.text, change.at, actor_name, reason, request_id)

    async def _find_audit_event(self, change: RightsChange) -> AuditEvent | None:
        """The audit event that belongs to the change: of the same object, nearest in time."""
        event_filter = AuditFilter(
            object_id=change.object_id, since=change.at - AUDIT_TOLERANCE, until=change.at + AUDIT_TOLERANCE
        )
        page = await audit_log.list_events(self.ctx, event_filter, limit=MAX_CAUSES)
        candidates = [
            (abs(event.at - change.at), event)
            for event in page.rows
            if event.at is not None
            and (not change.action_prefixes or event.action.startswith(change.action_prefixes))
        ]
        return min(candidates, key=lambda candidate: candidate[0])[1] if candidates else None


async def load_change_window(
    ctx: Ctx, user_id: str, action: Action, since: datetime, until: datetime
) -> ChangeWindow:
    """Loads what the causes are computed from. The caller checks the permission."""
    history, catalog = await assignments.get_history(ctx)
    return ChangeWindow(
        ctx, user_id, action, since, until, history, catalog, history.snapshot_at(catalog, since)
    )


def _list_row_changes(
    row: TimedRow, start_text: str, end_text: str, *, object_id: str, action_prefixes: tuple[str, ...] = ()
) -> Iterable[RightsChange]:
    """The changes at the start and the end of a row. `end_text`: "" where the end isn't a change of its own."""
    yield RightsChange(
        source_id=row.id,
        text=f"{start_text}.",
        at=row.starts_at,
        actor_name=row.by_name,
        reason=row.reason,
        object_id=object_id,
        action_prefixes=action_prefixes,
    )
    if not end_text:
        return
    if row.closed_at is not None and (row.ends_at is None or row.closed_at < row.ends_at):
        yield RightsChange(
            source_id=row.id,
            text=f"{end_text} early.",
            at=row.closed_at,
            actor_name=row.closed_by,
            object_id=object_id,
            action_prefixes=action_prefixes,
            ended_early=True,
        )
    elif row.ends_at is not None:
        yield RightsChange(source_id=row.id, text=f"{end_text} on schedule.", at=row.ends_at)


def _drop_replaced(changes: Sequence[RightsChange]) -> list[RightsChange]:
    """Drops early ends where another row of the same object starts at the same moment."""
    return [
        change for change in changes if not (change.ended_early and _is_replaced_at_once(change, changes))
    ]


def _is_replaced_at_once(change: RightsChange, changes: Sequence[RightsChange]) -> bool:
    return any(
        (other.object_id, other.source_id == change.source_id) == (change.object_id, False)
        and timedelta() <= other.at - change.at <= REPLACEMENT_WINDOW
        for other in changes
    )


def _format_value(row: TenantOverride) -> str:
    if row.target == "limit":
        return explain.format_amount(get_override_limit(row), row.name)
    return "on" if row.value else "off"
