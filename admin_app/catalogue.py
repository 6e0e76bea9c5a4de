"""What the page of plans and add-ons shows: rows out of the catalogue, the fields of a draft, the effect in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import StringConstraints, create_model

from admin_app import words
from shared.access.actions import ACTIONS
from shared.core.ctx import Limit
from shared.core.errors import Invalid
from shared.entitlements import contents
from shared.entitlements.contents import Content
from shared.entitlements.drafts import Item
from shared.entitlements.effects import Flip, Named, Shift
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS, Kind, Per
from shared.entitlements.models import PlanVersion
from shared.ui.form_model import Form
from shared.ui.why import Change

FEW = 4  # tenants that a line names at once; the others unfold


@dataclass(frozen=True)
class ItemRow:
    """A plan or add-on, by its version in force or, before there is one, its draft."""

    id: str = ""
    key: str = ""
    name: str = ""
    sentence: str = ""
    kind: str = ""  # as in "add-on"
    version: str = ""  # as in "Version 3"
    since: str = ""  # ISO, "" before anything is in force
    coming: str = ""  # as in "Version 4 follows"
    tenants: str = ""
    earlier: str = ""  # as in "3 on earlier versions"
    trial: str = ""
    gives: str = ""  # of an add-on
    draft: str = ""  # id
    draft_by: str = ""
    retired: bool = False
    tenant_id: str = ""  # to whom alone it is offered
    tenant: str = ""


@dataclass(frozen=True)
class Cell:
    value: str  # "yes" and "" for a feature
    said: str = ""


@dataclass(frozen=True)
class CompareRow:
    """A limit or feature, with a cell for each plan."""

    title: str
    unit: str = ""
    cells: list[Cell] = field(default_factory=list)


@dataclass(frozen=True)
class VersionRow:
    number: str
    since: str
    state: str
    tone: str
    moves: str
    published: str  # by whom and why
    tenants: str


@dataclass(frozen=True)
class NamedRow:
    id: str
    name: str
    said: str = ""


@dataclass(frozen=True)
class EffectRow:
    title: str
    said: str
    count: str
    few: list[NamedRow] = field(default_factory=list)
    rest: list[NamedRow] = field(default_factory=list)
    more: str = ""  # as in "and 312 more"
    unfold: str = ""  # as in "Show 46 more tenants"


# ── the catalogue ────────────────────────────────────────────────────────────────────────────────────────────────


def item_row(item: Item, by_version: Mapping[str, int], names: Mapping[str, str], at: datetime) -> ItemRow:
    plan, draft = item.plan, item.draft
    now_ = in_force(item, at)
    coming = [one for one in item.published if now_ is None or one.number > now_.number]
    held = sum(by_version.get(one.id, 0) for one in item.published if one is not now_)
    shown = now_ or (item.published[0] if item.published else None)
    days = shown.trial_days if shown else 0
    return ItemRow(
        plan.id,
        plan.key,
        plan.name,
        plan.sentence,
        "Add-on" if plan.kind == "addon" else "Plan",
        f"Version {now_.number}" if now_ else "Not in force yet",
        now_.effective_at.isoformat() if now_ and now_.effective_at else "",
        f"Version {coming[-1].number} follows" if coming else "",
        f"{by_version.get(now_.id, 0):,}" if now_ else "0",
        f"{held:,} on another version" if held else "",
        words.some_of(days, "day", "days") if days else "",
        gives(contents.of(shown)) if shown and plan.kind == "addon" else "",
        draft.id if draft else "",
        draft.changed_by if draft else "",
        plan.retired_at is not None,
        plan.for_tenant or "",
        names.get(plan.for_tenant or "", plan.for_tenant or ""),
    )


def in_force(item: Item, at: datetime) -> PlanVersion | None:
    """What somebody who chooses it now gets."""
    valid = [one for one in item.published if one.effective_at is not None and one.effective_at <= at]
    return valid[-1] if valid else None


def gives(content: Content) -> str:
    """Of an add-on, in a line."""
    more = [
        amount if amount.startswith("unlimited") else f"+{amount}"
        for amount in (contents.said(limit, name) for name, limit in content.limits.items())
    ]
    return ", ".join([*more, *(FEATURES[name].title for name in FEATURES if name in content.features)])


def compared(items: Sequence[Item], at: datetime) -> tuple[list[CompareRow], list[CompareRow]]:
    """Limits and features of what is in force, or is coming."""
    shown = [in_force(item, at) or item.newest for item in items]
    has = [contents.of(one) if one else contents.first("plan") for one in shown]
    limits = [
        CompareRow(
            kind.title,
            "a month" if kind.per is Per.MONTH else "",
            [amount(one.limits.get(name, Limit(0))) for one in has],
        )
        for name, kind in LIMITS.items()
    ]
    features = [
        CompareRow(one.title, "", [Cell("yes" if name in each.features else "") for each in has])
        for name, one in FEATURES.items()
    ]
    return limits, features


def unit(kind: Kind) -> str:
    return f"{kind.many} a month" if kind.per is Per.MONTH else kind.many


def amount(limit: Limit) -> Cell:
    if limit.amount is None:
        return Cell("Unlimited")
    return Cell(f"{limit.amount:,}", "" if limit.hard else "warns above")


def version_row(one: PlanVersion, item: Item, by_version: Mapping[str, int], at: datetime) -> VersionRow:
    now_ = in_force(item, at)
    if one.effective_at is not None and one.effective_at > at:
        state, tone = "Coming", "wait"
    elif one is now_:
        state, tone = "In force", "ok"
    else:
        state, tone = "Earlier", "idle"
    return VersionRow(
        str(one.number),
        one.effective_at.isoformat() if one.effective_at else "",
        state,
        tone,
        "Moved to it" if one.moves else "Stayed" if one.number > 1 else "",
        f"{one.published_by}: {one.reason}",
        f"{by_version.get(one.id, 0):,}",
    )


# ── a draft ──────────────────────────────────────────────────────────────────────────────────────────────────────


def slug(name: str) -> str:
    """Of a feature, as part of the name of a field."""
    return name.replace(".", "_")


Text = Annotated[str, StringConstraints(max_length=20)]
_FIELDS: dict[str, Any] = {
    **{f"limit_{name}": (Text, "") for name in LIMITS},
    **{f"mode_{name}": (Literal["hard", "soft", "unlimited"], "hard") for name in LIMITS},
    **{f"feature_{slug(name)}": (Literal["on", ""], "") for name in FEATURES},
    "trial_days": (Text, "0"),
    "moves": (Literal["move", "stay"], "stay"),
    "effective_on": (Text, ""),
}
DraftFields: type[Form] = create_model("DraftFields", __base__=Form, **_FIELDS)


def content_of(form: Form, flags: Sequence[str]) -> Content:
    """What the fields say. Raises Invalid for what is no number."""
    given = form.model_dump()
    limits = {}
    for name, kind in LIMITS.items():
        typed = given[f"limit_{name}"].replace(",", "").replace(" ", "")
        unlimited = given[f"mode_{name}"] == "unlimited"
        if typed or unlimited:
            soft = given[f"mode_{name}"] == "soft"
            limits[name] = Limit(None if unlimited else _number(kind.title, typed), hard=not soft)
    return Content(
        _number("Trial", given["trial_days"] or "0"),
        frozenset(name for name in FEATURES if given[f"feature_{slug(name)}"]),
        limits,
        frozenset(flags),
    )


def _number(title: str, typed: str) -> int:
    try:
        return int(typed)
    except ValueError:
        raise Invalid(f"{title} needs a whole number.", "Nothing was changed. Correct it.") from None


def date_of(form: Form) -> datetime | None:
    """Midnight UTC of the day, None for at once. Raises Invalid."""
    typed = form.model_dump()["effective_on"]
    if not typed:
        return None
    try:
        return datetime.strptime(typed, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Invalid("This is not a date.", "Choose one from the calendar.") from None


def typed(limit: Limit | None) -> tuple[str, str]:
    """Amount and mode as the fields have them."""
    if limit is None:
        return "", "hard"
    mode = "unlimited" if limit.amount is None else "hard" if limit.hard else "soft"
    return "" if limit.amount is None else f"{limit.amount:,}", mode


def changed(before: Content, after: Content) -> list[Change]:
    return [Change(*one) for one in contents.differences(before, after)]


# ── the effect ───────────────────────────────────────────────────────────────────────────────────────────────────


def shift_row(one: Shift, *, over: bool = False) -> EffectRow:
    if one.target == "feature":
        return _effect(FEATURES[one.name].title, "", one.total, one.tenants)
    before, after = (contents.said(limit, one.name) for limit in (one.before, one.after) if limit is not None)
    kind = LIMITS[one.name]
    said = f"More in use than {after}" if over else f"{before} → {after}"
    return _effect(kind.title, said, one.total, one.tenants, used=over)


def flip_row(one: Flip) -> EffectRow:
    said = words.REASONS.get(one.reason, one.reason.replace("_", " "))
    title = ACTIONS[one.action].said
    whom = words.some_of(one.total, "tenant", "tenants")
    turn = f"Allowed then; now {said}" if one.allowed else f"Refused then: {said}"
    return _effect(
        f"{title[:1].upper()}{title[1:]}", f"{turn} · {whom}", one.total, one.tenants, count=one.decisions
    )


def _effect(
    title: str,
    said: str,
    total: int,
    tenants: Sequence[Named],
    *,
    count: int | None = None,
    used: bool = False,
) -> EffectRow:
    named = [NamedRow(one.id, one.name, f"{one.used:,} in use" if used else "") for one in tenants]
    more = total - len(named)
    return EffectRow(
        title,
        said,
        f"{total if count is None else count:,}",
        named[:FEW],
        named[FEW:],
        f"and {more:,} more" if more else "",
        f"Show {words.some_of(len(named) - FEW, 'more tenant', 'more tenants')}",
    )
