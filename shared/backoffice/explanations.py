"""Explanations of permission decisions for operators: of any tenant, person, action and time.

`plan`: simulates another plan. Explaining changes nothing and is recorded in the tenant's audit log as an access.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, policy
from shared.access.actions import ACTIONS, Action
from shared.backoffice import explanation_causes, recent_refusals
from shared.backoffice import history_repository as repository
from shared.backoffice.explanation_causes import Cause
from shared.backoffice.recent_refusals import VISIT_REASON, RecentRefusal
from shared.core.context import Ctx, OperatorCtx
from shared.core.db import now
from shared.core.errors import DomainError, Invalid, NotFound
from shared.core.paging import clean_search_text
from shared.entitlements import explain, rights_cache
from shared.entitlements.catalog import PlanOffer
from shared.entitlements.evaluate import (
    TraceLine,
)
from shared.tenancy import decision_history, entry, recorded_decisions
from shared.tenancy.decision_history import Explanation
from shared.tenancy.models import MembershipState
from shared.tenancy.recorded_decisions import RecordedDecision

MAX_PEOPLE = 50  # people to choose from; a larger tenant is searched
MAX_QUERY_LENGTH = 200


@dataclass(frozen=True, slots=True)
class PersonChoice:
    user_id: str
    name: str
    email: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class ExplanationChoices:
    """The people, actions and plans of one tenant to choose from."""

    tenant_name: str
    created_at: datetime
    people: Sequence[PersonChoice]
    has_more: bool  # more people than are listed
    offers: Sequence[PlanOffer]


@dataclass(frozen=True, slots=True)
class LayerChange:
    """A layer with different findings, and the changes in between, newest first."""

    before: TraceLine
    after: TraceLine
    causes: Sequence[Cause]


@dataclass(frozen=True, slots=True)
class ExplanationComparison:
    before: Explanation
    after: Explanation
    changes: Sequence[LayerChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessView:
    choices: ExplanationChoices
    refusals: Sequence[RecentRefusal]  # the latest, newest first
    answer: Explanation | ExplanationComparison | None  # None where nothing was asked, or with a problem
    problem: DomainError | None = None
    decision: RecordedDecision | None = None  # that was searched for


async def list_choices(
    octx: OperatorCtx, tenant_id: str, query: str = "", *, include_user_id: str = ""
) -> ExplanationChoices:
    """`query`: part of a name or an email address.

    `include_user_id`: a person to offer in any case. Raises NotFound, Invalid.
    """
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    search_text = " ".join(clean_search_text(query, MAX_QUERY_LENGTH).split())
    async with entry.enter_as_operator(octx, tenant_id, VISIT_REASON) as ctx:
        return await _build_choices(ctx, search_text, include_user_id)


async def _build_choices(ctx: Ctx, search_text: str, include_user_id: str) -> ExplanationChoices:
    members = list(await repository.search_members(ctx, search_text, MAX_PEOPLE + 1))
    has_more, members = len(members) > MAX_PEOPLE, members[:MAX_PEOPLE]
    if include_user_id and include_user_id not in {user.id for _, user in members}:
        member = await repository.get_member(ctx, include_user_id)
        members = [*([member] if member else []), *members]
    people = [
        PersonChoice(user.id, user.name, user.email, membership.state is MembershipState.ACTIVE)
        for membership, user in members
    ]
    catalog = (await rights_cache.get_tenant_layers(ctx)).entitlements.catalog
    created_at = await repository.get_created_at(ctx)
    return ExplanationChoices(ctx.tenant_name, created_at, people, has_more, catalog.list_offers(now()))


async def view_access(
    octx: OperatorCtx,
    tenant_id: str,
    user_id: str,
    action: str,
    *,
    at: datetime | None = None,
    before: datetime | None = None,
    plan: str = "",
    decision_id: str = "",
) -> AccessView:
    """All that the page about a tenant's access shows, in one visit. `decision_id`: of a decision to show, or its request.

    `action`: "" where nothing is asked yet. `before`: an earlier time to compare with. A question that cannot be
    answered is the view's `problem`. Raises NotFound for an unknown tenant.
    """
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    async with entry.enter_as_operator(octx, tenant_id, VISIT_REASON) as ctx:
        choices = await _build_choices(ctx, "", user_id)
        refusals = await recent_refusals.find_refusals(ctx)
        answer: Explanation | ExplanationComparison | None = None
        problem: DomainError | None = None
        decision: RecordedDecision | None = None
        try:
            if decision_id:
                decision = (await recorded_decisions.search_records(ctx, decision_id)).decision
            if action and before is not None:
                answer = await _compare_in_tenant(ctx, user_id, _require_action(action), before, at)
            elif action:
                answer = await decision_history.explain_in_tenant(
                    ctx, user_id, _require_action(action), at=at and _require_past(at), plan=plan
                )
        except (Invalid, NotFound) as error:
            problem = error
        return AccessView(
            choices=choices, refusals=refusals, answer=answer, problem=problem, decision=decision
        )


async def explain_access(
    octx: OperatorCtx,
    tenant_id: str,
    user_id: str,
    action: str,
    *,
    at: datetime | None = None,
    plan: str = "",
) -> Explanation:
    """`user_id`: "" for a non-member. `at`: None for now. `plan`: key of another plan than the tenant's.

    Raises Invalid, NotFound.
    """
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    requested_action = _require_action(action)
    async with entry.enter_as_operator(octx, tenant_id, VISIT_REASON) as ctx:
        return await decision_history.explain_in_tenant(
            ctx, user_id, requested_action, at=at and _require_past(at), plan=plan
        )


async def compare_access(
    octx: OperatorCtx,
    tenant_id: str,
    user_id: str,
    action: str,
    before: datetime,
    after: datetime | None = None,
) -> ExplanationComparison:
    """Compares a decision at two times: the layers that differ, and the changes that caused it.

    Raises Invalid, NotFound.
    """
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    requested_action = _require_action(action)
    async with entry.enter_as_operator(octx, tenant_id, VISIT_REASON) as ctx:
        return await _compare_in_tenant(ctx, user_id, requested_action, before, after)


async def _compare_in_tenant(
    ctx: Ctx, user_id: str, action: Action, before: datetime, after: datetime | None
) -> ExplanationComparison:
    since, until = _require_past(before), _require_past(after)
    if since >= until:
        raise Invalid("The first time must be before the second.", "Swap them.")
    first_explanation = await decision_history.explain_in_tenant(ctx, user_id, action, at=since)
    second_explanation = await decision_history.explain_in_tenant(ctx, user_id, action, at=until)
    window = await explanation_causes.load_change_window(ctx, user_id, action, since, until)
    changes = [
        LayerChange(line, later_line, await window.list_causes(line.layer))
        for line, later_line in explain.compare_traces(first_explanation.trace, second_explanation.trace)
    ]
    return ExplanationComparison(first_explanation, second_explanation, changes)


def _require_action(name: str) -> Action:
    action = ACTIONS.get(name)
    if action is None:
        raise Invalid("This action doesn’t exist.", "Choose one from the list.")
    return action


def _require_past(at: datetime | None) -> datetime:
    if at is not None and at > now():
        raise Invalid("This time is in the future.", "Choose a past time, or leave it empty for now.")
    return at or now()
