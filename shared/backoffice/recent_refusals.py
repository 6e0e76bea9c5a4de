"""What was refused in a tenant lately, for operators who are asked about it: the way into *Why?*."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, decision_counts, policy
from shared.access.actions import ACTIONS
from shared.backoffice import history_repository as repository
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import Invalid
from shared.core.paging import clamp_limit
from shared.entitlements import assignments
from shared.tenancy import entry

VISIT_REASON = "Why may or can't they"  # the stated reason of both: one look at a page is one line
MAX_SEARCH_LENGTH = 80  # characters of what is searched for


@dataclass(frozen=True, slots=True)
class RecentRefusal:
    """One person, action, reason and hour: `count` times, the last time at `at` in request `request_id`."""

    id: str
    action: str  # name, "" for an error of ours
    action_text: str  # completes "May not …"
    reason: str
    user_id: str  # "" for whoever is no person of this tenant: a job, or nobody
    person_name: str
    plan: str  # name, as it is now
    count: int
    at: datetime
    request_id: str


async def list_recent(
    octx: OperatorCtx, tenant_id: str, *, action: str = "", request_id: str = "", limit: int = 20
) -> Sequence[RecentRefusal]:
    """Newest first. Raises Invalid for an unknown action, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    if action and action not in ACTIONS:
        raise Invalid("There is no such action.", "Choose one from the list.")
    searched_request_id = request_id.strip()
    if len(searched_request_id) > MAX_SEARCH_LENGTH or "\0" in searched_request_id:
        raise Invalid("This is no id of a request.", "Copy it again; it begins with req_.")
    async with entry.enter_as_operator(octx, tenant_id, VISIT_REASON) as ctx:
        return await find_refusals(ctx, action=action, request_id=searched_request_id, limit=limit)


async def find_refusals(
    ctx: Ctx, *, action: str = "", request_id: str = "", limit: int = 20
) -> Sequence[RecentRefusal]:
    """For services that were asked for their right."""
    rows = await decision_counts.list_refusals(
        ctx, action=action, request_id=request_id, limit=clamp_limit(limit)
    )
    names = await repository.list_user_names(ctx, sorted({row.actor_id for row in rows}))
    _, catalog = await assignments.get_snapshot(ctx)
    plans = {plan.key: plan.name for plan in catalog.plans.values()}
    return [
        RecentRefusal(
            row.id,
            row.action,
            ACTIONS[row.action].description if row.action in ACTIONS else row.action,
            row.reason,
            row.actor_id if row.actor_id in names else "",
            names.get(row.actor_id) or row.actor_id or "Anybody",
            plans.get(row.plan, row.plan),
            row.count,
            row.at,
            row.request_id,
        )
        for row in rows
    ]
