"""The rights of a tenant now, kept per process and never stale.

Every entry reads two numbers in its own transaction: the version of the tenant's rights and the epoch of the catalogue,
both raised by triggers. What is kept under other numbers is not used. A notice of `entitlement` changes frees the
memory early; being right does not depend on it.
"""

import itertools
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.ctx import Ctx, Rights
from shared.core.db import now
from shared.entitlements import compiled, loose, repository
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.facts import Facts, History
from shared.entitlements.rollout import Provider, Rules, Switched

ALL = "*"  # as the triggers say it
MOST = 20_000  # tenants remembered by one process


@dataclass(frozen=True, slots=True)
class Outlook:
    """What the rights of a tenant do not say, because others with the same rights have other days."""

    billing_until: datetime | None  # when another status follows by itself
    trial_ends_at: datetime | None
    trial_ended: bool
    rest: str  # name of the plan that remains when nobody pays


@dataclass(slots=True)
class Kept:
    version: int
    epoch: int
    turn: int
    until: datetime | None  # when the clock alone may change an answer
    facts: Facts
    catalogue: Catalogue  # with this tenant's own plans
    rights: dict[str, Rights]  # by state
    outlook: Outlook


_kept: OrderedDict[str, Kept] = OrderedDict()
_catalogue: Catalogue | None = None
_provider: Provider | None = None
_turns = itertools.count(1)
_turn = 0  # how often a provider's rules have changed: what was evaluated before that counts no more


async def rights(session: AsyncSession, tenant_id: str, version: int, epoch: int, state: str) -> Rights:
    """In a transaction of this tenant. `version`: `tenant.rights_version`; `state`: as it is for this person."""
    at, turn = now(), _turn
    kept, known = _kept.get(tenant_id), (version, epoch, turn)
    if kept is None or (kept.version, kept.epoch, kept.turn) != known or (kept.until and kept.until <= at):
        kept = await _read(session, tenant_id, version, epoch, turn, at)
        _kept[tenant_id] = kept
        if len(_kept) > MOST:
            _kept.popitem(last=False)
    found = kept.rights.get(state)
    if found is None:
        found = compiled.rights(kept.facts, kept.catalogue, provider(kept.catalogue), state)
        kept.rights[state] = found
    return found


async def outlook(ctx: Ctx) -> Outlook:
    """As of this person's entry, which has read it; a later one where it has changed since."""
    kept = _kept.get(ctx.tenant_id)
    if kept is not None:
        return kept.outlook
    history = await repository.get_history(ctx.session, ctx.tenant_id)
    own, at = history.catalogue_of(await catalogue(ctx.session)), now()
    return _outlook(history, history.at(own, at), own)


async def catalogue(session: AsyncSession, epoch: int | None = None) -> Catalogue:
    """What everybody is offered, as of `epoch`, or as of now."""
    global _catalogue
    epoch = await repository.get_epoch(session) if epoch is None else epoch
    if _catalogue is None or _catalogue.epoch != epoch:
        _catalogue = await repository.get_catalogue(session, epoch)
    return _catalogue


def provider(known: Catalogue) -> Provider:
    """Who evaluates flags: our own rules, unless another one was put in their place. The switches stay ours."""
    return Switched(known, _provider) if _provider else Rules(known)


def compiled_of(facts: Facts, known: Catalogue, state: str) -> Rights:
    """Of facts that are not kept: of a past time, or of what might be."""
    return compiled.rights(facts, known, provider(known), state)


def use(other: Provider | None) -> None:
    """Another provider of flags from here on, or ours again. Everything kept is forgotten."""
    global _provider
    _provider = other
    forget()


def forget(tenant_id: str = ALL) -> None:
    """What a notice asks for: of one tenant, or of all."""
    if tenant_id != ALL:
        _kept.pop(tenant_id, None)
        return
    _kept.clear()
    compiled.forget()


def outdate() -> None:
    """What a provider asks for whose rules have changed. From any thread: it touches nothing that is being read."""
    global _turn
    _turn = next(_turns)


async def _read(
    session: AsyncSession, tenant_id: str, version: int, epoch: int, turn: int, at: datetime
) -> Kept:
    history = loose.history(await repository.get_history(session, tenant_id))
    own = history.catalogue_of(await catalogue(session, epoch))
    facts = history.at(own, history.clock(own, at))
    return Kept(
        version, epoch, turn, history.until(own, facts.at), facts, own, {}, _outlook(history, facts, own)
    )


def _outlook(history: History, facts: Facts, known: Catalogue) -> Outlook:
    status, at, until = facts.billing_status, facts.at, None
    while (turn := history.billing_turn(at)) is not None:
        if history.at(known, turn).billing_status != status:
            until = turn
            break
        at = turn
    return Outlook(until, facts.trial_ends_at, facts.trial_ended, known.fallback(facts.at).name)
