"""Tenants that are asked what they may do: of one kind each plan, or with everything that makes one differ from another.

Actions and roles are the product's own and as many more as make 40 permissions and 10 roles. Everything else is the
migrated catalogue, and the product's own way from history to rights. What is expected comes from the oracle.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from shared.access.actions import ACTIONS, Action
from shared.access.permissions import Permission
from shared.access.roles import ROLES
from shared.core import db
from shared.core.context import Rights
from shared.core.db import now
from shared.entitlements import rights_cache
from shared.entitlements.catalog import Catalog
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.entitlements.snapshot import EntitlementSnapshot
from shared.tenancy.admissions import Principal
from tests.support.entitlements import oracle, random_entitlements
from tests.support.entitlements.oracle import PlainDict

PERMISSIONS, ROLE_COUNT = 40, 10
WITH_FACTS = 1_000  # tenants whose rows are kept, for traces
STATUSES = ("active", "active", "active", "active", "active", "active", "grace", "grace", "read_only", "none")
ADDONS = ("plv_extra_seats_1", "plv_support_1")


class Request(NamedTuple):
    tenant_id: str
    action: Action
    used: int | None


@dataclass(frozen=True, slots=True)
class Population:
    """By tenant: one person of each, who they are, what is true of it; `facts` of the first thousand."""

    world: PlainDict
    catalogue: Catalog
    at: datetime
    plain: Mapping[str, PlainDict]  # for the oracle
    askers: Mapping[str, Principal]
    facts: Mapping[str, EntitlementSnapshot]
    states: Mapping[str, str]
    roles: Mapping[str, str]
    held: Mapping[str, frozenset[str]]  # by role

    def allows(self, request: Request, held: frozenset[str] | None = None) -> bool:
        """By the oracle. `held`: other permissions than the person's."""
        asked = {
            "action": plain_action(request.action),
            "at": self.at,
            "held": self.askers[request.tenant_id].permissions if held is None else held,
            "state": self.states[request.tenant_id],
            "used": request.used,
            "obstacle": "",
        }
        return (
            oracle.decide_naively(self.world, self.plain[request.tenant_id], asked) in oracle.ALLOWING_REASONS
        )

    def requests(self, chance: Random, number: int, most: int) -> list[Request]:
        """Of the first `most` tenants, each as likely as any other."""
        ids, actions = list(self.askers)[:most], list(ACTIONS.values())
        drawn = ((chance.choice(ids), chance.choice(actions)) for _ in range(number))
        return [
            Request(tenant_id, action, chance.randrange(30) if action.limit else None)
            for tenant_id, action in drawn
        ]


@contextmanager
def many_actions() -> Iterator[None]:
    """As a product has that is a year older: 40 permissions."""
    actions, features, limits = dict(ACTIONS), sorted(FEATURES), sorted(LIMITS)
    for number in range(PERMISSIONS - len({action.permission for action in ACTIONS.values()})):
        name: Any = f"bench:{number:02}"
        ACTIONS[name] = Action(
            name,
            name,
            "do it",
            writes=number % 2 == 0,
            feature=features[number % len(features)] if number % 3 else "",
            limit=limits[number % len(limits)] if number % 4 == 0 else "",
            allowed_when_unpaid=number % 12 == 9,
        )
    try:
        yield
    finally:
        ACTIONS.clear()
        ACTIONS.update(actions)


def roles(chance: Random) -> dict[str, frozenset[str]]:
    permissions = sorted({str(action.permission) for action in ACTIONS.values()})
    more = [permission for permission in permissions if permission not in frozenset(Permission)]
    permissions_by_role = {key: role.permissions | frozenset(more) for key, role in ROLES.items()}
    while len(permissions_by_role) < ROLE_COUNT:
        permissions_by_role[f"rol_{len(permissions_by_role)}"] = frozenset(
            chance.sample(permissions, chance.randrange(5, PERMISSIONS))
        )
    return permissions_by_role


async def catalogue() -> Catalog:
    async with db.transaction() as session:
        return await rights_cache.get_catalog(session)


