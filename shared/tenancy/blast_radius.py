"""What publishing a draft would do, over all tenants, before anybody does it. Looking changes nothing.

Everything is read in a handful of statements, and what tenants have in common is compiled once. `simulate` is told the
change as a function, so that a change of a flag or an override can be looked at in the same way.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.core.ctx import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict
from shared.entitlements import contents, current, drafts
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.effects import Asked, Case, Comparison, Report
from shared.entitlements.facts import History, by_tenant, histories
from shared.entitlements.models import (
    Plan,
    PlanVersion,
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
)
from shared.tenancy import blast_radius_repository as repository
from shared.tenancy import entry
from shared.tenancy.directory_repository import list_names

Offered = TypeVar("Offered", Plan, PlanVersion)
LOOKING = "Effect of a draft of the catalogue"
COUNTING = "Tenants on each version of the catalogue"
LATELY = timedelta(days=30)
BREATH = 100  # tenants, after which others get a turn: ten thousand take longer than a click may

# What is different with the change: a tenant's history, or the catalogue as this tenant sees it, or both.
Change = Callable[[History, Catalogue], tuple[History, Catalogue]]


@dataclass(frozen=True, slots=True)
class Look:
    """`digest`: what `publish` wants to hear back."""

    report: Report
    revision: int
    digest: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Holders:
    by_version: Mapping[str, int]  # tenants that have it now, whichever they were given
    names: Mapping[str, str]  # of tenants that are offered something of their own, by id


@dataclass(frozen=True, slots=True)
class Known:
    """Of every tenant, by id."""

    at: datetime
    catalogue: Catalogue  # what everybody is offered
    tenants: Sequence[tuple[str, str, str]]  # id, name, state
    histories: Mapping[str, History]
    used: Mapping[str, Mapping[str, int]]  # by limit, then by tenant
    asked: Mapping[str, Sequence[Asked]]


async def look(
    octx: OperatorCtx, version_id: str, revision: int, *, moves: bool, effective_at: datetime | None = None
) -> Look:
    """At the time at which it would be in force. Raises Invalid, NotFound, Conflict for another revision than this."""
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    effective_at = drafts.checked_date(effective_at)
    plan, draft = await drafts.get(octx, version_id)
    if draft.status != "draft" or draft.revision != revision:
        raise Conflict(f"This draft of {plan.name} has changed since you opened it.", "Look at it again.")
    async with entry.across(octx, LOOKING) as session:
        known = await _load(session, effective_at or now())
        report = await simulate(known, published(plan, draft, moves, known.at))
    digest = contents.digest(draft, known.catalogue.epoch, moves, effective_at)
    return Look(report, draft.revision, digest, known.at)


async def publish(
    octx: OperatorCtx,
    version_id: str,
    revision: int,
    reason: str,
    effective_at: datetime | None,
    moves: bool,
    confirmed: str,
) -> Report:
    """As `drafts.publish`, with the numbers of its effect as it is now in the trail. Raises as that."""
    policy.require_operator(octx, actions.OP_CATALOG_WRITE)
    seen = await look(octx, version_id, revision, moves=moves, effective_at=effective_at)
    numbers = seen.report.numbers
    # The lock comes only now: no kill switch waits for the looking. What was confirmed is compared under it.
    await drafts.publish(octx, version_id, revision, reason, effective_at, moves, confirmed, effect=numbers)
    return seen.report


def published(plan: Plan, draft: PlanVersion, moves: bool, at: datetime) -> Change:
    """The draft in force."""
    version = contents.as_if_published(plan, draft, moves, at)
    # Most tenants see the same catalogue. Kept with what it became: an id is only its own while it lives.
    changed: dict[int, tuple[Catalogue, Catalogue]] = {}

    def change(history: History, catalogue: Catalogue) -> tuple[History, Catalogue]:
        if plan.for_tenant not in (None, history.tenant_id):
            return history, catalogue
        found = changed.get(id(catalogue))
        if found is None:
            found = changed[id(catalogue)] = catalogue, catalogue.with_own([plan], [version])
        return history, found[1]

    return change


async def simulate(known: Known, change: Change) -> Report:
    """What each tenant may use without the change and with it, compared."""
    comparison = Comparison()
    for place, (tenant_id, name, state) in enumerate(known.tenants):
        if place % BREATH == 0:
            await asyncio.sleep(0)
        history = known.histories.get(tenant_id) or History(tenant_id)
        catalogue = history.catalogue_of(known.catalogue)
        later, changed = change(history, catalogue)
        comparison.add(
            Case(
                tenant_id,
                name,
                current.compiled_of(history.at(catalogue, known.at), catalogue, state),
                current.compiled_of(later.at(changed, known.at), changed, state),
                {limit: counted.get(tenant_id, 0) for limit, counted in known.used.items()},
                known.asked.get(tenant_id, ()),
            )
        )
    return comparison.report()


async def count_holders(octx: OperatorCtx) -> Holders:
    policy.require_operator(octx, actions.OP_CATALOG_READ)
    at = now()
    async with entry.across(octx, COUNTING) as session:
        own_plans, own_versions = await repository.list_own_plans(session)
        known = (await current.catalogue(session)).with_own(own_plans, own_versions)
        given = await repository.count_assigned(session, at)
        everybody = await repository.count_tenants(session)
        addons = await repository.list_addons(session, at)
        names = await list_names(session, sorted({plan.for_tenant or "" for plan in own_plans}))
    found: dict[str, int] = {}
    for version, count in given.items():
        has = known.moved(version, at).id
        found[has] = found.get(has, 0) + count
    if rest := everybody - sum(given.values()):
        fallback = known.fallback(at).id
        found[fallback] = found.get(fallback, 0) + rest
    for has, _ in {(known.moved(version, at).id, tenant) for version, tenant in addons}:
        found[has] = found.get(has, 0) + 1
    return Holders(found, names)


async def _load(session: AsyncSession, at: datetime) -> Known:
    """Usage and decisions as of now, whatever `at`: nobody knows how much will be in use then."""
    catalogue = await current.catalogue(session)
    tenants = [(one, name, str(state)) for one, name, state in await repository.list_tenants(session)]
    assigned = by_tenant(await repository.list_valid(session, TenantPlan, at))
    addons = by_tenant(await repository.list_valid(session, TenantAddon, at))
    overrides = by_tenant(await repository.list_valid(session, TenantOverride, at))
    billing = by_tenant(await repository.list_valid(session, TenantBilling, at))
    flags = by_tenant(await repository.list_valid(session, TenantFlag, at))
    traits = by_tenant(await repository.list_valid(session, TenantTrait, at))
    plans, versions = await repository.list_own_plans(session)
    plans_of, versions_of = _by_owner(plans), _by_owner(versions)
    used = {
        "members": await repository.count_seats(session, now()),
        "roles": await repository.count_roles(session),
    }
    asked: dict[str, list[Asked]] = {}
    for tenant_id, action, reason, count in await repository.sum_decisions(session, now() - LATELY):
        asked.setdefault(tenant_id, []).append(Asked(action, reason, count))
    every = histories(
        (tenant_id for tenant_id, _, _ in tenants),
        *(assigned, addons, overrides, billing, flags, traits, plans_of, versions_of),
    )
    return Known(at, catalogue, tenants, every, used, asked)


def _by_owner(rows: Sequence[Offered]) -> dict[str, list[Offered]]:
    found: dict[str, list[Offered]] = {}
    for row in rows:
        found.setdefault(row.for_tenant or "", []).append(row)
    return found
