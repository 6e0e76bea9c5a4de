"""The rows of a flag's page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from admin_app import labels
from admin_app.pages.flags import cleanup_advice
from shared.backoffice import flag_admin, flag_exposure
from shared.entitlements import flag_rules
from shared.entitlements.features import FEATURES
from shared.entitlements.models import FlagVersion
from shared.ui.tables import initials_of

NAMES_SHOWN = 8  # tenants that an impact lists; the others are counted


@dataclass(frozen=True, kw_only=True)
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
    row_version: int = 1  # of the removal date


@dataclass(frozen=True, kw_only=True)
class FlagMetrics:
    exposed: str = ""
    exposed_note: str = ""
    errors: str = ""
    errors_note: str = ""
    errors_elsewhere: str = ""
    errors_elsewhere_note: str = ""
    refusals: str = ""


@dataclass(frozen=True, kw_only=True)
class RuleRow:
    index: str
    text: str


@dataclass(frozen=True, kw_only=True)
class FlagVersionRow:
    number: str
    author: str
    initials: str
    action_text: str
    rules_text: str
    reason: str
    at: str


@dataclass(frozen=True, kw_only=True)
class ExposedRow:
    id: str
    name: str
    plan: str
    reason: str
    decisions: str
    errors: str
    has_errors: bool


@dataclass(frozen=True, kw_only=True)
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
    state, tone = labels.flag_badge(flag)
    killed = version.killed and flag.row.retired_at is None
    return FlagHeader(
        key=flag.key,
        title=flag.row.title,
        sentence=flag.row.sentence,
        owner=flag.row.owner,
        state=state,
        tone=tone,
        cleanup_by=f"{flag.row.cleanup_by:%-d %B %Y}",
        cleanup_iso=flag.row.cleanup_by.isoformat(),
        stale=flag.is_overdue,
        advice=cleanup_advice(flag) if flag.is_overdue else "",
        requires=FEATURES[flag.row.required_feature].title if flag.row.required_feature in FEATURES else "",
        killed=killed,
        killed_text=_killed_text(flag_history.versions) if killed else "",
        retired=flag.row.retired_at is not None,
        in_code=flag.is_in_code,
        row_version=flag.row.version,
    )


def _killed_text(versions: Sequence[FlagVersion]) -> str:
    """Who killed it and why, even where its rules were changed later."""
    first = next(
        (version for version, previous in pairwise(versions) if version.killed > previous.killed),
        versions[0],
    )
    return f"By {first.created_by}: {first.reason}"


def flag_metrics(reach: flag_exposure.FlagReach) -> FlagMetrics:
    lacking_text = (
        labels.plural(reach.unentitled_tenants, "more tenant lacks", "more tenants lack")
        if reach.unentitled_tenants
        else ""
    )
    requirement_note = f"; {lacking_text} the required feature" if lacking_text else ""
    errors, errors_note = _rate_texts(reach.exposed)
    errors_elsewhere, errors_elsewhere_note = _rate_texts(reach.others)
    return FlagMetrics(
        exposed=f"{reach.exposed.tenants:,} of {reach.total_tenants:,}",
        exposed_note=f"{'tenant' if reach.total_tenants == 1 else 'tenants'}{requirement_note}",
        errors=errors,
        errors_note=errors_note,
        errors_elsewhere=errors_elsewhere,
        errors_elsewhere_note=errors_elsewhere_note,
        refusals=f"{reach.refusals:,}",
    )


def _rate_texts(rate: flag_exposure.ErrorRate) -> tuple[str, str]:
    if rate.errors_per_thousand is None:
        return "–", "No evaluations"
    decision_count = labels.plural(rate.decisions, "decision", "decisions")
    return f"{rate.errors_per_thousand:,.1f}", f"{rate.errors:,} in {decision_count}"


def rule_rows(rule_list: Sequence[Any]) -> list[RuleRow]:
    return [
        RuleRow(index=str(index), text=flag_rules.describe_rule(rule)) for index, rule in enumerate(rule_list)
    ]


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
        number=str(version.number),
        author=version.created_by,
        initials=initials_of(version.created_by),
        action_text=action_text,
        rules_text=f"On for {flag_rules.describe_rules(version.rules, killed=version.killed)}.",
        reason=version.reason,
        at=version.created_at.isoformat(),
    )


def exposed_row(tenant: flag_exposure.ExposedTenant) -> ExposedRow:
    return ExposedRow(
        id=tenant.tenant_id,
        name=tenant.name,
        plan=tenant.plan,
        reason=tenant.explanation,
        decisions=f"{tenant.recent_decisions.decisions:,}",
        errors=f"{tenant.recent_decisions.errors:,}",
        has_errors=tenant.recent_decisions.errors > 0,
    )


def flag_impact_view(impact: flag_exposure.RulesImpact) -> FlagImpactView:
    gains, losses = len(impact.gains), len(impact.losses)
    return FlagImpactView(
        before=f"{impact.before:,}",
        after=f"{impact.after:,}",
        total_text=labels.plural(impact.total_tenants, "tenant", "tenants"),
        gains_text=labels.plural(gains, "tenant gets it", "tenants get it") if gains else "",
        gained_names=_join_names(impact.gains),
        losses_text=labels.plural(losses, "tenant loses it", "tenants lose it") if losses else "",
        lost_names=_join_names(impact.losses),
        is_empty=not gains and not losses,
    )


def _join_names(names: Sequence[str]) -> str:
    hidden_count = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {hidden_count:,} more" if hidden_count > 0 else "")
