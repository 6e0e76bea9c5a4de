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
from shared.access.reasons import Reason
from shared.core.ctx import Limit, Rights, Words
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.facts import Facts
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import TenantOverride
from shared.entitlements.rollout import Provider, Target

NOTHING = Limit(0)
SEATS = "members"  # the limit that seats are
STATES = {
    "deleted": Reason.TENANT_DELETED,
    "pending_verification": Reason.TENANT_UNVERIFIED,
    "suspended": Reason.TENANT_SUSPENDED,
}
MOST = 4_096  # different sets of facts; above that the one that was not asked for longest goes
_compiled: OrderedDict[tuple[object, ...], Rights] = OrderedDict()


@dataclass(frozen=True, slots=True)
class Entitled:
    """What plan, add-ons and overrides come to, before billing and clock take anything away."""

    features: frozenset[str]
    limits: Mapping[str, Limit]


def rights(facts: Facts, catalogue: Catalogue, provider: Provider, state: str) -> Rights:
    """The same object for all tenants with the same facts. `state`: of the tenant, as it is for this person."""
    flags = flags_on(facts, catalogue, provider)
    key = (
        *(
            catalogue.epoch,
            facts.offer.id,
            facts.seats,
            state,
            facts.billing_status,
            facts.trial_ended,
            flags,
        ),
        tuple(sorted((offer.id, row.quantity) for row, offer in facts.addons)),
        tuple(sorted((*at, json.dumps(row.value, sort_keys=True)) for at, row in facts.overrides.items())),
        # Whose epoch it is not: a plan of this tenant only may be published while another one is read.
        catalogue.fallback(facts.at).id,
        tuple(one.id for one in catalogue.sold(facts.at)),
    )
    found = _compiled.get(key)
    if found is None:
        found = _compiled[key] = _compile(facts, catalogue, flags, state)
        if len(_compiled) > MOST:
            _compiled.popitem(last=False)
    else:
        _compiled.move_to_end(key)
    return found


def forget() -> None:
    """For tests, and for a provider of flags that says that everything may have changed."""
    _compiled.clear()


def flags_on(facts: Facts, catalogue: Catalogue, provider: Provider) -> frozenset[str]:
    """Also without what they require: the plan is asked before the flag."""
    target = target_of(facts)
    return frozenset(flag for flag in catalogue.flags if provider.evaluate(flag, target, facts.at).on)


def target_of(facts: Facts) -> Target:
    return Target(
        facts.tenant_id,
        facts.offer.key,
        {name: row.value for name, row in facts.traits.items()},
        {flag: row.enabled for flag, row in facts.own_flags.items()},
    )


def entitled(facts: Facts) -> Entitled:
    features = set(facts.offer.features)
    limits = {name: of_plan(facts, name) for name in LIMITS}
    for row, addon in facts.addons:
        features |= addon.features
        for name, more in addon.limits.items():
            limits[name] = raised(limits[name], more, row.quantity)
    for (target, name), override in facts.overrides.items():
        if target == "limit":
            limits[name] = overridden(override)
        elif override.value:
            features.add(name)
        else:
            features.discard(name)
    return Entitled(frozenset(features & FEATURES.keys()), limits)


def of_plan(facts: Facts, name: str) -> Limit:
    """What the plan gives; of seats that are bought one by one, what was bought."""
    limit, seats = facts.offer.limits.get(name, NOTHING), facts.seats
    return lower(limit, Limit(seats, limit.hard)) if name == SEATS and seats is not None else limit


def raised(limit: Limit, more: Limit, times: int) -> Limit:
    if limit.amount is None or more.amount is None:
        return Limit(None, limit.hard)
    return Limit(limit.amount + more.amount * times, limit.hard)


def overridden(row: TenantOverride) -> Limit:
    return Limit(row.value["amount"], row.value["hard"])


def lower(one: Limit, other: Limit) -> Limit:
    if one.amount is None or (other.amount is not None and other.amount < one.amount):
        return other
    return one


def fallen(facts: Facts) -> Reason | None:
    """Why a tenant has only what the fallback plan gives, if it has."""
    if facts.billing_status == "none":
        return Reason.BILLING_NONE
    return Reason.TRIAL_ENDED if facts.trial_ended else None


def _compile(facts: Facts, catalogue: Catalogue, flags: frozenset[str], state: str) -> Rights:
    has, down = entitled(facts), fallen(facts)
    features, limits = has.features, has.limits
    if down is not None:
        rest = catalogue.fallback(facts.at)
        features = features & rest.features
        limits = {name: lower(limit, rest.limits.get(name, NOTHING)) for name, limit in limits.items()}
    on = frozenset(
        flag
        for flag in flags
        if not (needed := catalogue.flags[flag].row.required_feature) or needed in features
    )
    verdicts = {}
    for action in ACTIONS.values():
        rollout = catalogue.flags.get(action.flag)
        required = rollout.row.required_feature if rollout else ""
        reason = verdict(action, facts, has.features, features, flags, state, required)
        if reason is not Reason.ALLOWED:
            verdicts[action.name] = reason.value
    return Rights(
        facts.offer.key,
        facts.offer.name,
        facts.offer.id,
        facts.billing_status,
        features,
        MappingProxyType(limits),  # shared by tenants, so nobody may write into it
        on,
        MappingProxyType(verdicts),
        MappingProxyType(words(catalogue, facts.at)),
    )


def verdict(
    action: Action,
    facts: Facts,
    entitled: frozenset[str],
    features: frozenset[str],
    flags: frozenset[str],
    state: str,
    required: str,
) -> Reason:
    """What the tenant's side says to an action. Permission, limit and object are asked by `access.decision`.

    `entitled`: before billing and trial took something away; `features`: after. `required`: by the action's flag.
    """
    blocked = STATES.get(state)
    if blocked is not None and not (action.unverified_ok and blocked is Reason.TENANT_UNVERIFIED):
        return blocked
    if action.cleans_up:
        return Reason.ALLOWED
    status = facts.billing_status
    if status == "read_only" and action.writes:
        return Reason.BILLING_READ_ONLY
    if action.feature and action.feature not in features:
        if status == "none":
            return Reason.BILLING_NONE
        return Reason.NOT_IN_PLAN if action.feature not in entitled else Reason.TRIAL_ENDED
    if required and required != action.feature and required not in features:
        return Reason.NOT_IN_PLAN
    if action.flag and action.flag not in flags:
        return Reason.FLAG_OFF
    return Reason.BILLING_GRACE if status == "grace" and action.writes else Reason.ALLOWED


def words(catalogue: Catalogue, at: datetime) -> dict[str, Words]:
    sold = catalogue.sold(at)
    found = {name: Words(kind.many, kind.step) for name, kind in LIMITS.items()}
    for key, feature in FEATURES.items():
        found[key] = Words(feature.title, listed([one.name for one in sold if key in one.features]))
    return found


def listed(words: Sequence[str]) -> str:
    """As in "Pro, Business and Enterprise"."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
