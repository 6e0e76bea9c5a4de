"""Feature flags for operators: create, roll out, kill and retire.

Rules are never overwritten: a change adds a version, so that concurrent changes conflict and past states can be
explained.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import flag_admin_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.core import live_events
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import ChangedMeanwhile, Conflict, Invalid, NotFound
from shared.core.stated_reason import clean_reason
from shared.core.versions import advance_version, compare_values, require_version
from shared.entitlements import flag_rules
from shared.entitlements.features import FEATURES
from shared.entitlements.flags import FLAGS
from shared.entitlements.models import FlagRow, FlagVersion

KEY_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,39}")
MAX_LENGTHS = {"title": 60, "sentence": 200, "owner": 60}
TOPIC = "flags"  # of the pages that show flags


@dataclass(frozen=True, slots=True)
class FlagSummary:
    """A flag with its current version."""

    row: FlagRow
    version: FlagVersion
    is_overdue: bool  # the removal date has passed
    is_in_code: bool  # the code uses it

    @property
    def key(self) -> str:
        return self.row.key


@dataclass(frozen=True, slots=True)
class FlagDetail:
    flag: FlagSummary
    versions: Sequence[FlagVersion]  # newest first
    plans: Mapping[str, str]  # names by key, for rules


async def list_flags(octx: OperatorCtx) -> Sequence[FlagSummary]:
    """Stale ones first, retired ones last."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    newest = {version.flag_id: version for version in await repository.list_newest_versions(octx.session)}
    flags = [_build_summary(row, newest[row.id]) for row in await repository.list_flags(octx.session)]
    return sorted(
        flags, key=lambda flag: (flag.row.retired_at is not None, not flag.is_overdue, flag.row.title)
    )


