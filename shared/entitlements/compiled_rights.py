"""`Rights`: the answers of the evaluator's tenant layers for every action, computed once for each set of facts."""

import json
from collections import OrderedDict
from datetime import datetime
from itertools import chain
from types import MappingProxyType

from shared.access.actions import ACTIONS, Action, Requirements
from shared.access.refusal_codes import Reason
from shared.core.context import RefusalWording, Rights
from shared.entitlements import evaluate
from shared.entitlements.catalog import Catalog
from shared.entitlements.entitlement_chains import Entitlements
from shared.entitlements.evaluate import AccessSubject, TenantLayers
from shared.entitlements.features import FEATURES
from shared.entitlements.flag_evaluation import (
    EvaluatedFlags,
    FlagEvaluation,
    FlagProvider,
    build_target,
)
from shared.entitlements.limits import LIMITS
from shared.entitlements.snapshot import EntitlementSnapshot

MAX_CACHED_RIGHTS = 4_096  # different sets of facts; above that the least recently used one is dropped
_compiled_rights: OrderedDict[tuple[object, ...], Rights] = OrderedDict()


def compile_rights(
    snapshot: EntitlementSnapshot, catalog: Catalog, provider: FlagProvider, state: str
) -> Rights:
    """The rights, shared by all tenants with the same facts. `state`: of the tenant, as it applies to this person."""
    evaluations = evaluate_flags(snapshot, catalog, provider)
    enabled_flags = frozenset(flag for flag, evaluation in evaluations.items() if evaluation.is_on)
    key = _build_key(snapshot, catalog, enabled_flags, state)
    compiled = _compiled_rights.get(key)
    if compiled is None:
        compiled = _compiled_rights[key] = _compile_rights(snapshot, catalog, evaluations, state)
        if len(_compiled_rights) > MAX_CACHED_RIGHTS:
            _compiled_rights.popitem(last=False)
    else:
        _compiled_rights.move_to_end(key)
    return compiled


def clear_compiled_rights() -> None:
    """For tests, and for a flag provider whose rules have changed."""
    _compiled_rights.clear()


def evaluate_flags(
    snapshot: EntitlementSnapshot, catalog: Catalog, provider: FlagProvider
) -> dict[str, FlagEvaluation]:
    """Evaluations by flag key. Ignores the feature that a flag requires."""
    target = build_target(snapshot)
    return {flag: provider.evaluate(flag, target, snapshot.at) for flag in catalog.flags}


def _build_key(
    snapshot: EntitlementSnapshot, catalog: Catalog, enabled_flags: frozenset[str], state: str
) -> tuple[object, ...]:
    """Everything that the rights depend on."""
    overrides = (
        (*target, json.dumps(row.value, sort_keys=True)) for target, row in snapshot.overrides.items()
    )
    return (
        catalog.epoch,
        snapshot.offer.id,
        snapshot.seats,
        state,
        snapshot.billing_status,
        snapshot.trial_ended,
        enabled_flags,
        tuple(sorted((offer.id, row.quantity) for row, offer in snapshot.addons)),
        tuple(sorted(overrides)),
        # Not part of the epoch: a plan of this tenant only may be published while another one is read.
        catalog.fallback_offer(snapshot.at).id,
        tuple(offer.id for offer in catalog.list_offers(snapshot.at)),
    )


def _compile_rights(
    snapshot: EntitlementSnapshot, catalog: Catalog, evaluations: dict[str, FlagEvaluation], state: str
) -> Rights:
    entitlements = Entitlements(snapshot, catalog)
    features = frozenset(feature for feature in FEATURES if entitlements.is_included(feature))
    limits = {name: entitlements.limit(name).limit for name in LIMITS}
    enabled_flags = frozenset(
        flag
        for flag, evaluation in evaluations.items()
        if evaluation.is_on and _has_required_feature(catalog, flag, features)
    )
    return Rights(
        plan=snapshot.offer.key,
        plan_name=snapshot.offer.name,
        plan_version=snapshot.offer.id,
        billing_status=snapshot.billing_status,
        features=features,
        limits=MappingProxyType(limits),  # shared by tenants, so it must not be changed
        flags=enabled_flags,
        verdicts=MappingProxyType(_compile_verdicts(entitlements, EvaluatedFlags(evaluations), state)),
        wording=MappingProxyType(_build_wording(catalog, snapshot.at)),
    )


def _compile_verdicts(entitlements: Entitlements, provider: FlagProvider, state: str) -> dict[str, str]:
    """By action: the reason, where it is not simply "allowed"."""
    subject = AccessSubject(person_name="", role_name="", permissions=frozenset(), state=state)
    tenant = TenantLayers(entitlements, provider)
    reasons: dict[
        tuple[Requirements, bool, bool], Reason
    ] = {}  # most actions have theirs in common with others
    verdicts = {}
    for action in ACTIONS.values():
        key = _get_requirements(action)
        reason = reasons.get(key)
        if reason is None:
            state_line = evaluate.check_tenant_state(action, subject)
            lines = chain((state_line,), tenant.evaluate(action.requirements))
            reason = reasons[key] = evaluate.get_reason(lines)
        if reason is not Reason.ALLOWED:
            verdicts[action.name] = reason.value
    return verdicts


def _get_requirements(action: Action) -> tuple[Requirements, bool, bool]:
    """Everything of an action that its verdict depends on."""
    return action.requirements, action.allowed_when_unverified, action.allowed_when_suspended


def _has_required_feature(catalog: Catalog, flag: str, features: frozenset[str]) -> bool:
    required = catalog.flags[flag].flag.required_feature
    return not required or required in features


def _build_wording(catalog: Catalog, at: datetime) -> dict[str, RefusalWording]:
    """By feature: its title and the plans that include it. By limit: its unit and how to free some."""
    offers = catalog.list_offers(at)
    wording = {name: RefusalWording(kind.plural, kind.step) for name, kind in LIMITS.items()}
    for key, feature in FEATURES.items():
        plan_names = tuple(offer.name for offer in offers if key in offer.features)
        wording[key] = RefusalWording(feature.title, plan_names=plan_names)
    return wording
