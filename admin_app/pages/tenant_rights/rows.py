"""The rows of a tenant's rights tab."""

from dataclasses import dataclass
from datetime import datetime

from admin_app import addresses
from admin_app.pages.tenant_rights.forms import BILLING_STATUS_LABELS, FLAG_OVERRIDE_LABELS
from shared.access.actions import ACTIONS
from shared.backoffice.tenant_access import TenantAccess
from shared.entitlements import explain
from shared.entitlements.assignments import TRAITS
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import SUBSCRIPTION_SOURCE, TenantOverride

TRAIT_TITLES = {"internal": "Internal", "beta": "Beta"} | {
    name: name.capitalize() for name, values in TRAITS.items() if values
}
ACTION_BY_RIGHT = {  # feature or limit: the first action that needs it
    key: action.name for action in reversed(ACTIONS.values()) for key in (action.feature, action.limit) if key
}


@dataclass(frozen=True, kw_only=True)
class RightsSummary:
    """Plan, trial and billing status of the tenant."""

    plan: str = ""
    plan_since: str = ""
    plan_note: str = ""
    trial: str = ""
    trial_until: str = ""
    billing: str = ""
    tone: str = ""
    billing_since: str = ""
    billing_note: str = ""
    billing_source: str = ""


@dataclass(frozen=True, kw_only=True)
class ExceptionRow:
    """An add-on or an override."""

    id: str
    title: str
    value: str
    origin: str
    until: str


@dataclass(frozen=True, kw_only=True)
class RightRow:
    key: str
    title: str
    value: str
    tone: str
    used_text: str
    explanation: str
    source: str
    explain_url: str  # "" where no action needs it


@dataclass(frozen=True, kw_only=True)
class FlagOrTraitRow:
    """A flag or a trait of this tenant."""

    key: str
    title: str
    value: str
    tone: str
    explanation: str
    source: str


@dataclass(frozen=True, kw_only=True)
class DialogSubject:
    """What a dialog is about."""

    id: str = ""
    title: str = ""
    value: str = ""


def rights_summary(rights: TenantAccess) -> RightsSummary:
    facts = rights.snapshot
    assignment, billing = facts.assignment, facts.billing
    word, tone, _ = BILLING_STATUS_LABELS[facts.billing_status]
    trial = "No trial"
    if facts.trial_ends_at is not None:
        trial = "Trial has ended" if facts.trial_ended else "On trial"
    return RightsSummary(
        plan=facts.offer.label,
        plan_since=_iso_or_empty(assignment.starts_at) if assignment else "",
        plan_note=_attribution(assignment.by_name, assignment.reason) if assignment else "No plan assigned",
        trial=trial,
        trial_until=_iso_or_empty(facts.trial_ends_at),
        billing=word,
        tone=tone,
        billing_since=_iso_or_empty(billing.starts_at) if billing else "",
        billing_note=_attribution(billing.by_name, billing.reason) if billing else "Never billed",
        billing_source="Set by the subscription."
        if billing and billing.source == SUBSCRIPTION_SOURCE
        else "Set manually until there is a subscription.",
    )


def addon_rows(rights: TenantAccess) -> list[ExceptionRow]:
    return [
        ExceptionRow(
            id=assignment.id,
            title=offer.label,
            value=f"{assignment.quantity} ×",
            origin=_attribution(assignment.by_name, assignment.reason),
            until=_iso_or_empty(assignment.ends_at),
        )
        for assignment, offer in rights.addons
    ]


def override_rows(rights: TenantAccess) -> list[ExceptionRow]:
    return [
        ExceptionRow(
            id=override.id,
            title=_override_title(override),
            value=_override_value(override),
            origin=_attribution(override.by_name, override.reason),
            until=_iso_or_empty(override.ends_at),
        )
        for override in sorted(rights.overrides, key=lambda override: (override.target, override.name))
    ]


def feature_rows(rights: TenantAccess, tenant_id: str) -> list[RightRow]:
    return [
        RightRow(
            key=key,
            title=FEATURES[key].title,
            value="Yes" if chain.included else "No",
            tone="ok" if chain.included else "idle",
            used_text="",
            explanation=explain.describe_feature_chain(chain),
            source=chain.source_id,
            explain_url=_explain_url(rights, tenant_id, key),
        )
        for key, chain in rights.features.items()
    ]


def limit_rows(rights: TenantAccess, tenant_id: str) -> list[RightRow]:
    rows = []
    for key, chain in rights.limits.items():
        used = rights.usage.get(key)
        used_text = f"{used:,} in use" if used is not None else ""
        is_full = bool(used) and chain.limit.amount is not None and used >= chain.limit.amount
        soft = "" if chain.limit.hard or chain.limit.amount is None else " Warns only."
        rows.append(
            RightRow(
                key=key,
                title=LIMITS[key].title,
                value=explain.format_amount(chain.limit, key),
                tone="bad" if is_full else "",
                used_text=used_text,
                explanation=f"{explain.describe_limit_chain(chain)}{soft}",
                source=chain.source_id,
                explain_url=_explain_url(rights, tenant_id, key),
            )
        )
    return rows


def flag_rows(rights: TenantAccess) -> list[FlagOrTraitRow]:
    return [
        FlagOrTraitRow(
            key=flag.key,
            title=flag.title,
            value="On" if flag.is_on else "Off",
            tone="ok" if flag.is_on else "idle",
            explanation=f"{flag.explanation} Override: {FLAG_OVERRIDE_LABELS[_override_key(flag.override)].lower()}.",
            source=flag.source_id,
        )
        for flag in rights.flags
    ]


def trait_rows(rights: TenantAccess) -> list[FlagOrTraitRow]:
    traits = rights.snapshot.traits
    return [
        FlagOrTraitRow(
            key=name,
            title=title,
            value=traits[name].value if name in traits else "Not set",
            tone="idle",
            explanation=_attribution(traits[name].by_name, traits[name].reason) if name in traits else "",
            source=traits[name].id if name in traits else "",
        )
        for name, title in sorted(TRAIT_TITLES.items())
    ]


def _override_key(override: bool | None) -> str:
    return "none" if override is None else "on" if override else "off"


def _explain_url(rights: TenantAccess, tenant_id: str, key: str) -> str:
    action = ACTION_BY_RIGHT.get(key, "")
    return addresses.explain_url(tenant_id, rights.owner_id, action) if action else ""


def _override_title(override: TenantOverride) -> str:
    if override.target == "limit":
        return LIMITS[override.name].title if override.name in LIMITS else override.name
    return FEATURES[override.name].title if override.name in FEATURES else override.name


def _override_value(override: TenantOverride) -> str:
    if override.target == "feature":
        return "On" if override.value else "Off"
    amount = override.value["amount"]
    amount_text = "Unlimited" if amount is None else f"{amount:,}"
    return amount_text if override.value["hard"] or amount is None else f"{amount_text}, warns only"


def _attribution(name: str, reason: str) -> str:
    return f"{name}: {reason}"


def _iso_or_empty(at: datetime | None) -> str:
    return at.isoformat() if at else ""