async def get_flag(octx: OperatorCtx, flag: str) -> FlagDetail:
    """`flag`: its key. Raises NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    row = await repository.get_flag(octx.session, flag)
    if row is None:
        raise _unknown_flag()
    versions = await repository.list_flag_versions(octx.session, row.id)
    return FlagDetail(_build_summary(row, versions[0]), versions, await repository.list_plans(octx.session))


async def create_flag(
    octx: OperatorCtx,
    key: str,
    title: str,
    sentence: str,
    owner: str,
    cleanup_by: date | None,
    reason: Reason,
    *,
    required_feature: str = "",
) -> FlagSummary:
    """Creates a flag that is off until it has rules.

    Raises Invalid without an owner or a future removal date, Conflict.
    """
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    reason_text = use_reason(octx, reason)
    if KEY_PATTERN.fullmatch(key) is None:
        raise Invalid(
            "A key can have a to z, 0 to 9 and _, and starts with a letter.",
            "Correct the key.",
            fields={"key": "Lower-case letters, digits and _"},
        )
    if required_feature and required_feature not in FEATURES:
        raise Invalid(
            "This feature doesn’t exist.",
            "Choose one from the list, or none.",
            fields={"required_feature": "Unknown"},
        )
    row = FlagRow(
        key=key,
        title=_clean_text("title", title),
        sentence=_clean_text("sentence", sentence),
        owner=_clean_text("owner", owner),
        cleanup_by=_require_future_date(cleanup_by),
        required_feature=required_feature,
        created_by=octx.actor.name,
    )
    if not await repository.add_flag(octx.session, row):
        raise Conflict(
            f"The flag {key} already exists.",
            "Choose another key. Keys of retired flags can’t be used again.",
        )
    first_version = await _add_version(octx, row, 1, [], False, reason_text)
    details = {"owner": row.owner, "clean_up_by": row.cleanup_by.isoformat(), "requires": required_feature}
    audit_log.record_operator(octx, "flag.created", key, reason=reason_text, **details)
    await _publish_change(octx)
    return _build_summary(row, first_version)


async def change_rules(
    octx: OperatorCtx, flag: str, number: int, new_rules: object, reason: Reason
) -> FlagVersion:
    """`number`: of the version that was read. A killed flag stays killed. Turning it on for everyone needs approval.

    Raises Invalid, NotFound, Refused, Conflict, ChangedMeanwhile with both rules.
    """
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    reason_text = use_reason(octx, reason)
    checked_rules = await parse_rules(octx, new_rules)
    row, latest = await _lock_flag(octx, flag)
    if checked_rules == latest.rules:
        raise Conflict("These are already the current rules.", "Change a rule, or cancel.")
    require_number(row, latest, number, flag_rules.describe_rules(checked_rules))
    if is_release(latest, checked_rules):
        policy.require_operator(octx, actions.OP_FLAG_RELEASE)
    new_version = await _add_version(octx, row, latest.number + 1, checked_rules, latest.killed, reason_text)
    audit_log.record_operator(
        octx, "flag.rules_changed", flag, reason=reason_text, **_audit_change(latest, new_version)
    )
    await _publish_change(octx)
    return new_version


async def kill_flag(octx: OperatorCtx, flag: str, reason: Reason) -> FlagVersion:
    """Turns the flag off for all tenants when the transaction commits. Keeps its rules. Raises NotFound, Conflict.

    Takes no version number, so that a concurrent change of the rules can't block the kill switch.
    """
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    reason_text = use_reason(octx, reason)
    row, latest = await _lock_flag(octx, flag)
    if latest.killed:
        raise Conflict(f"{row.title} is already killed.", "No action is needed.")
    new_version = await _add_version(octx, row, latest.number + 1, latest.rules, True, reason_text)
    audit_log.record_operator(
        octx, "flag.killed", flag, reason=reason_text, **_audit_change(latest, new_version)
    )
    await _publish_change(octx)
    return new_version


async def revive_flag(octx: OperatorCtx, flag: str, number: int, reason: Reason) -> FlagVersion:
    """Revives a killed flag with its rules. `number`: of the version that was read. One for everyone needs approval.

    Raises NotFound, Refused, Conflict, ChangedMeanwhile with the rules that were read.
    """
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    reason_text = use_reason(octx, reason)
    row, latest = await _lock_flag(octx, flag)
    if not latest.killed:
        raise Conflict(f"{row.title} isn’t killed.", "Reload the page.")
    if latest.number != number:
        versions = await repository.list_flag_versions(octx.session, row.id)
        rules = next((version.rules for version in versions if version.number == number), [])
        require_number(row, latest, number, flag_rules.describe_rules(rules))
    if is_release(latest, latest.rules):
        policy.require_operator(octx, actions.OP_FLAG_RELEASE)
    new_version = await _add_version(octx, row, latest.number + 1, latest.rules, False, reason_text)
    audit_log.record_operator(
        octx, "flag.revived", flag, reason=reason_text, **_audit_change(latest, new_version)
    )
    await _publish_change(octx)
    return new_version


async def change_cleanup_date(
    octx: OperatorCtx, flag: str, version: int | None, cleanup_by: date | None, reason: Reason
) -> FlagRow:
    """`version`: of the flag that was read. Raises Invalid, NotFound, ChangedMeanwhile where the date has changed since."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    reason_text = use_reason(octx, reason)
    new_date = _require_future_date(cleanup_by)
    row, _ = await _lock_flag(octx, flag)
    previous_date = row.cleanup_by
    require_version(
        row, version, f"the removal date of {row.title}", {"Remove by": (previous_date, new_date)}
    )
    row.cleanup_by = new_date
    advance_version(row, octx.actor.name)
    octx.session.add(row)
    days = {
        "before": {"clean_up_by": previous_date.isoformat()},
        "after": {"clean_up_by": new_date.isoformat()},
    }
    audit_log.record_operator(octx, "flag.cleanup_moved", flag, reason=reason_text, **days)
    await _publish_change(octx)
    return row


