"""Flags as operators keep them: made, opened step by step, killed, cleaned up.

Whom a flag is on for is never overwritten: a change adds a version, so that two who change the same one cannot both
win, and what was true before can be asked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from shared.access import actions, policy
from shared.audit import audit_log
from shared.backoffice import flag_admin_repository as repository
from shared.core import live_events
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.core.stated_reason import clean_reason
from shared.entitlements import flag_rules
from shared.entitlements.features import FEATURES
from shared.entitlements.flags import FLAGS
from shared.entitlements.models import FlagRow, FlagVersion

KEY_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,39}")
MAX_LENGTHS = {"title": 60, "sentence": 200, "owner": 60}
TOPIC = "flags"  # of the pages that show them


@dataclass(frozen=True, slots=True)
class FlagSummary:
    """A flag with the version that counts."""

    row: FlagRow
    version: FlagVersion
    is_overdue: bool  # should have been cleaned up by now
    is_in_code: bool  # the code asks for it

    @property
    def key(self) -> str:
        return self.row.key


@dataclass(frozen=True, slots=True)
class FlagDetail:
    flag: FlagSummary
    versions: Sequence[FlagVersion]  # newest first
    plans: Mapping[str, str]  # that a rule may name: name by key


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
    reason: str,
    *,
    required_feature: str = "",
) -> FlagSummary:
    """Off for everybody until it has rules. Raises Invalid without an owner or a date that lies ahead, Conflict."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    if KEY_PATTERN.fullmatch(key) is None:
        raise Invalid(
            "A key is made of a to z, 0 to 9 and _, and begins with a letter.",
            "Correct the key.",
            fields={"key": "Lower case letters, digits and _"},
        )
    if required_feature and required_feature not in FEATURES:
        raise Invalid(
            "There is no such feature.",
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
            f"There is a flag {key} already.", "Choose another key: a retired one is not used again."
        )
    first_version = await _add_version(octx, row, 1, [], False, reason)
    details = {"owner": row.owner, "clean_up_by": row.cleanup_by.isoformat(), "requires": required_feature}
    audit_log.record_operator(octx, "flag.created", key, reason=reason, **details)
    await _publish_change(octx)
    return _build_summary(row, first_version)


async def change_rules(
    octx: OperatorCtx, flag: str, number: int, new_rules: object, reason: str
) -> FlagVersion:
    """`number`: of the version that was read. A killed flag stays killed. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    checked_rules = await parse_rules(octx, new_rules)
    row, latest = await _lock_flag(octx, flag, number)
    if checked_rules == latest.rules:
        raise Conflict("These are the rules already.", "Change them, or leave them as they are.")
    new_version = await _add_version(octx, row, latest.number + 1, checked_rules, latest.killed, reason)
    audit_log.record_operator(
        octx, "flag.rules_changed", flag, reason=reason, **_audit_change(latest, new_version)
    )
    await _publish_change(octx)
    return new_version


async def kill_flag(octx: OperatorCtx, flag: str, reason: str) -> FlagVersion:
    """Off for everybody, from the commit on. The rules stay for later. Raises NotFound, Conflict.

    Asks for no number: whoever stops something must not be stopped by somebody who has just changed its rules.
    """
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    row, latest = await _lock_flag(octx, flag)
    if latest.killed:
        raise Conflict(f"{row.title} is killed already.", "Nothing is left to do.")
    new_version = await _add_version(octx, row, latest.number + 1, latest.rules, True, reason)
    audit_log.record_operator(octx, "flag.killed", flag, reason=reason, **_audit_change(latest, new_version))
    await _publish_change(octx)
    return new_version


async def revive_flag(octx: OperatorCtx, flag: str, number: int, reason: str) -> FlagVersion:
    """With the rules it had. `number`: of the version that was read. Raises NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    row, latest = await _lock_flag(octx, flag, number)
    if not latest.killed:
        raise Conflict(f"{row.title} is not killed.", "Reload the page.")
    new_version = await _add_version(octx, row, latest.number + 1, latest.rules, False, reason)
    audit_log.record_operator(octx, "flag.revived", flag, reason=reason, **_audit_change(latest, new_version))
    await _publish_change(octx)
    return new_version


