"""Why may or can't this person do this here: asked by operators of any tenant, person, action and time.

`plan`: as if the tenant were on another plan. Asking changes nothing, and stands in the tenant's trail as a look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.access.actions import ACTIONS, Action
from shared.access.permissions import Permission
from shared.access.roles import ROLES
from shared.core.ctx import Ctx, OperatorCtx, Rights
from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.entitlements import current, explain, holdings
from shared.entitlements.catalogue import Catalogue, Offer
from shared.entitlements.explain import Line, Standing, Trace
from shared.entitlements.facts import Facts
from shared.tenancy import entry, why_causes
from shared.tenancy import why_repository as repository
from shared.tenancy.models import MembershipState, TenantState
from shared.tenancy.why_causes import Cause

LOOK = "Why may or can't they"
NOBODY = "Somebody without a role"
MOST = 50  # people to choose from; a larger tenant is searched
LONGEST_QUERY = 200


@dataclass(frozen=True, slots=True)
class Person:
    user_id: str
    name: str
    email: str
    active: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """What may be asked about in one tenant."""

    tenant_name: str
    founded: datetime
    people: Sequence[Person]
    more: bool  # there are others than these
    offers: Sequence[Offer]


@dataclass(frozen=True, slots=True)
class Answer:
    """`detail` and `next_step` as the person would have read them, "" when it was allowed."""

    trace: Trace
    who: str
    plan: str  # name of the plan that was asked about: the tenant's, or the supposed one
    detail: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Changed:
    """A layer that found something else, and what happened to it in between, newest first."""

    before: Line
    after: Line
    causes: Sequence[Cause]


@dataclass(frozen=True, slots=True)
class Difference:
    before: Answer
    after: Answer
    changed: Sequence[Changed]


async def choices(octx: OperatorCtx, tenant_id: str, query: str = "", *, including: str = "") -> Choices:
    """`query`: part of a name or an address. `including`: id of a person to offer in any case. Raises NotFound, Invalid."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    needle = " ".join(query.split()).lower()
    if len(needle) > LONGEST_QUERY or "\0" in needle:
        raise Invalid(f"A search has at most {LONGEST_QUERY} characters.", "Shorten it.")
    async with entry.visit(octx, tenant_id, LOOK) as ctx:
        found = list(await repository.list_people(ctx, needle, MOST + 1))
        more, found = len(found) > MOST, found[:MOST]
        if including and including not in {user.id for _, user in found}:
            one = await repository.get_person(ctx, including)
            found = [*([one] if one else []), *found]
        people = [
            Person(user.id, user.name, user.email, membership.state is MembershipState.ACTIVE)
            for membership, user in found
        ]
        _, catalogue = await holdings.facts(ctx)
        founded = await repository.get_founded(ctx)
        return Choices(ctx.tenant_name, founded, people, more, catalogue.sold(now()))


async def ask(
    octx: OperatorCtx,
    tenant_id: str,
    user_id: str,
    action: str,
    *,
    at: datetime | None = None,
    plan: str = "",
) -> Answer:
    """`user_id`: "" for somebody without a role. `at`: None for now. `plan`: key of another plan than the tenant's.

    Raises Invalid, NotFound.
    """
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    known = _action(action)
    async with entry.visit(octx, tenant_id, LOOK) as ctx:
        return await answer(ctx, user_id, known, at=_past(at), plan=plan)