async def retire_flag(octx: OperatorCtx, flag: str, reason: Reason) -> FlagRow:
    """Turns the flag off permanently; its key can't be used again. Raises NotFound, Conflict while the code uses it."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    reason_text = use_reason(octx, reason)
    row, latest = await _lock_flag(octx, flag)
    if flag in FLAGS:
        raise Conflict(
            f"The code still uses {flag}.",
            "Remove it from the code first. Until then, kill it to turn it off.",
        )
    row.retired_at = now()
    octx.session.add(row)
    audit_log.record_operator(octx, "flag.retired", flag, reason=reason_text, before=_audit_rules(latest))
    await _publish_change(octx)
    return row


def is_release(current: FlagVersion, rules: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these rules turn the flag on for everyone, and it isn't already."""
    is_released = flag_rules.is_for_everyone(current.rules) and not current.killed
    return flag_rules.is_for_everyone(rules) and not is_released


async def parse_rules(octx: OperatorCtx, new_rules: object) -> list[dict[str, Any]]:
    """The rules as they would be stored. The caller checks the permission. Raises Invalid."""
    return flag_rules.parse_rules(new_rules, await repository.list_plans(octx.session))


async def _lock_flag(octx: OperatorCtx, flag: str) -> tuple[FlagRow, FlagVersion]:
    """Locks the flag until the end of the transaction. Returns it with its current version."""
    row = await repository.lock_flag(octx.session, flag)
    if row is None:
        raise _unknown_flag()
    if row.retired_at is not None:
        raise Conflict(f"{row.title} is retired.", "Create a new flag under another key.")
    return row, (await repository.list_flag_versions(octx.session, row.id))[0]


def require_number(row: FlagRow, latest: FlagVersion, number: int, rules: str) -> None:
    """`rules`: those of the stale form, as text. Raises ChangedMeanwhile."""
    if latest.number != number:
        raise ChangedMeanwhile(
            row.title,
            version=latest.number,
            changed_by=latest.created_by,
            changed_at=latest.created_at,
            differences=compare_values({"On for": (_audit_rules(latest)["on_for"], rules)}),
        )


async def _add_version(
    octx: OperatorCtx,
    row: FlagRow,
    number: int,
    checked_rules: list[dict[str, Any]],
    killed: bool,
    reason: str,
) -> FlagVersion:
    new_version = FlagVersion(
        flag_id=row.id,
        number=number,
        rules=checked_rules,
        killed=killed,
        created_by=octx.actor.name,
        reason=clean_reason(reason),
    )
    octx.session.add(new_version)
    await octx.session.flush()
    return new_version


def _audit_change(before: FlagVersion, after: FlagVersion) -> dict[str, Any]:
    """Fields of the audit event: the rules before and after."""
    return {"version": after.number, "before": _audit_rules(before), "after": _audit_rules(after)}


def _audit_rules(version: FlagVersion) -> dict[str, str]:
    return {"on_for": flag_rules.describe_rules(version.rules, killed=version.killed)}


def _build_summary(row: FlagRow, version: FlagVersion) -> FlagSummary:
    stale = row.retired_at is None and row.cleanup_by < now().date()
    return FlagSummary(row, version, stale, row.key in FLAGS)


def _clean_text(name: str, value: str) -> str:
    missing = (
        "Name who is responsible for the flag." if name == "owner" else "Describe the flag in a few words."
    )
    noun = "description" if name == "sentence" else name
    return clean_line(value, noun=noun, missing=missing, max_length=MAX_LENGTHS[name], fields=(name,))


def _require_future_date(cleanup_by: date | None) -> date:
    if cleanup_by is None or cleanup_by <= now().date():
        raise Invalid(
            "A flag needs a removal date in the future.",
            "Choose a later date.",
            fields={"cleanup_by": "Must be in the future"},
        )
    return cleanup_by


def _unknown_flag() -> NotFound:
    return NotFound("This flag doesn’t exist.", "Choose one from the list.")


async def _publish_change(octx: OperatorCtx) -> None:
    await live_events.refresh_pages(octx.session, "*", TOPIC)
