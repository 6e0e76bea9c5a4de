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
from shared.audit import trail
from shared.core import notices
from shared.core.ctx import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound
from shared.entitlements import rollouts_repository as repository
from shared.entitlements import rules
from shared.entitlements.features import FEATURES
from shared.entitlements.flags import FLAGS
from shared.entitlements.models import FlagRow, FlagVersion

KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
LONGEST = {"title": 60, "sentence": 200, "owner": 60}
TOPIC = "flags"  # of the pages that show them


@dataclass(frozen=True, slots=True)
class Known:
    """A flag with the version that counts."""

    row: FlagRow
    version: FlagVersion
    stale: bool  # should have been cleaned up by now
    in_code: bool  # the code asks for it

    @property
    def key(self) -> str:
        return self.row.key


@dataclass(frozen=True, slots=True)
class History:
    flag: Known
    versions: Sequence[FlagVersion]  # newest first
    plans: Mapping[str, str]  # that a rule may name: name by key


async def list_flags(octx: OperatorCtx) -> Sequence[Known]:
    """Stale ones first, retired ones last."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    newest = {one.flag_id: one for one in await repository.list_newest_versions(octx.session)}
    found = [_known(row, newest[row.id]) for row in await repository.list_flags(octx.session)]
    return sorted(found, key=lambda one: (one.row.retired_at is not None, not one.stale, one.row.title))


async def get(octx: OperatorCtx, flag: str) -> History:
    """`flag`: its key. Raises NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    row = await repository.get_flag(octx.session, flag)
    if row is None:
        raise _unknown()
    versions = await repository.list_flag_versions(octx.session, row.id)
    return History(_known(row, versions[0]), versions, await repository.list_plans(octx.session))


async def create(
    octx: OperatorCtx,
    key: str,
    title: str,
    sentence: str,
    owner: str,
    cleanup_by: date | None,
    reason: str,
    *,
    required_feature: str = "",
) -> Known:
    """Off for everybody until it has rules. Raises Invalid without an owner or a date that lies ahead, Conflict."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    if KEY.fullmatch(key) is None:
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
        title=_words("title", title),
        sentence=_words("sentence", sentence),
        owner=_words("owner", owner),
        cleanup_by=_ahead(cleanup_by),
        required_feature=required_feature,
        created_by=octx.actor.name,
    )
    if not await repository.add_flag(octx.session, row):
        raise Conflict(
            f"There is a flag {key} already.", "Choose another key: a retired one is not used again."
        )
    first = await _add(octx, row, 1, [], False, reason)
    facts = {"owner": row.owner, "clean_up_by": row.cleanup_by.isoformat(), "requires": required_feature}
    trail.record_operator(octx, "flag.created", key, reason=reason, **facts)
    await _changed(octx)
    return _known(row, first)


async def change_rules(octx: OperatorCtx, flag: str, number: int, wanted: object, reason: str) -> FlagVersion:
    """`number`: of the version that was read. A killed flag stays killed. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    found = await read_rules(octx, wanted)
    row, last = await _lock(octx, flag, number)
    if found == last.rules:
        raise Conflict("These are the rules already.", "Change them, or leave them as they are.")
    made = await _add(octx, row, last.number + 1, found, last.killed, reason)
    trail.record_operator(octx, "flag.rules_changed", flag, reason=reason, **_sides(last, made))
    await _changed(octx)
    return made


async def kill(octx: OperatorCtx, flag: str, reason: str) -> FlagVersion:
    """Off for everybody, from the commit on. The rules stay for later. Raises NotFound, Conflict.

    Asks for no number: whoever stops something must not be stopped by somebody who has just changed its rules.
    """
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    row, last = await _lock(octx, flag)
    if last.killed:
        raise Conflict(f"{row.title} is killed already.", "Nothing is left to do.")
    made = await _add(octx, row, last.number + 1, last.rules, True, reason)
    trail.record_operator(octx, "flag.killed", flag, reason=reason, **_sides(last, made))
    await _changed(octx)
    return made


