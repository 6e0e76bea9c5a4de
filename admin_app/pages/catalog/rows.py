"""The rows of the catalog."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from admin_app import labels
from shared.backoffice.catalog_drafts import CatalogItem, OperatorCatalog
from shared.backoffice.impact import VersionUsage
from shared.core.context import Limit
from shared.entitlements import plan_content
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, LimitKind, LimitPeriod
from shared.entitlements.models import PlanVersion
from shared.entitlements.plan_content import PlanContent


@dataclass(frozen=True, kw_only=True)
class CatalogItemRow:
    """A plan or add-on, by its version in force or, before there is one, its draft."""

    id: str = ""
    key: str = ""
    name: str = ""
    sentence: str = ""
    kind: str = ""  # as in "add-on"
    version: str = ""  # as in "Version 3"
    since: str = ""  # ISO, "" before anything is in force
    next_version_text: str = ""  # as in "Version 4 is scheduled"
    tenants: str = ""
    earlier_text: str = ""  # as in "3 on earlier versions"
    trial: str = ""
    contents_text: str = ""  # of an add-on
    draft_id: str = ""  # id
    draft_by: str = ""
    retired: bool = False
    tenant_id: str = ""  # of a custom plan
    tenant: str = ""


@dataclass(frozen=True, kw_only=True)
class CompareCell:
    value: str  # "yes" and "" for a feature
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class CompareRow:
    """A limit or feature, with a cell for each plan."""

    title: str
    unit: str = ""
    cells: list[CompareCell] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class PlanVersionRow:
    number: str
    since: str
    state: str
    tone: str
    move_text: str
    publication: str  # by whom and why
    tenants: str


@dataclass(frozen=True, kw_only=True)
class CatalogLists:
    plans: list[CatalogItemRow]
    addons: list[CatalogItemRow]
    tenant_offers: list[CatalogItemRow]
    retired: list[CatalogItemRow]
    limits: list[CompareRow]
    features: list[CompareRow]

    def find(self, plan_id: str) -> CatalogItemRow:
        """An empty row for an id that no list contains."""
        listed = (*self.plans, *self.addons, *self.tenant_offers, *self.retired)
        return next((row for row in listed if row.id == plan_id), CatalogItemRow())


def catalog_lists(stock: OperatorCatalog, usage: VersionUsage, at: datetime) -> CatalogLists:
    def item_rows(items: list[CatalogItem]) -> list[CatalogItemRow]:
        return [item_row(item, usage.tenants_by_version, usage.tenant_names, at) for item in items]

    offered = [item for item in stock.items if item.plan.retired_at is None]
    public = [item for item in offered if item.plan.for_tenant is None]
    plans = [item for item in public if item.plan.kind == "plan"]
    limits, features = compare_rows(plans, at)
    return CatalogLists(
        plans=item_rows(plans),
        addons=item_rows([item for item in public if item.plan.kind == "addon"]),
        tenant_offers=item_rows([item for item in offered if item.plan.for_tenant is not None]),
        retired=item_rows([item for item in stock.items if item.plan.retired_at is not None]),
        limits=limits,
        features=features,
    )


def plan_version_rows(
    stock: OperatorCatalog, usage: VersionUsage, plan_id: str, at: datetime
) -> list[PlanVersionRow]:
    """The published versions of the plan, newest first."""
    return [
        plan_version_row(version, item, usage.tenants_by_version, at)
        for item in stock.items
        if item.plan.id == plan_id
        for version in reversed(item.published)
    ]


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
        id=plan.id,
        key=plan.key,
        name=plan.name,
        sentence=plan.sentence,
        kind="Add-on" if plan.kind == "addon" else "Plan",
        version=f"Version {current.number}" if current else "Not in force yet",
        since=current.effective_at.isoformat() if current and current.effective_at else "",
        next_version_text=f"Version {coming[-1].number} is scheduled" if coming else "",
        tenants=f"{by_version.get(current.id, 0):,}" if current else "0",
        earlier_text=f"{older_count:,} on another version" if older_count else "",
        trial=labels.plural(days, "day", "days") if days else "",
        contents_text=describe_contents(plan_content.from_version(shown))
        if shown and plan.kind == "addon"
        else "",
        draft_id=draft.id if draft else "",
        draft_by=draft.changed_by if draft else "",
        retired=plan.retired_at is not None,
        tenant_id=plan.for_tenant or "",
        tenant=names.get(plan.for_tenant or "", plan.for_tenant or ""),
    )


def version_in_force(item: CatalogItem, at: datetime) -> PlanVersion | None:
    """The version that a new subscriber gets now."""
    published = [
        version
        for version in item.published
        if version.effective_at is not None and version.effective_at <= at
    ]
    return published[-1] if published else None


def describe_contents(content: PlanContent) -> str:
    """The contents of an add-on in one line."""
    amounts = [
        f"{'' if limit.amount is None else '+'}{plan_content.format_limit(limit, name)}"
        for name, limit in content.limits.items()
    ]
    return ", ".join([*amounts, *(FEATURES[name].title for name in FEATURES if name in content.features)])


def compare_rows(items: Sequence[CatalogItem], at: datetime) -> tuple[list[CompareRow], list[CompareRow]]:
    """Limits and features of current and scheduled versions."""
    shown = [version_in_force(item, at) or item.newest for item in items]
    plan_contents = [
        plan_content.from_version(version) if version else plan_content.build_empty("plan")
        for version in shown
    ]
    limits = [
        CompareRow(
            title=kind.title,
            unit="a month" if kind.period is LimitPeriod.MONTH else "",
            cells=[limit_cell(content.limits.get(name, Limit(0))) for content in plan_contents],
        )
        for name, kind in LIMITS.items()
    ]
    features = [
        CompareRow(
            title=feature.title,
            unit="",
            cells=[CompareCell(value="yes" if name in content.features else "") for content in plan_contents],
        )
        for name, feature in FEATURES.items()
    ]
    return limits, features


def limit_unit(kind: LimitKind) -> str:
    return f"{kind.plural} a month" if kind.period is LimitPeriod.MONTH else kind.plural


def limit_cell(limit: Limit) -> CompareCell:
    if limit.amount is None:
        return CompareCell(value="Unlimited")
    return CompareCell(value=f"{limit.amount:,}", note="" if limit.hard else "warns above")


def plan_version_row(
    version: PlanVersion, item: CatalogItem, by_version: Mapping[str, int], at: datetime
) -> PlanVersionRow:
    current = version_in_force(item, at)
    if version.effective_at is not None and version.effective_at > at:
        state, tone = "Scheduled", "wait"
    elif version is current:
        state, tone = "In force", "ok"
    else:
        state, tone = "Earlier", "idle"
    return PlanVersionRow(
        number=str(version.number),
        since=version.effective_at.isoformat() if version.effective_at else "",
        state=state,
        tone=tone,
        move_text="Moved to it" if version.moves else "Kept earlier version" if version.number > 1 else "",
        publication=f"{version.published_by}: {version.reason}",
        tenants=f"{by_version.get(version.id, 0):,}",
    )
