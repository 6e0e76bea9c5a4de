"""Why may or can't this person do this here: asked by operators of any tenant, person, action and time.

`plan`: as if the tenant were on another plan. Asking changes nothing, and stands in the tenant's trail as a look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.access.actions import ACTIONS, Action
from shared.access.roles import ROLES
from shared.core.ctx import Ctx, OperatorCtx, Rights
from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.entitlements import current, explain, holdings
from shared.entitlements.catalogue import Offer
from shared.entitlements.explain import Line, Standing, Trace
from shared.tenancy import entry
from shared.tenancy import why_repository as repository
from shared.tenancy.models import MembershipState

LOOK = "Why may or can't they"
NOBODY = "Somebody without a role"


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
    people: Sequence[Person]
    offers: Sequence[Offer]


@dataclass(frozen=True, slots=True)
class Answer:
    """`reason` and `next_step` as the person would have read them, "" when it was allowed."""

    trace: Trace
    detail: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Difference:
    before: Answer
    after: Answer
    changed: Sequence[tuple[Line, Line]]


async def choices(octx: OperatorCtx, tenant_id: str) -> Choices:
    """Raises NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    async with entry.visit(octx, tenant_id, LOOK) as ctx:
        people = [
            Person(user.id, user.name, user.email, membership.state is MembershipState.ACTIVE)
            for membership, user in await repository.list_people(ctx)
        ]
        _, catalogue = await holdings.facts(ctx)
        return Choices(ctx.tenant_name, people, catalogue.sold(now()))


async def ask(
    octx: OperatorCtx,
    tenant_id: str,
    user_id: str,
    action: str,
    *,
    at: datetime | None = None,
    plan: str = "",
) -> Answer:
    """`at`: None for now. `plan`: key of another plan than the tenant's. Raises Invalid, NotFound."""
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
    """The same question at two times, and which layers found something else. Raises Invalid, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    known = _action(action)
    async with entry.visit(octx, tenant_id, LOOK) as ctx:
        one = await answer(ctx, user_id, known, at=_past(before))
        other = await answer(ctx, user_id, known, at=_past(after))
        return Difference(one, other, explain.differences(one.trace, other.trace))


async def answer(ctx: Ctx, user_id: str, action: Action, *, at: datetime, plan: str = "") -> Answer:
    """For services that were asked for their right. Raises Invalid for an unknown plan, NotFound before the tenant."""
    if at < await repository.get_founded(ctx):
        raise NotFound("This organisation did not exist then.", "Ask about a later time.")
    facts, catalogue = await holdings.facts(ctx, at)
    if plan:
        other = catalogue.by_key(plan, at)
        if other is None:
            raise Invalid("There is no such plan.", "Choose one from the list.")
        facts = facts.on(other)
    standing, provider = await standing_at(ctx, user_id, at), current.provider(catalogue)
    used = await used_at(ctx, action.limit, at)
    trace = explain.explain(standing, facts, catalogue, provider, action, used=used)
    if trace.decision.allowed:
        return Answer(trace, "", "")
    asker = Asked(standing.permissions, current.compiled_of(facts, catalogue, standing.state))
    said = policy.refusal(trace.decision.reason, action, asker, used=used)
    return Answer(trace, said.detail, said.next_step)


@dataclass(frozen=True, slots=True)
class Asked:
    permissions: frozenset[str]
    rights: Rights


async def standing_at(ctx: Ctx, user_id: str, at: datetime) -> Standing:
    """Who somebody was, and how the tenant stood. `user_id`: "" for somebody without a role."""
    state = await repository.get_state(ctx, at)
    open_, source = (state.state, state.id) if state else ("active", explain.REGISTRY)
    membership = await repository.get_membership(ctx, user_id, at) if user_id else None
    name = next((user.name for _, user in await repository.list_people(ctx) if user.id == user_id), NOBODY)
    if membership is None or membership.state != MembershipState.ACTIVE:
        seen = membership.id if membership else explain.REGISTRY
        return Standing(name, "", frozenset(), seen, open_, source)
    builtin = ROLES.get(membership.role)
    if builtin is not None:
        return Standing(name, builtin.name, builtin.permissions, membership.id, open_, source)
    role = await repository.get_role(ctx, membership.role, at)
    held = frozenset(role.permissions) if role and not role.deleted else frozenset()
    return Standing(name, role.name if role else "", held, role.id if role else membership.id, open_, source)


async def used_at(ctx: Ctx, limit: str, at: datetime) -> int | None:
    """None where nothing is counted yet."""
    if limit == "members":
        return await repository.count_seats(ctx, at)
    return await repository.count_roles(ctx, at) if limit == "roles" else None


def _action(name: str) -> Action:
    known = ACTIONS.get(name)
    if known is None:
        raise Invalid("There is no such action.", "Choose one from the list.")
    return known


def _past(at: datetime | None) -> datetime:
    if at is not None and at > now():
        raise Invalid("This time is still to come.", "Choose a past time, or leave it empty for now.")
    return at or now()