async def revive(octx: OperatorCtx, flag: str, number: int, reason: str) -> FlagVersion:
    """With the rules it had. `number`: of the version that was read. Raises NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    row, last = await _lock(octx, flag, number)
    if not last.killed:
        raise Conflict(f"{row.title} is not killed.", "Reload the page.")
    made = await _add(octx, row, last.number + 1, last.rules, False, reason)
    trail.record_operator(octx, "flag.revived", flag, reason=reason, **_sides(last, made))
    await _changed(octx)
    return made


async def move_cleanup(
    octx: OperatorCtx, flag: str, was: date, cleanup_by: date | None, reason: str
) -> FlagRow:
    """`was`: the date that was read. Raises Invalid, NotFound, Conflict."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    wanted = _ahead(cleanup_by)
    row, _ = await _lock(octx, flag)
    if row.cleanup_by != was:
        raise _overtaken()
    row.cleanup_by = wanted
    octx.session.add(row)
    days = {"before": {"clean_up_by": was.isoformat()}, "after": {"clean_up_by": wanted.isoformat()}}
    trail.record_operator(octx, "flag.cleanup_moved", flag, reason=reason, **days)
    await _changed(octx)
    return row


async def retire(octx: OperatorCtx, flag: str, reason: str) -> FlagRow:
    """For good: off for everybody, and its key is not used again. Raises NotFound, Conflict while code asks for it."""
    policy.require_operator(octx, actions.OP_FLAG_WRITE)
    row, last = await _lock(octx, flag)
    if flag in FLAGS:
        raise Conflict(
            f"The code still asks for {flag}.",
            "Take it out of the code first; until then the kill switch turns it off.",
        )
    row.retired_at = now()
    octx.session.add(row)
    trail.record_operator(octx, "flag.retired", flag, reason=reason, before=_side(last))
    await _changed(octx)
    return row


async def read_rules(octx: OperatorCtx, wanted: object) -> list[dict[str, Any]]:
    """As they would be stored. For services that have asked for their right. Raises Invalid."""
    return rules.read(wanted, await repository.list_plans(octx.session))


async def _lock(octx: OperatorCtx, flag: str, number: int | None = None) -> tuple[FlagRow, FlagVersion]:
    """Nobody else changes it until the end of the transaction. `number`: None for whatever it is now."""
    row = await repository.lock_flag(octx.session, flag)
    if row is None:
        raise _unknown()
    if row.retired_at is not None:
        raise Conflict(f"{row.title} is retired.", "Create a new flag under another key.")
    last = (await repository.list_flag_versions(octx.session, row.id))[0]
    if number is not None and last.number != number:
        raise _overtaken()
    return row, last


async def _add(
    octx: OperatorCtx, row: FlagRow, number: int, found: list[dict[str, Any]], killed: bool, reason: str
) -> FlagVersion:
    made = FlagVersion(
        flag_id=row.id,
        number=number,
        rules=found,
        killed=killed,
        created_by=octx.actor.name,
        reason=_reason(reason),
    )
    octx.session.add(made)
    await octx.session.flush()
    return made


def _sides(last: FlagVersion, made: FlagVersion) -> dict[str, Any]:
    """For the trail: what the change was."""
    return {"version": made.number, "before": _side(last), "after": _side(made)}


def _side(version: FlagVersion) -> dict[str, str]:
    return {"on_for": rules.all_in_words(version.rules, killed=version.killed)}


def _known(row: FlagRow, version: FlagVersion) -> Known:
    stale = row.retired_at is None and row.cleanup_by < now().date()
    return Known(row, version, stale, row.key in FLAGS)


def _words(name: str, value: str) -> str:
    value, most = " ".join(value.split()), LONGEST[name]
    if not value or len(value) > most:
        raise Invalid(
            f"A flag needs {'an' if name == 'owner' else 'a'} {name} of at most {most} characters.",
            "Say who answers for it." if name == "owner" else "Say it in a few words.",
            fields={name: "Missing or too long"},
        )
    return value


def _ahead(cleanup_by: date | None) -> date:
    if cleanup_by is None or cleanup_by <= now().date():
        raise Invalid(
            "A flag needs a day by which it is cleaned up, and that day lies ahead.",
            "Choose a later day.",
            fields={"cleanup_by": "Must lie ahead"},
        )
    return cleanup_by


def _reason(reason: str) -> str:
    reason = " ".join(reason.split())
    if not reason:
        raise Invalid("This needs a reason.", "Say why in a sentence.", fields={"reason": "Missing"})
    return reason


def _unknown() -> NotFound:
    return NotFound("There is no such flag.", "Choose one from the list.")


def _overtaken() -> Conflict:
    return Conflict(
        "Somebody else has changed this flag in the meantime.",
        "Nothing of theirs was lost. Reload the page and look at it again.",
    )


async def _changed(octx: OperatorCtx) -> None:
    await notices.page(octx.session, "*", TOPIC)
