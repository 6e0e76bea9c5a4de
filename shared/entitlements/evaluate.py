"""Facts to `Rights`: the layers in their order, once per set of facts and not once per question.

Order: plan version, add-ons and overrides say what a tenant is entitled to; a later layer only takes away: tenant
state, billing status, the trial's clock, flags. `entitlements.explain` walks the same layers with their rows.
"""

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from shared.access.actions import ACTIONS, Action
from shared.access.refusal_codes import Reason
from shared.core.context import Limit, RefusalWording, Rights
from shared.entitlements.catalog import Catalog
from shared.entitlements.features import FEATURES
from shared.entitlements.flag_evaluation import FlagProvider, FlagTarget
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import TenantOverride
from shared.entitlements.snapshot import EntitlementSnapshot

ZERO_LIMIT = Limit(0)
SEAT_LIMIT = "members"  # the limit that seats are
STATE_REASONS = {
    "deleted": Reason.TENANT_DELETED,
    "pending_verification": Reason.TENANT_UNVERIFIED,
    "suspended": Reason.TENANT_SUSPENDED,
}
MAX_CACHED_RIGHTS = 4_096  # different sets of facts; above that the one that was not asked for longest goes
_compiled_rights: OrderedDict[tuple[object, ...], Rights] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Entitlements:
    """What plan, add-ons and overrides come to, before billing and clock take anything away."""

    features: frozenset[str]
    limits: Mapping[str, Limit]


def compile_rights(
    snapshot: EntitlementSnapshot, catalog: Catalog, provider: FlagProvider, state: str
) -> Rights:
    """The same object for all tenants with the same facts. `state`: of the tenant, as it is for this person."""
    flags = evaluate_flags(snapshot, catalog, provider)
    key = (
        *(
            catalog.epoch,
            snapshot.offer.id,
            snapshot.seats,
            state,
            snapshot.billing_status,
            snapshot.trial_ended,
            flags,
        ),
        tuple(sorted((offer.id, row.quantity) for row, offer in snapshot.addons)),
        tuple(sorted((*at, json.dumps(row.value, sort_keys=True)) for at, row in snapshot.overrides.items())),
        # Whose epoch it is not: a plan of this tenant only may be published while another one is read.
        catalog.fallback_offer(snapshot.at).id,
        tuple(offer.id for offer in catalog.list_offers(snapshot.at)),
    )
    compiled = _compiled_rights.get(key)
    if compiled is None:
        compiled = _compiled_rights[key] = _compile_rights(snapshot, catalog, flags, state)
        if len(_compiled_rights) > MAX_CACHED_RIGHTS:
            _compiled_rights.popitem(last=False)
    else:
        _compiled_rights.move_to_end(key)
    return compiled


def clear_compiled_rights() -> None:
    """For tests, and for a provider of flags that says that everything may have changed."""
    _compiled_rights.clear()


def evaluate_flags(snapshot: EntitlementSnapshot, catalog: Catalog, provider: FlagProvider) -> frozenset[str]:
    """Also without what they require: the plan is asked before the flag."""
    target = build_target(snapshot)
    return frozenset(flag for flag in catalog.flags if provider.evaluate(flag, target, snapshot.at).is_on)


def build_target(snapshot: EntitlementSnapshot) -> FlagTarget:
    return FlagTarget(
        snapshot.tenant_id,
        snapshot.offer.key,
        {name: row.value for name, row in snapshot.traits.items()},
        {flag: row.enabled for flag, row in snapshot.flag_overrides.items()},
    )


def compute_entitlements(snapshot: EntitlementSnapshot) -> Entitlements:
    features = set(snapshot.offer.features)
    limits = {name: get_plan_limit(snapshot, name) for name in LIMITS}
    for row, addon in snapshot.addons:
        features |= addon.features
        for name, added_limit in addon.limits.items():
            limits[name] = raise_limit(limits[name], added_limit, row.quantity)
    for (target, name), override in snapshot.overrides.items():
        if target == "limit":
            limits[name] = get_override_limit(override)
        elif override.value:
            features.add(name)
        else:
            features.discard(name)
    return Entitlements(frozenset(features & FEATURES.keys()), limits)


