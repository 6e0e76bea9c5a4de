"""Whom flags are on for, over all tenants, and whether those fare worse than the others.

Read across tenants, which the operators' trail keeps. Computed from the same rules as every decision, so that what
stands here is what happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.access.actions import ACTIONS
from shared.core.ctx import OperatorCtx
from shared.core.db import now
from shared.core.errors import NotFound
from shared.entitlements import compiled, current, explain, rollouts
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.facts import Facts, History
from shared.entitlements.features import FEATURES
from shared.entitlements.rollout import Exposure, Target, weigh
from shared.tenancy import entry
from shared.tenancy import exposure_repository as repository
from shared.tenancy.exposure_repository import Tallied

LATELY = timedelta(days=7)
MOST = 100  # rows of one page
# Stated reasons of reading across tenants where the page itself is the reason.
FOR_LIST, FOR_ONE, FOR_CHANGE = "Exposure of all flags", "Exposure of a flag", "Effect of changing a flag"


@dataclass(frozen=True, slots=True)
class Counts:
    of: int  # tenants there are
    on: Mapping[str, int]  # by key of the flag


@dataclass(frozen=True, slots=True)
class Exposed:
    tenant_id: str
    name: str
    plan: str
    found: str  # why: a sentence
    lately: Tallied


@dataclass(frozen=True, slots=True)
class Rate:
    """Of some tenants, in the last 7 days."""

    tenants: int
    decisions: int
    errors: int

    @property
    def per_thousand(self) -> float | None:
        """None where nothing was decided."""
        return self.errors * 1000 / self.decisions if self.decisions else None


@dataclass(frozen=True, slots=True)
class Reach:
    of: int
    rows: Sequence[Exposed]  # one page of those it is on for, by name
    after: str  # cursor of the next page, "" on the last one
    exposed: Rate
    others: Rate
    refused: int  # times that something was refused because it is off
    lacking: int  # tenants that a rule is about, but that have not got the feature it requires


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change of rules would do, if it were made now."""

    of: int
    before: int
    after: int
    gains: Sequence[str]  # names
    losses: Sequence[str]


@dataclass(frozen=True, slots=True)
class _One:
    tenant_id: str
    name: str
    facts: Facts
    catalogue: Catalogue  # with its own plans

    @property
    def target(self) -> Target:
        return compiled.target_of(self.facts)

    def lacks(self, required: str) -> bool:
        return bool(required) and not explain.feature_chain(self.facts, self.catalogue, required).has


async def counts(octx: OperatorCtx) -> Counts:
    """How many tenants each flag is on for."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    everybody, known, at = await _everybody(octx, FOR_LIST)
    on = dict.fromkeys(known.flags, 0)
    for one in everybody:
        for flag in known.flags:
            on[flag] += _exposure(one, flag, at).on
    return Counts(len(everybody), on)


async def of_flag(octx: OperatorCtx, flag: str, *, after: str = "", limit: int = 25) -> Reach:
    """`flag`: its key. `after`: id of the tenant before. Raises NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    everybody, known, at = await _everybody(octx, FOR_ONE)
    if flag not in known.flags:
        raise _unknown()
    guarded = [action.name for action in ACTIONS.values() if action.flag == flag]
    async with entry.across(octx, FOR_ONE) as session:
        tallies = await repository.tally(session, at - LATELY, guarded)
    found = [(one, _exposure(one, flag, at), tallies.get(one.tenant_id, Tallied())) for one in everybody]
    rows = [
        Exposed(one.tenant_id, one.name, one.facts.offer.name, exposure.found, lately)
        for one, exposure, lately in found
        if exposure.on
    ]
    first = next((place + 1 for place, row in enumerate(rows) if row.tenant_id == after), 0)
    limit = min(max(limit, 1), MOST)
    page = rows[first : first + limit]
    return Reach(
        len(everybody),
        page,
        page[-1].tenant_id if len(rows) > first + limit else "",
        _rate([lately for _, exposure, lately in found if exposure.on]),
        _rate([lately for _, exposure, lately in found if not exposure.on]),
        sum(lately.refused for _, _, lately in found),
        sum(exposure.source in FEATURES for _, exposure, _ in found),
    )


async def simulate(octx: OperatorCtx, flag: str, wanted: object) -> Effect:
    """Other rules than those that count, as if the flag were not killed. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_FLAG_READ)
    rules = await rollouts.read_rules(octx, wanted)
    everybody, known, at = await _everybody(octx, FOR_CHANGE)
    rollout = known.flags.get(flag)
    if rollout is None:
        raise _unknown()
    required = rollout.row.required_feature
    before = {one.tenant_id for one in everybody if _exposure(one, flag, at).on}
    after = {
        one.tenant_id
        for one in everybody
        if weigh(rollout, rollout.row.id, rules, False, one.target, at).on and not one.lacks(required)
    }
    names = {one.tenant_id: one.name for one in everybody}
    return Effect(
        len(everybody),
        len(before),
        len(after),
        [name for tenant, name in names.items() if tenant in after - before],
        [name for tenant, name in names.items() if tenant in before - after],
    )


async def _everybody(octx: OperatorCtx, reason: str) -> tuple[Sequence[_One], Catalogue, datetime]:
    """Every tenant with what is true of it now: as many statements for one as for thousands."""
    async with entry.across(octx, reason) as session:
        known = await current.catalogue(session)
        at = now()
        histories = await repository.list_histories(session, at)
        tenants = await repository.list_tenants(session)
    found = []
    for tenant_id, name in tenants:
        history = histories.get(tenant_id) or History(tenant_id)
        own = history.catalogue_of(known)
        found.append(_One(tenant_id, name, history.at(own, at), own))
    return found, known, at


def _exposure(one: _One, flag: str, at: datetime) -> Exposure:
    """As `compiled.rights` has it: on, and entitled to what the flag requires. Else its source is that feature."""
    found = current.provider(one.catalogue).evaluate(flag, one.target, at)
    required = one.catalogue.flags[flag].row.required_feature
    if found.on and one.lacks(required):
        return Exposure(False, f"It requires {FEATURES[required].title}.", required)
    return found


def _rate(lately: Sequence[Tallied]) -> Rate:
    return Rate(len(lately), sum(one.decisions for one in lately), sum(one.errors for one in lately))


def _unknown() -> NotFound:
    return NotFound("There is no such flag.", "Choose one from the list.")
