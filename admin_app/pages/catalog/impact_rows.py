"""The rows of a draft's impact."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from admin_app import labels
from shared.access.actions import ACTIONS
from shared.backoffice.impact_comparison import (
    AffectedTenant,
    DecisionChange,
    EntitlementChange,
    ImpactReport,
)
from shared.entitlements import plan_content
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS

TENANTS_SHOWN = 4  # tenants that a line lists; the others unfold


@dataclass(frozen=True, kw_only=True)
class TenantNameRow:
    id: str
    name: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class ImpactRow:
    title: str
    note: str
    count: str
    first_tenants: list[TenantNameRow] = field(default_factory=list)
    more_tenants: list[TenantNameRow] = field(default_factory=list)
    remainder_text: str = ""  # as in "and 312 more"
    unfold_label: str = ""  # as in "Show 46 more tenants"


@dataclass(frozen=True, kw_only=True)
class ImpactView:
    """What publishing a draft changes."""

    figures: list[tuple[str, str]] = field(default_factory=list)  # number, label
    gains: list[ImpactRow] = field(default_factory=list)
    losses: list[ImpactRow] = field(default_factory=list)
    over_limit: list[ImpactRow] = field(default_factory=list)
    changed_decisions: list[ImpactRow] = field(default_factory=list)
    is_empty: bool = False
    tenants_checked: str = ""
    effective_text: str = ""
    moves_text: str = ""


def impact_view(report: ImpactReport, effective_at: datetime | None, *, moves: bool) -> ImpactView:
    return ImpactView(
        figures=[
            (f"{report.exceeding_tenants:,}", "Tenants over a new limit"),
            (f"{report.losing_tenants:,}", "Tenants that lose access"),
            (f"{report.newly_refused + report.newly_allowed:,}", "Changed decisions"),
            (f"{report.gaining_tenants:,}", "Tenants that gain access"),
        ],
        gains=[shift_row(shift) for shift in report.gains],
        losses=[shift_row(shift) for shift in report.losses],
        over_limit=[shift_row(shift, over=True) for shift in report.exceeded_limits],
        changed_decisions=[flip_row(flip) for flip in report.decision_changes],
        is_empty=report.is_empty,
        tenants_checked=labels.plural(report.compared_tenants, "tenant", "tenants"),
        effective_text=f"on {effective_at:%-d %B %Y}, 00:00 UTC" if effective_at else "immediately",
        moves_text="Tenants on earlier versions move to this version."
        if moves
        else "Tenants on earlier versions keep their version.",
    )


def shift_row(shift: EntitlementChange, *, over: bool = False) -> ImpactRow:
    if shift.target == "feature":
        return _impact_row(FEATURES[shift.name].title, "", shift.tenant_count, shift.tenants)
    before, after = (
        plan_content.format_limit(limit, shift.name)
        for limit in (shift.before, shift.after)
        if limit is not None
    )
    kind = LIMITS[shift.name]
    note = f"In use: more than {after}" if over else f"{before} → {after}"
    return _impact_row(kind.title, note, shift.tenant_count, shift.tenants, used=over)


def flip_row(flip: DecisionChange) -> ImpactRow:
    reason = labels.REFUSAL_LABELS.get(flip.reason, flip.reason.replace("_", " "))
    title = ACTIONS[flip.action].description
    tenant_count = labels.plural(flip.tenant_count, "tenant", "tenants")
    decision_text = f"Now denied: {reason}" if flip.is_allowed else f"Would be denied: {reason}"
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
        TenantNameRow(id=tenant.id, name=tenant.name, note=f"{tenant.usage:,} in use" if used else "")
        for tenant in tenants
    ]
    remaining = total - len(tenant_rows)
    return ImpactRow(
        title=title,
        note=note,
        count=f"{total if count is None else count:,}",
        first_tenants=tenant_rows[:TENANTS_SHOWN],
        more_tenants=tenant_rows[TENANTS_SHOWN:],
        remainder_text=f"and {remaining:,} more" if remaining else "",
        unfold_label=f"Show {labels.plural(len(tenant_rows) - TENANTS_SHOWN, 'more tenant', 'more tenants')}",
    )
