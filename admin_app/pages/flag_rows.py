"""What the page of one flag shows and takes: rows, and forms read strictly."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

from pydantic import StringConstraints

from admin_app import words
from admin_app.pages.flags import ReasonText, cleanup_advice
from shared.backoffice import flag_admin, flag_exposure
from shared.core.errors import Invalid
from shared.entitlements import flag_rules
from shared.entitlements.features import FEATURES
from shared.entitlements.flag_evaluation import KINDS_WITH_VALUES, RULE_KINDS
from shared.entitlements.models import FlagVersion
from shared.ui.forms import Form, parse_choice
from shared.ui.tables import initials_of

NAMES_SHOWN = 8  # tenants that an effect names; the others are counted
DateTimeText = Annotated[str, StringConstraints(max_length=30)]


class RuleForm(Form):
    kind: str
    value: str = ""
    percent: str = ""
    starts_at: DateTimeText = ""
    ends_at: DateTimeText = ""

    def to_rule(self) -> dict[str, Any]:
        """As the service reads it. Raises Invalid."""
        rule: dict[str, Any] = {"kind": parse_choice(self.kind, RULE_KINDS)}
        if self.kind in KINDS_WITH_VALUES:
            rule["values"] = [self.value]
        if self.kind == "percentage":
            rule["percent"] = _parse_percent(self.percent)
        times = {
            "starts_at": _parse_utc_datetime(self.starts_at),
            "ends_at": _parse_utc_datetime(self.ends_at),
        }
        return rule | {side: at for side, at in times.items() if at}


class ReasonForm(Form):
    reason: ReasonText


class FlagSwitchForm(Form):
    """Killing, reviving and retiring."""

    reason: ReasonText
    confirm: Annotated[str, StringConstraints(max_length=60)]


class MoveCleanupForm(Form):
    cleanup_by: str
    reason: ReasonText


@dataclass(frozen=True)
class FlagHeader:
    key: str = ""
    title: str = ""
    sentence: str = ""
    owner: str = ""
    state: str = ""
    tone: str = ""
    cleanup_by: str = ""
    cleanup_iso: str = ""
    stale: bool = False
    advice: str = ""
    requires: str = ""
    killed: bool = False
    killed_text: str = ""
    retired: bool = False
    in_code: bool = False


@dataclass(frozen=True)
class FlagMetrics:
    exposed: str = ""
    exposed_note: str = ""
    errors: str = ""
    errors_note: str = ""
    errors_elsewhere: str = ""
    errors_elsewhere_note: str = ""
    refusals: str = ""


@dataclass(frozen=True)
class RuleRow:
    index: str
    text: str


@dataclass(frozen=True)
class FlagVersionRow:
    number: str
    author: str
    initials: str
    action_text: str
    rules_text: str
    reason: str
    at: str


@dataclass(frozen=True)
class ExposedRow:
    id: str
    name: str
    plan: str
    reason: str
    decisions: str
    errors: str
    has_errors: bool


@dataclass(frozen=True)
class FlagImpactView:
    before: str = ""
    after: str = ""
    total_text: str = ""
    gains_text: str = ""
    gained_names: str = ""  # names
    losses_text: str = ""
    lost_names: str = ""
    is_empty: bool = True


def flag_header(flag_history: flag_admin.FlagDetail) -> FlagHeader:
    flag, version = flag_history.flag, flag_history.versions[0]
    state, tone = words.flag_badge(flag)
    killed = version.killed and flag.row.retired_at is None
    return FlagHeader(
        flag.key,
        flag.row.title,
        flag.row.sentence,
        flag.row.owner,
        state,
        tone,
        f"{flag.row.cleanup_by:%-d %B %Y}",
        flag.row.cleanup_by.isoformat(),
        flag.is_overdue,
        cleanup_advice(flag) if flag.is_overdue else "",
        FEATURES[flag.row.required_feature].title if flag.row.required_feature in FEATURES else "",
        killed,
        _killed_text(flag_history.versions) if killed else "",
        flag.row.retired_at is not None,
        flag.is_in_code,
    )


def _killed_text(versions: Sequence[FlagVersion]) -> str:
    """Who did it and why: rules may have been changed since."""
    first = next(
        (version for version, previous in pairwise(versions) if version.killed > previous.killed),
        versions[0],
    )
    return f"By {first.created_by}: {first.reason}"


def flag_metrics(reach: flag_exposure.FlagReach) -> FlagMetrics:
    lacking_text = (
        words.plural(reach.unentitled_tenants, "more lacks", "more lack") if reach.unentitled_tenants else ""
    )
    requirement_note = f"; {lacking_text} what it requires" if lacking_text else ""
    return FlagMetrics(
        f"{reach.exposed.tenants:,} of {reach.total_tenants:,}",
        f"{'tenant' if reach.total_tenants == 1 else 'tenants'}{requirement_note}",
        *_rate_texts(reach.exposed),
        *_rate_texts(reach.others),
        f"{reach.refusals:,}",
    )


def _rate_texts(rate: flag_exposure.ErrorRate) -> tuple[str, str]:
    if rate.errors_per_thousand is None:
        return "–", "Nothing was decided"
    decision_count = words.plural(rate.decisions, "decision", "decisions")
    return f"{rate.errors_per_thousand:,.1f}", f"{rate.errors:,} in {decision_count}"


def rule_rows(rule_list: Sequence[Any]) -> list[RuleRow]:
    return [RuleRow(str(index), flag_rules.describe_rule(rule)) for index, rule in enumerate(rule_list)]


def version_rows(versions: Sequence[FlagVersion]) -> list[FlagVersionRow]:
    previous_versions = [*versions[1:], None]
    return [
        _version_row(version, previous) for version, previous in zip(versions, previous_versions, strict=True)
    ]


def _version_row(version: FlagVersion, previous: FlagVersion | None) -> FlagVersionRow:
    action_text = "changed the rules"
    if previous is None:
        action_text = "created it"
    elif version.killed != previous.killed:
        action_text = "killed it" if version.killed else "revived it"
    return FlagVersionRow(
        str(version.number),
        version.created_by,
        initials_of(version.created_by),
        action_text,
        f"On for {flag_rules.describe_rules(version.rules, killed=version.killed)}.",
        version.reason,
        version.created_at.isoformat(),
    )


def exposed_row(tenant: flag_exposure.ExposedTenant) -> ExposedRow:
    return ExposedRow(
        tenant.tenant_id,
        tenant.name,
        tenant.plan,
        tenant.explanation,
        f"{tenant.recent_decisions.decisions:,}",
        f"{tenant.recent_decisions.errors:,}",
        tenant.recent_decisions.errors > 0,
    )


def flag_impact_view(impact: flag_exposure.RulesImpact) -> FlagImpactView:
    gains, losses = len(impact.gains), len(impact.losses)
    return FlagImpactView(
        f"{impact.before:,}",
        f"{impact.after:,}",
        words.plural(impact.total_tenants, "tenant", "tenants"),
        words.plural(gains, "tenant gets it", "tenants get it") if gains else "",
        _join_names(impact.gains),
        words.plural(losses, "tenant loses it", "tenants lose it") if losses else "",
        _join_names(impact.losses),
        not gains and not losses,
    )


def _join_names(names: Sequence[str]) -> str:
    hidden_count = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {hidden_count:,} more" if hidden_count > 0 else "")


def _parse_percent(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(
            "A share is a number from 0 to 100.", "Correct it.", fields={"percent": "0 to 100"}
        ) from None


def _parse_utc_datetime(text: str) -> str:
    """Of a field for day and time, which knows no zone: here it is UTC. Raises Invalid."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat() if text else ""
    except ValueError:
        raise Invalid(
            "This is not a time.", "Choose day and time.", fields={"starts_at": "Not a time"}
        ) from None
