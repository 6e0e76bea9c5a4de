"""What the page of one flag shows and takes: rows, and forms read strictly."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

from pydantic import StringConstraints

from admin_app import words
from admin_app.pages.flags import Reason, to_do
from shared.core.errors import Invalid
from shared.entitlements import rollouts, rules
from shared.entitlements.features import FEATURES
from shared.entitlements.models import FlagVersion
from shared.entitlements.rollout import KINDS, WITH_VALUES
from shared.tenancy import exposure
from shared.ui.form_model import Form, a_word
from shared.ui.table import initials

NAMED = 8  # tenants that an effect names; the others are counted
Moment = Annotated[str, StringConstraints(max_length=30)]


class RuleForm(Form):
    kind: str
    value: str = ""
    percent: str = ""
    starts_at: Moment = ""
    ends_at: Moment = ""

    def rule(self) -> dict[str, Any]:
        """As the service reads it. Raises Invalid."""
        found: dict[str, Any] = {"kind": a_word(self.kind, KINDS)}
        if self.kind in WITH_VALUES:
            found["values"] = [self.value]
        if self.kind == "percentage":
            found["percent"] = _number(self.percent)
        times = {"starts_at": _moment(self.starts_at), "ends_at": _moment(self.ends_at)}
        return found | {side: at for side, at in times.items() if at}


class ReasonForm(Form):
    reason: Reason


class SwitchForm(Form):
    """Killing, reviving and retiring."""

    reason: Reason
    confirm: Annotated[str, StringConstraints(max_length=60)]


class MoveForm(Form):
    cleanup_by: str
    reason: Reason


@dataclass(frozen=True)
class Head:
    key: str = ""
    title: str = ""
    sentence: str = ""
    owner: str = ""
    state: str = ""
    tone: str = ""
    cleanup_by: str = ""
    cleanup_iso: str = ""
    stale: bool = False
    to_do: str = ""
    requires: str = ""
    killed: bool = False
    killed_said: str = ""
    retired: bool = False
    in_code: bool = False


@dataclass(frozen=True)
class Figures:
    exposed: str = ""
    of: str = ""
    errors: str = ""
    errors_of: str = ""
    others: str = ""
    others_of: str = ""
    refused: str = ""


@dataclass(frozen=True)
class RuleRow:
    place: str
    said: str


@dataclass(frozen=True)
class VersionRow:
    number: str
    by: str
    initials: str
    did: str
    said: str
    reason: str
    at: str


@dataclass(frozen=True)
class ExposedRow:
    id: str
    name: str
    plan: str
    why: str
    decisions: str
    errors: str
    bad: bool


@dataclass(frozen=True)
class EffectRow:
    before: str = ""
    after: str = ""
    of: str = ""
    gains: str = ""
    gained: str = ""  # names
    losses: str = ""
    lost: str = ""
    nothing: bool = True


def shown_head(found: rollouts.History) -> Head:
    one, version = found.flag, found.versions[0]
    state, tone = words.flag_state(one)
    killed = version.killed and one.row.retired_at is None
    return Head(
        one.key,
        one.row.title,
        one.row.sentence,
        one.row.owner,
        state,
        tone,
        f"{one.row.cleanup_by:%-d %B %Y}",
        one.row.cleanup_by.isoformat(),
        one.stale,
        to_do(one) if one.stale else "",
        FEATURES[one.row.required_feature].title if one.row.required_feature in FEATURES else "",
        killed,
        _killed(found.versions) if killed else "",
        one.row.retired_at is not None,
        one.in_code,
    )


def _killed(versions: Sequence[FlagVersion]) -> str:
    """Who did it and why: rules may have been changed since."""
    first = next(
        (one for one, before in pairwise(versions) if one.killed > before.killed),
        versions[0],
    )
    return f"By {first.created_by}: {first.reason}"


def figures(found: exposure.Reach) -> Figures:
    lacking = words.some_of(found.lacking, "more lacks", "more lack") if found.lacking else ""
    what = f"; {lacking} what it requires" if lacking else ""
    return Figures(
        f"{found.exposed.tenants:,} of {found.of:,}",
        f"{'tenant' if found.of == 1 else 'tenants'}{what}",
        *_rate(found.exposed),
        *_rate(found.others),
        f"{found.refused:,}",
    )


def _rate(rate: exposure.Rate) -> tuple[str, str]:
    if rate.per_thousand is None:
        return "–", "Nothing was decided"
    decided = words.some_of(rate.decisions, "decision", "decisions")
    return f"{rate.per_thousand:,.1f}", f"{rate.errors:,} in {decided}"


def rule_rows(found: Sequence[Any]) -> list[RuleRow]:
    return [RuleRow(str(place), rules.in_words(one)) for place, one in enumerate(found)]


def version_rows(versions: Sequence[FlagVersion]) -> list[VersionRow]:
    before = [*versions[1:], None]
    return [_version_row(one, last) for one, last in zip(versions, before, strict=True)]


def _version_row(one: FlagVersion, last: FlagVersion | None) -> VersionRow:
    did = "changed the rules"
    if last is None:
        did = "created it"
    elif one.killed != last.killed:
        did = "killed it" if one.killed else "revived it"
    return VersionRow(
        str(one.number),
        one.created_by,
        initials(one.created_by),
        did,
        f"On for {rules.all_in_words(one.rules, killed=one.killed)}.",
        one.reason,
        one.created_at.isoformat(),
    )


def exposed_row(one: exposure.Exposed) -> ExposedRow:
    return ExposedRow(
        one.tenant_id,
        one.name,
        one.plan,
        one.found,
        f"{one.lately.decisions:,}",
        f"{one.lately.errors:,}",
        one.lately.errors > 0,
    )


def effect_row(effect: exposure.Effect) -> EffectRow:
    gains, losses = len(effect.gains), len(effect.losses)
    return EffectRow(
        f"{effect.before:,}",
        f"{effect.after:,}",
        words.some_of(effect.of, "tenant", "tenants"),
        words.some_of(gains, "tenant gets it", "tenants get it") if gains else "",
        _names(effect.gains),
        words.some_of(losses, "tenant loses it", "tenants lose it") if losses else "",
        _names(effect.losses),
        not gains and not losses,
    )


def _names(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(
            "A share is a number from 0 to 100.", "Correct it.", fields={"percent": "0 to 100"}
        ) from None


def _moment(text: str) -> str:
    """Of a field for day and time, which knows no zone: here it is UTC. Raises Invalid."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat() if text else ""
    except ValueError:
        raise Invalid(
            "This is not a time.", "Choose day and time.", fields={"starts_at": "Not a time"}
        ) from None
