"""Recent denials in a tenant, for operators: the start of *Why?*."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, decision_counts, decision_records, policy
from shared.access.actions import ACTIONS
from shared.backoffice import history_repository as repository
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import Invalid
from shared.core.paging import clamp_limit
from shared.entitlements import assignments
from shared.tenancy import entry

VISIT_REASON = "Why may or can’t they"  # the stated reason of both: one look at a page is one line
MAX_SEARCH_LENGTH = 80  # characters


@dataclass(frozen=True, slots=True)
class RecentRefusal:
    """One person, action, reason and hour: `count` times, the last time at `at` in request `request_id`."""

    id: str
    action: str  # name, "" for an internal error
    action_text: str  # completes "You don't have permission to …"
    reason: str
    user_id: str  # "" for jobs and non-members
    person_name: str
    plan: str  # name, as it is now
    count: int
    at: datetime
    request_id: str
    decision_id: str = ""  # of one refusal, "" for counts


async def list_recent(
    octx: OperatorCtx, tenant_id: str, *, action: str = "", request_id: str = "", limit: int = 20
) -> Sequence[RecentRefusal]:
    """Newest first. `request_id`: of a request or of a decision. Raises Invalid for an unknown action, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    if action and action not in ACTIONS:
        raise Invalid("This action doesn’t exist.", "Choose one from the list.")
    searched_request_id = request_id.strip()
    if len(searched_request_id) > MAX_SEARCH_LENGTH or "\0" in searched_request_id:
        raise Invalid("This isn’t a request ID.", "Copy it again. It starts with req_ or dcn_.")
    async with entry.enter_as_operator(octx, tenant_id, VISIT_REASON) as ctx:
        return await find_refusals(ctx, action=action, request_id=searched_request_id, limit=limit)


async def find_refusals(
    ctx: Ctx, *, action: str = "", request_id: str = "", limit: int = 20
) -> Sequence[RecentRefusal]:
    """The caller checks the permission."""
    if request_id and (recorded := await _find_recorded(ctx, request_id, limit=limit)):
        return recorded
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
            names.get(row.actor_id) or row.actor_id or "Anyone",
            plans.get(row.plan, row.plan),
            row.count,
            row.at,
            row.request_id,
        )
        for row in rows
    ]


async def _find_recorded(ctx: Ctx, searched_id: str, *, limit: int) -> Sequence[RecentRefusal]:
    """By the id of a decision or a request. What was allowed is included where it is searched for by its own id."""
    record = await decision_records.find_record(ctx, searched_id)
    records = [record] if record is not None else []
    if record is None:
        records = [
            each for each in await decision_records.list_of_requests(ctx, [searched_id]) if not each.allowed
        ]
    names = await repository.list_user_names(ctx, sorted({each.holder_id for each in records}))
    _, catalog = await assignments.get_snapshot(ctx)
    plan_names = {version_id: offer.name for version_id, offer in catalog.offers.items()}
    return [
        RecentRefusal(
            each.id,
            each.action,
            ACTIONS[each.action].description if each.action in ACTIONS else each.action,
            each.reason,
            each.holder_id if each.holder_id in names else "",
            names.get(each.holder_id, each.actor_id),
            plan_names.get(each.plan_version, each.plan_version),
            1,
            each.at,
            each.request_id,
            each.id,
        )
        for each in records[:limit]
    ]