def get_plan_limit(snapshot: EntitlementSnapshot, name: str) -> Limit:
    """What the plan gives; of seats that are bought one by one, what was bought."""
    limit, seats = snapshot.offer.limits.get(name, ZERO_LIMIT), snapshot.seats
    return (
        get_lower_limit(limit, Limit(seats, limit.hard))
        if name == SEAT_LIMIT and seats is not None
        else limit
    )


def raise_limit(limit: Limit, added_limit: Limit, quantity: int) -> Limit:
    if limit.amount is None or added_limit.amount is None:
        return Limit(None, limit.hard)
    return Limit(limit.amount + added_limit.amount * quantity, limit.hard)


def get_override_limit(row: TenantOverride) -> Limit:
    return Limit(row.value["amount"], row.value["hard"])


def get_lower_limit(first: Limit, second: Limit) -> Limit:
    if first.amount is None or (second.amount is not None and second.amount < first.amount):
        return second
    return first


def get_fallback_reason(snapshot: EntitlementSnapshot) -> Reason | None:
    """Why a tenant has only what the fallback plan gives, if it has."""
    if snapshot.billing_status == "none":
        return Reason.BILLING_NONE
    return Reason.TRIAL_ENDED if snapshot.trial_ended else None


def _compile_rights(
    snapshot: EntitlementSnapshot, catalog: Catalog, flags: frozenset[str], state: str
) -> Rights:
    entitlements, fallback_reason = compute_entitlements(snapshot), get_fallback_reason(snapshot)
    features, limits = entitlements.features, entitlements.limits
    if fallback_reason is not None:
        fallback = catalog.fallback_offer(snapshot.at)
        features = features & fallback.features
        limits = {
            name: get_lower_limit(limit, fallback.limits.get(name, ZERO_LIMIT))
            for name, limit in limits.items()
        }
    enabled_flags = frozenset(
        flag
        for flag in flags
        if not (required_feature := catalog.flags[flag].flag.required_feature) or required_feature in features
    )
    verdicts = {}
    for action in ACTIONS.values():
        rollout = catalog.flags.get(action.flag)
        required = rollout.flag.required_feature if rollout else ""
        reason = evaluate_action(action, snapshot, entitlements.features, features, flags, state, required)
        if reason is not Reason.ALLOWED:
            verdicts[action.name] = reason.value
    return Rights(
        snapshot.offer.key,
        snapshot.offer.name,
        snapshot.offer.id,
        snapshot.billing_status,
        features,
        MappingProxyType(limits),  # shared by tenants, so nobody may write into it
        enabled_flags,
        MappingProxyType(verdicts),
        MappingProxyType(build_words(catalog, snapshot.at)),
    )


def evaluate_action(
    action: Action,
    snapshot: EntitlementSnapshot,
    entitled_features: frozenset[str],
    features: frozenset[str],
    flags: frozenset[str],
    state: str,
    required_feature: str,
) -> Reason:
    """What the tenant's side says to an action. Permission, limit and object are asked by `access.decision`.

    `entitled`: before billing and trial took something away; `features`: after. `required`: by the action's flag.
    """
    blocked = STATE_REASONS.get(state)
    if blocked is not None and not (action.allowed_when_unverified and blocked is Reason.TENANT_UNVERIFIED):
        return blocked
    if action.allowed_when_unpaid:
        return Reason.ALLOWED
    status = snapshot.billing_status
    if status == "read_only" and action.writes:
        return Reason.BILLING_READ_ONLY
    if action.feature and action.feature not in features:
        if status == "none":
            return Reason.BILLING_NONE
        return Reason.NOT_IN_PLAN if action.feature not in entitled_features else Reason.TRIAL_ENDED
    if required_feature and required_feature != action.feature and required_feature not in features:
        return Reason.NOT_IN_PLAN
    if action.flag and action.flag not in flags:
        return Reason.FLAG_OFF
    return Reason.BILLING_GRACE if status == "grace" and action.writes else Reason.ALLOWED


def build_words(catalog: Catalog, at: datetime) -> dict[str, RefusalWording]:
    offers = catalog.list_offers(at)
    words_by_key = {name: RefusalWording(kind.plural, kind.step) for name, kind in LIMITS.items()}
    for key, feature in FEATURES.items():
        words_by_key[key] = RefusalWording(
            feature.title, join_names([offer.name for offer in offers if key in offer.features])
        )
    return words_by_key


def join_names(words: Sequence[str]) -> str:
    """As in "Pro, Business and Enterprise"."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