async def compare(
    octx: OperatorCtx,
    tenant_id: str,
    user_id: str,
    action: str,
    before: datetime,
    after: datetime | None = None,
) -> Difference:
    """The same question at two times: which layers found something else, and what did it. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    known = _action(action)
    since, until = _past(before), _past(after)
    if since >= until:
        raise Invalid("The first time has to lie before the second one.", "Exchange them.")
    async with entry.visit(octx, tenant_id, LOOK) as ctx:
        one = await answer(ctx, user_id, known, at=since)
        other = await answer(ctx, user_id, known, at=until)
        between = await why_causes.read(ctx, user_id, known, since, until)
        changed = [
            Changed(line, now_, await between.of(line.layer))
            for line, now_ in explain.differences(one.trace, other.trace)
            # What a later layer overruled found the same as before: that layer is the one to look at.
            if (line.found, line.source) != (now_.found, now_.source)
        ]
        return Difference(one, other, changed)


async def answer(ctx: Ctx, user_id: str, action: Action, *, at: datetime, plan: str = "") -> Answer:
    """For services that were asked for their right.

    Raises Invalid for an unknown plan, NotFound for somebody who was never here and for a time before the tenant.
    """
    if at < await repository.get_founded(ctx):
        raise NotFound("This organisation did not exist then.", "Ask about a later time.")
    standing = await standing_at(ctx, user_id, at)
    facts, catalogue = await holdings.facts(ctx, at)
    if plan:
        facts = _supposed(facts, catalogue, plan)
    used = await used_at(ctx, action.limit, at)
    trace = explain.explain(standing, facts, catalogue, current.provider(catalogue), action, used=used)
    if trace.decision.allowed:
        return Answer(trace, standing.who, facts.offer.name, "", "")
    if standing.ended:
        detail, step = (
            f"You were {standing.ended}.",
            f"Ask an owner of {ctx.tenant_name} to let you in again.",
        )
        return Answer(trace, standing.who, facts.offer.name, detail, step)
    asker = Asked(standing.permissions, current.compiled_of(facts, catalogue, standing.state))
    said = policy.refusal(trace.decision.reason, action, asker, used=used)
    return Answer(trace, standing.who, facts.offer.name, said.detail, said.next_step)


@dataclass(frozen=True, slots=True)
class Asked:
    permissions: frozenset[str]
    rights: Rights


async def standing_at(ctx: Ctx, user_id: str, at: datetime) -> Standing:
    """Who somebody was, and how the tenant stood. `user_id`: "" for somebody without a role. Raises NotFound."""
    found = await repository.get_state(ctx, at)
    state, source = (found.state, found.id) if found else (TenantState.ACTIVE.value, explain.REGISTRY)
    if not user_id:
        return Standing(NOBODY, "", frozenset(), state=state, state_source=source)
    person = await repository.get_person(ctx, user_id)
    if person is None:
        raise NotFound("There is no such person in this organisation.", "Choose one from the list.")
    user = person[1]
    if user.email_verified_at is None or user.email_verified_at > at:
        # They work nowhere, as if the tenant itself were unverified (`tenancy.entry`).
        state, source = TenantState.PENDING_VERIFICATION.value, user.id
    membership = await repository.get_membership(ctx, user_id, at)
    if membership is None or membership.state != MembershipState.ACTIVE:
        seen = membership.id if membership else explain.REGISTRY
        ended = membership.state if membership else ""
        return Standing(user.name, "", frozenset(), seen, state, source, ended)
    builtin = ROLES.get(membership.role)
    if builtin is not None:
        return Standing(user.name, builtin.name, builtin.permissions, membership.id, state, source)
    role = await repository.get_role(ctx, membership.role, at)
    if role is None:
        return Standing(user.name, "", frozenset(), membership.id, state, source)
    held = frozenset[str]() if role.deleted else frozenset(role.permissions) & frozenset(Permission)
    # Whichever was written last: that they were given the role, or what the role may do.
    says = role.id if role.at > membership.at else membership.id
    return Standing(user.name, role.name, held, says, state, source)


async def used_at(ctx: Ctx, limit: str, at: datetime) -> int | None:
    """None where nothing is counted yet."""
    if limit == "members":
        return await repository.count_seats(ctx, at)
    return await repository.count_roles(ctx, at) if limit == "roles" else None


def _supposed(facts: Facts, catalogue: Catalogue, plan: str) -> Facts:
    other = catalogue.by_key(plan, facts.at)
    if other is None or other.kind != "plan":
        raise Invalid("There is no such plan.", "Choose one from the list.")
    return facts.on(other)


def _action(name: str) -> Action:
    known = ACTIONS.get(name)
    if known is None:
        raise Invalid("There is no such action.", "Choose one from the list.")
    return known


def _past(at: datetime | None) -> datetime:
    if at is not None and at > now():
        raise Invalid("This time is still to come.", "Choose a past time, or leave it empty for now.")
    return at or now()