def populate(chance: Random, catalog: Catalog, number: int, *, same: bool) -> Population:
    """`same`: nothing but plan and billing status tells tenants apart, so of each kind one is compiled.

    All of those are active, and the flag is on for them.
    """
    world, at = plain_world(catalog), now()
    plain, askers, facts, states, has = {}, {}, {}, {}, {}
    every = roles(chance)
    plans = [offer.id for offer in catalog.list_offers(at)]
    compiled: dict[tuple[str, str], tuple[EntitlementSnapshot, Rights]] = {}
    for place in range(number):
        tenant = _tenant(chance, f"ten_{place:06}", chance.choice(plans), at, same=same)
        state = (
            "active"
            if same
            else chance.choices(("active", "suspended", "pending_verification"), (95, 2, 3))[0]
        )
        role = chance.choice(sorted(every))
        kind = (tenant["plan"][0]["version"], tenant["billing"][0]["status"]) if same else (tenant["id"], "")
        if kind not in compiled:
            snapshot = random_entitlements.build_history(world, tenant).snapshot_at(catalog, at)
            compiled[kind] = snapshot, rights_cache.compute_rights(snapshot, catalog, state)
        snapshot, rights = compiled[kind] if same else compiled.pop(kind)
        askers[tenant["id"]] = Principal("", f"usr_{place}", every[role], tenant["id"], rights)
        plain[tenant["id"]], states[tenant["id"]], has[tenant["id"]] = tenant, state, role
        if place < WITH_FACTS:
            facts[tenant["id"]] = snapshot
    return Population(world, catalog, at, plain, askers, facts, states, has, every)


def _tenant(chance: Random, tenant_id: str, version: str, at: datetime, *, same: bool) -> PlainDict:
    since, later = at - timedelta(days=90), at + timedelta(days=90)
    began = {"starts_at": since, "ends_at": None, "closed_at": None, "created_at": since}
    tenant: PlainDict = {"id": tenant_id, "addon": [], "override": [], "flag": [], "trait": []}
    trial = None if same or chance.random() < 0.9 else chance.choice((since, later))
    tenant["plan"] = [{"id": f"tpl_{tenant_id}", "version": version, "trial_ends_at": trial, **began}]
    tenant["billing"] = [{"id": f"tbl_{tenant_id}", "status": chance.choice(STATUSES), **began}]
    if same or chance.random() < 0.5:
        word = {"flag": "role_editor", "enabled": same or chance.random() < 0.8}
        tenant["flag"].append({"id": f"tfl_{tenant_id}", **word, **began})
    if same:
        return tenant
    if chance.random() < 0.2:
        addon = {"version": chance.choice(ADDONS), "quantity": chance.randrange(1, 4)}
        tenant["addon"].append({"id": f"tad_{tenant_id}", **addon, **began})
    if chance.random() < 0.1:
        feature = {
            "target": "feature",
            "name": chance.choice(sorted(FEATURES)),
            "value": chance.random() < 0.7,
        }
        limit = {"target": "limit", "name": chance.choice(sorted(LIMITS))}
        limit["value"] = (chance.choice((0, 10, 50, None)), chance.random() < 0.7)
        tenant["override"].append({"id": f"ovr_{tenant_id}", **chance.choice((feature, limit)), **began})
    return tenant


def plain_action(action: Action) -> PlainDict:
    return asdict(action)


def plain_world(catalog: Catalog) -> PlainDict:
    plans = [
        {
            "id": plan.id,
            "key": plan.key,
            "kind": plan.kind,
            "own": False,
            "versions": _versions(catalog, plan.id),
        }
        for plan in catalog.plans.values()
    ]
    flags = {
        key: {
            "id": entry.flag.id,
            "required": entry.flag.required_feature,
            "retired_at": entry.flag.retired_at,
            "versions": [
                {
                    "id": version.id,
                    "created_at": version.created_at,
                    "killed": version.killed,
                    "rules": [{"values": [], "from": None, "until": None, **rule} for rule in version.rules],
                }
                for version in entry.versions
            ],
        }
        for key, entry in catalog.flags.items()
    }
    return {"plans": plans, "flags": flags, "limits": tuple(LIMITS)}


def _versions(catalog: Catalog, plan_id: str) -> Sequence[PlainDict]:
    return [
        {
            "id": offer.id,
            "number": offer.number,
            "features": sorted(offer.features),
            "limits": {name: (limit.amount, limit.hard) for name, limit in offer.limits.items()},
            "moves": offer.moves,
            "effective_at": offer.effective_at,
        }
        for offer in catalog.offers_by_plan[plan_id]
    ]
