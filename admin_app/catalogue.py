"""What the page of plans and add-ons shows: rows out of the catalogue, the fields of a draft, the effect in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import StringConstraints, create_model

from admin_app import words
from shared.access.actions import ACTIONS
from shared.backoffice.catalog_drafts import CatalogItem
from shared.backoffice.impact_comparison import AffectedTenant, DecisionChange, EntitlementChange
from shared.core.context import Limit
from shared.core.errors import Invalid
from shared.entitlements import plan_content
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, LimitKind, LimitPeriod
from shared.entitlements.models import PlanVersion
from shared.entitlements.plan_content import PlanContent
from shared.ui.decision_trace import Change
from shared.ui.forms import Form

TENANTS_SHOWN = 4  # tenants that a line names at once; the others unfold


@dataclass(frozen=True)
class CatalogItemRow:
    """A plan or add-on, by its version in force or, before there is one, its draft."""

    id: str = ""
    key: str = ""
    name: str = ""
    sentence: str = ""
    kind: str = ""  # as in "add-on"
    version: str = ""  # as in "Version 3"
    since: str = ""  # ISO, "" before anything is in force
    next_version_text: str = ""  # as in "Version 4 follows"
    tenants: str = ""
    earlier_text: str = ""  # as in "3 on earlier versions"
    trial: str = ""
    contents_text: str = ""  # of an add-on
    draft_id: str = ""  # id
    draft_by: str = ""
    retired: bool = False
    tenant_id: str = ""  # to whom alone it is offered
    tenant: str = ""


@dataclass(frozen=True)
class CompareCell:
    value: str  # "yes" and "" for a feature
    note: str = ""


@dataclass(frozen=True)
class CompareRow:
    """A limit or feature, with a cell for each plan."""

    title: str
    unit: str = ""
    cells: list[CompareCell] = field(default_factory=list)


@dataclass(frozen=True)
class PlanVersionRow:
    number: str
    since: str
    state: str
    tone: str
    move_text: str
    publication: str  # by whom and why
    tenants: str


@dataclass(frozen=True)
class TenantNameRow:
    id: str
    name: str
    note: str = ""


@dataclass(frozen=True)
class ImpactRow:
    title: str
    note: str
    count: str
    first_tenants: list[TenantNameRow] = field(default_factory=list)
    more_tenants: list[TenantNameRow] = field(default_factory=list)
    remainder_text: str = ""  # as in "and 312 more"
    unfold_label: str = ""  # as in "Show 46 more tenants"


# ── the catalogue ────────────────────────────────────────────────────────────────────────────────────────────────


def item_row(
    item: CatalogItem, by_version: Mapping[str, int], names: Mapping[str, str], at: datetime
) -> CatalogItemRow:
    plan, draft = item.plan, item.draft
    current = version_in_force(item, at)
    coming = [version for version in item.published if current is None or version.number > current.number]
    older_count = sum(by_version.get(version.id, 0) for version in item.published if version is not current)
    shown = current or (item.published[0] if item.published else None)
    days = shown.trial_days if shown else 0
    return CatalogItemRow(
        plan.id,
        plan.key,
        plan.name,
        plan.sentence,
        "Add-on" if plan.kind == "addon" else "Plan",
        f"Version {current.number}" if current else "Not in force yet",
        current.effective_at.isoformat() if current and current.effective_at else "",
        f"Version {coming[-1].number} follows" if coming else "",
        f"{by_version.get(current.id, 0):,}" if current else "0",
        f"{older_count:,} on another version" if older_count else "",
        words.plural(days, "day", "days") if days else "",
        describe_contents(plan_content.from_version(shown)) if shown and plan.kind == "addon" else "",
        draft.id if draft else "",
        draft.changed_by if draft else "",
        plan.retired_at is not None,
        plan.for_tenant or "",
        names.get(plan.for_tenant or "", plan.for_tenant or ""),
    )


def version_in_force(item: CatalogItem, at: datetime) -> PlanVersion | None:
    """What somebody who chooses it now gets."""
    published = [
        version
        for version in item.published
        if version.effective_at is not None and version.effective_at <= at
    ]
    return published[-1] if published else None


def describe_contents(content: PlanContent) -> str:
    """Of an add-on, in a line."""
    amounts = [
        amount if amount.startswith("unlimited") else f"+{amount}"
        for amount in (plan_content.format_limit(limit, name) for name, limit in content.limits.items())
    ]
    return ", ".join([*amounts, *(FEATURES[name].title for name in FEATURES if name in content.features)])


def compare_rows(items: Sequence[CatalogItem], at: datetime) -> tuple[list[CompareRow], list[CompareRow]]:
    """Limits and features of what is in force, or is coming."""
    shown = [version_in_force(item, at) or item.newest for item in items]
    plan_contents = [
        plan_content.from_version(version) if version else plan_content.build_empty("plan")
        for version in shown
    ]
    limits = [
        CompareRow(
            kind.title,
            "a month" if kind.period is LimitPeriod.MONTH else "",
            [limit_cell(content.limits.get(name, Limit(0))) for content in plan_contents],
        )
        for name, kind in LIMITS.items()
    ]
    features = [
        CompareRow(
            feature.title,
            "",
            [CompareCell("yes" if name in content.features else "") for content in plan_contents],
        )
        for name, feature in FEATURES.items()
    ]
    return limits, features


def limit_unit(kind: LimitKind) -> str:
    return f"{kind.plural} a month" if kind.period is LimitPeriod.MONTH else kind.plural


def limit_cell(limit: Limit) -> CompareCell:
    if limit.amount is None:
        return CompareCell("Unlimited")
    return CompareCell(f"{limit.amount:,}", "" if limit.hard else "warns above")


def plan_version_row(
    version: PlanVersion, item: CatalogItem, by_version: Mapping[str, int], at: datetime
) -> PlanVersionRow:
    current = version_in_force(item, at)
    if version.effective_at is not None and version.effective_at > at:
        state, tone = "Coming", "wait"
    elif version is current:
        state, tone = "In force", "ok"
    else:
        state, tone = "Earlier", "idle"
    return PlanVersionRow(
        str(version.number),
        version.effective_at.isoformat() if version.effective_at else "",
        state,
        tone,
        "Moved to it" if version.moves else "Stayed" if version.number > 1 else "",
        f"{version.published_by}: {version.reason}",
        f"{by_version.get(version.id, 0):,}",
    )


# ── a draft ──────────────────────────────────────────────────────────────────────────────────────────────────────


def feature_field_name(name: str) -> str:
    """Of a feature, as part of the name of a field."""
    return name.replace(".", "_")


FieldText = Annotated[str, StringConstraints(max_length=20)]
_FIELDS: dict[str, Any] = {
    **{f"limit_{name}": (FieldText, "") for name in LIMITS},
    **{f"mode_{name}": (Literal["hard", "soft", "unlimited"], "hard") for name in LIMITS},
    **{f"feature_{feature_field_name(name)}": (Literal["on", ""], "") for name in FEATURES},
    "trial_days": (FieldText, "0"),
    "moves": (Literal["move", "stay"], "stay"),
    "effective_on": (FieldText, ""),
}
DraftFields: type[Form] = create_model("DraftFields", __base__=Form, **_FIELDS)


def parse_content(form: Form, flags: Sequence[str]) -> PlanContent:
    """What the fields say. Raises Invalid for what is no number."""
    values = form.model_dump()
    limits = {}
    for name, kind in LIMITS.items():
        amount_text = values[f"limit_{name}"].replace(",", "").replace(" ", "")
        unlimited = values[f"mode_{name}"] == "unlimited"
        if amount_text or unlimited:
            soft = values[f"mode_{name}"] == "soft"
            limits[name] = Limit(None if unlimited else _parse_number(kind.title, amount_text), hard=not soft)
    return PlanContent(
        _parse_number("Trial", values["trial_days"] or "0"),
        frozenset(name for name in FEATURES if values[f"feature_{feature_field_name(name)}"]),
        limits,
        frozenset(flags),
    )


def _parse_number(title: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise Invalid(f"{title} needs a whole number.", "Nothing was changed. Correct it.") from None


def parse_effective_date(form: Form) -> datetime | None:
    """Midnight UTC of the day, None for at once. Raises Invalid."""
    date_text = form.model_dump()["effective_on"]
    if not date_text:
        return None
    try:
        return datetime.strptime(date_text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Invalid("This is not a date.", "Choose one from the calendar.") from None


def limit_inputs(limit: Limit | None) -> tuple[str, str]:
    """Amount and mode as the fields have them."""
    if limit is None:
        return "", "hard"
    mode = "unlimited" if limit.amount is None else "hard" if limit.hard else "soft"
    return "" if limit.amount is None else f"{limit.amount:,}", mode


def list_changes(before: PlanContent, after: PlanContent) -> list[Change]:
    return [Change(*difference) for difference in plan_content.compare(before, after)]


# ── the effect ───────────────────────────────────────────────────────────────────────────────────────────────────


def shift_row(shift: EntitlementChange, *, over: bool = False) -> ImpactRow:
    if shift.target == "feature":
        return _impact_row(FEATURES[shift.name].title, "", shift.tenant_count, shift.tenants)
    before, after = (
        plan_content.format_limit(limit, shift.name)
        for limit in (shift.before, shift.after)
        if limit is not None
    )
    kind = LIMITS[shift.name]
    note = f"More in use than {after}" if over else f"{before} → {after}"
    return _impact_row(kind.title, note, shift.tenant_count, shift.tenants, used=over)


def flip_row(flip: DecisionChange) -> ImpactRow:
    reason = words.REFUSAL_LABELS.get(flip.reason, flip.reason.replace("_", " "))
    title = ACTIONS[flip.action].description
    tenant_count = words.plural(flip.tenant_count, "tenant", "tenants")
    decision_text = f"Allowed then; now {reason}" if flip.is_allowed else f"Refused then: {reason}"
    return _impact_row(
        f"{title[:1].upper()}{title[1:]}",
        f"{decision_text} · {tenant_count}",
        flip.tenant_count,
        flip.tenants,
        count=flip.decision_count,
    )


def _impact_row(
    title: str,
    note: str,
    total: int,
    tenants: Sequence[AffectedTenant],
    *,
    count: int | None = None,
    used: bool = False,
) -> ImpactRow:
    tenant_rows = [
        TenantNameRow(tenant.id, tenant.name, f"{tenant.usage:,} in use" if used else "")
        for tenant in tenants
    ]
    remaining = total - len(tenant_rows)
    return ImpactRow(
        title,
        note,
        f"{total if count is None else count:,}",
        tenant_rows[:TENANTS_SHOWN],
        tenant_rows[TENANTS_SHOWN:],
        f"and {remaining:,} more" if remaining else "",
        f"Show {words.plural(len(tenant_rows) - TENANTS_SHOWN, 'more tenant', 'more tenants')}",
    )
