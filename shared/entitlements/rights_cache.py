"""The rights of a tenant now, kept per process and never stale.

Every entry reads two numbers in its own transaction: the version of the tenant's rights and the epoch of the catalogue,
both raised by triggers. Entries with other numbers aren't used. A notification of changes frees memory early;
correctness doesn't depend on it.
"""

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.context import Ctx, Rights
from shared.core.db import now
from shared.entitlements import compiled_rights, detached, repository
from shared.entitlements.catalog import Catalog
from shared.entitlements.entitlement_chains import Entitlements
from shared.entitlements.evaluate import TenantLayers
from shared.entitlements.flag_evaluation import FlagProvider, GuardedProvider, RuleProvider
from shared.entitlements.history import EntitlementHistory
from shared.entitlements.snapshot import EntitlementSnapshot

ALL_TENANTS = "*"  # as in the notifications of the triggers
MAX_TENANTS = 20_000  # tenants in the cache of one process


@dataclass(frozen=True, slots=True)
class AccessOutlook:
    """Dates of a tenant that its shared `Rights` don't contain."""

    billing_until: datetime | None  # when the next scheduled status starts
    trial_ends_at: datetime | None
    trial_ended: bool
    fallback_plan_name: str  # name of the plan without a subscription


@dataclass(slots=True)
class CachedRights:
    version: int
    epoch: int
    provider_version: int
    valid_until: datetime | None  # the next scheduled change
    tenant: TenantLayers  # its catalog has this tenant's own plans; the lines that traces kept go with it
    rights_by_state: dict[str, Rights]  # by state
    outlook: AccessOutlook


_cache: OrderedDict[str, CachedRights] = OrderedDict()
_catalog: Catalog | None = None
_provider: FlagProvider | None = None
_provider_versions = itertools.count(1)
_provider_version = 0  # incremented when a provider's rules change: earlier evaluations are outdated


async def get_rights(session: AsyncSession, tenant_id: str, version: int, epoch: int, state: str) -> Rights:
    """In a transaction of this tenant. `version`: `tenant.rights_version`; `state`: as it is for this person."""
    cached = _find_cached(tenant_id, version, epoch)
    if cached is None:
        cached = await _load_rights(session, tenant_id, version, epoch, _provider_version, now())
        _cache[tenant_id] = cached
        if len(_cache) > MAX_TENANTS:
            _cache.popitem(last=False)
    return _rights_in_state(cached, state)


def find_rights(tenant_id: str, version: int, epoch: int, state: str) -> Rights | None:
    """As `get_rights`, without the database; None where they have to be read."""
    cached = _find_cached(tenant_id, version, epoch)
    return _rights_in_state(cached, state) if cached is not None else None


def _find_cached(tenant_id: str, version: int, epoch: int) -> CachedRights | None:
    cached = _cache.get(tenant_id)
    if cached is None or (cached.version, cached.epoch, cached.provider_version) != (
        version,
        epoch,
        _provider_version,
    ):
        return None
    return None if cached.valid_until and cached.valid_until <= now() else cached


def _rights_in_state(cached: CachedRights, state: str) -> Rights:
    rights = cached.rights_by_state.get(state)
    if rights is None:
        entitlements, provider = cached.tenant.entitlements, cached.tenant.provider
        rights = compiled_rights.compile_rights(entitlements.snapshot, entitlements.catalog, provider, state)
        cached.rights_by_state[state] = rights
    return rights


async def get_outlook(ctx: Ctx) -> AccessOutlook:
    """The outlook as of this person's entry, or a later one where it has changed since."""
    cached = _cache.get(ctx.tenant_id)
    if cached is not None:
        return cached.outlook
    history = await repository.get_history(ctx.session, ctx.tenant_id)
    tenant_catalog, at = history.extend_catalog(await get_catalog(ctx.session)), now()
    return _build_outlook(history, history.snapshot_at(tenant_catalog, at), tenant_catalog)


async def get_tenant_layers(ctx: Ctx) -> TenantLayers:
    """For traces: the facts as of this person's entry, or later ones where they have changed since."""
    cached = _cache.get(ctx.tenant_id)
    if cached is not None:
        return cached.tenant
    history = await repository.get_history(ctx.session, ctx.tenant_id)
    tenant_catalog = history.extend_catalog(await get_catalog(ctx.session))
    return _build_tenant_layers(history, tenant_catalog, now())


async def get_catalog(session: AsyncSession, epoch: int | None = None) -> Catalog:
    """The catalog of all tenants, as of `epoch` or of now."""
    global _catalog
    epoch = await repository.get_epoch(session) if epoch is None else epoch
    if _catalog is None or _catalog.epoch != epoch:
        _catalog = await repository.get_catalog(session, epoch)
    return _catalog


def get_provider(catalog: Catalog) -> FlagProvider:
    """The flag provider: our own rules, unless replaced. Our switches apply in any case."""
    return GuardedProvider(catalog, _provider) if _provider else RuleProvider(catalog)


def compute_rights(snapshot: EntitlementSnapshot, catalog: Catalog, state: str) -> Rights:
    """Computes rights without the cache, for a past time or a simulation."""
    return compiled_rights.compile_rights(snapshot, catalog, get_provider(catalog), state)


def set_provider(provider_override: FlagProvider | None) -> None:
    """Replaces the flag provider; None restores ours. Clears the cache."""
    global _provider
    _provider = provider_override
    invalidate()


def invalidate(tenant_id: str = ALL_TENANTS) -> None:
    """Drops the cached rights of one tenant, or of all."""
    if tenant_id != ALL_TENANTS:
        _cache.pop(tenant_id, None)
        return
    _cache.clear()
    compiled_rights.clear_compiled_rights()


def invalidate_evaluations() -> None:
    """Drops cached evaluations after rules of a provider have changed. Thread-safe."""
    global _provider_version
    _provider_version = next(_provider_versions)


async def _load_rights(
    session: AsyncSession, tenant_id: str, version: int, epoch: int, provider_version: int, at: datetime
) -> CachedRights:
    history = detached.detach_history(await repository.get_history(session, tenant_id))
    tenant_catalog = history.extend_catalog(await get_catalog(session, epoch))
    tenant = _build_tenant_layers(history, tenant_catalog, at)
    snapshot = tenant.entitlements.snapshot
    return CachedRights(
        version,
        epoch,
        provider_version,
        history.next_change(tenant_catalog, snapshot.at),
        tenant,
        {},
        _build_outlook(history, snapshot, tenant_catalog),
    )


def _build_tenant_layers(history: EntitlementHistory, catalog: Catalog, at: datetime) -> TenantLayers:
    snapshot = history.snapshot_at(catalog, history.settled_time(catalog, at))
    return TenantLayers(Entitlements(snapshot, catalog), get_provider(catalog))


def _build_outlook(
    history: EntitlementHistory, snapshot: EntitlementSnapshot, catalog: Catalog
) -> AccessOutlook:
    status, at, until = snapshot.billing_status, snapshot.at, None
    while (next_change := history.next_billing_change(at)) is not None:
        if history.snapshot_at(catalog, next_change).billing_status != status:
            until = next_change
            break
        at = next_change
    return AccessOutlook(
        until, snapshot.trial_ends_at, snapshot.trial_ended, catalog.fallback_offer(snapshot.at).name
    )