async def change_cleanup_date(
    octx: OperatorCtx, flag: str, previous_date: date, cleanup_by: date | None, reason: str
) -> FlagRow:
    """`was`: the date that was read. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    new_date = _require_future_date(cleanup_by)
    row, _ = await _lock_flag(octx, flag)
    if row.cleanup_by != previous_date:
        raise _stale_version()
    row.cleanup_by = new_date
    octx.session.add(row)
    days = {
        "before": {"clean_up_by": previous_date.isoformat()},
        "after": {"clean_up_by": new_date.isoformat()},
    }
    audit_log.record_operator(octx, "flag.cleanup_moved", flag, reason=reason, **days)
    await _publish_change(octx)
    return row


async def retire_flag(octx: OperatorCtx, flag: str, reason: str) -> FlagRow:
    """For good: off for everybody, and its key is not used again. Raises NotFound, Conflict while code asks for it."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    row, latest = await _lock_flag(octx, flag)
    if flag in FLAGS:
        raise Conflict(
            f"The code still asks for {flag}.",
            "Take it out of the code first; until then the kill switch turns it off.",
        )
    row.retired_at = now()
    octx.session.add(row)
    audit_log.record_operator(octx, "flag.retired", flag, reason=reason, before=_audit_rules(latest))
    await _publish_change(octx)
    return row


async def parse_rules(octx: OperatorCtx, new_rules: object) -> list[dict[str, Any]]:
    """As they would be stored. For services that have asked for their right. Raises Invalid."""
    return flag_rules.parse_rules(new_rules, await repository.list_plans(octx.session))


async def _lock_flag(octx: OperatorCtx, flag: str, number: int | None = None) -> tuple[FlagRow, FlagVersion]:
    """Nobody else changes it until the end of the transaction. `number`: None for whatever it is now."""
    row = await repository.lock_flag(octx.session, flag)
    if row is None:
        raise _unknown_flag()
    if row.retired_at is not None:
        raise Conflict(f"{row.title} is retired.", "Create a new flag under another key.")
    latest = (await repository.list_flag_versions(octx.session, row.id))[0]
    if number is not None and latest.number != number:
        raise _stale_version()
    return row, latest


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
    """For the trail: what the change was."""
    return {"version": after.number, "before": _audit_rules(before), "after": _audit_rules(after)}


def _audit_rules(version: FlagVersion) -> dict[str, str]:
    return {"on_for": flag_rules.describe_rules(version.rules, killed=version.killed)}


def _build_summary(row: FlagRow, version: FlagVersion) -> FlagSummary:
    stale = row.retired_at is None and row.cleanup_by < now().date()
    return FlagSummary(row, version, stale, row.key in FLAGS)


def _clean_text(name: str, value: str) -> str:
    value, max_length = " ".join(value.split()), MAX_LENGTHS[name]
    if not value or len(value) > max_length:
        raise Invalid(
            f"A flag needs {'an' if name == 'owner' else 'a'} {name} of at most {max_length} characters.",
            "Say who answers for it." if name == "owner" else "Say it in a few words.",
            fields={name: "Missing or too long"},
        )
    return value


def _require_future_date(cleanup_by: date | None) -> date:
    if cleanup_by is None or cleanup_by <= now().date():
        raise Invalid(
            "A flag needs a day by which it is cleaned up, and that day lies ahead.",
            "Choose a later day.",
            fields={"cleanup_by": "Must lie ahead"},
        )
    return cleanup_by


def _unknown_flag() -> NotFound:
    return NotFound("There is no such flag.", "Choose one from the list.")


def _stale_version() -> Conflict:
    return Conflict(
        "Somebody else has changed this flag in the meantime.",
        "Nothing of theirs was lost. Reload the page and look at it again.",
    )


async def _publish_change(octx: OperatorCtx) -> None:
    await live_events.refresh_pages(octx.session, "*", TOPIC)
