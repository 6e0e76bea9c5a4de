"""What was refused in a tenant lately, for operators who are asked about it: the way into *Why?*."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.access import actions, evidence, policy
from shared.access.actions import ACTIONS
from shared.core.ctx import OperatorCtx
from shared.core.errors import Invalid
from shared.entitlements import holdings
from shared.tenancy import entry
from shared.tenancy import why_repository as repository

LOOK = "What was refused lately"
MOST = 100
LONGEST = 80  # characters of what is searched for


@dataclass(frozen=True, slots=True)
class Refusal:
    """One person, action, reason and hour: `count` times, the last time at `at` in request `request_id`."""

    id: str
    action: str  # name, "" for an error of ours
    said: str  # completes "May not …"
    reason: str
    user_id: str  # "" for whoever is no person of this tenant: a job, or nobody
    who: str
    plan: str  # name, as it is now
    count: int
    at: datetime
    request_id: str


async def list_recent(
    octx: OperatorCtx, tenant_id: str, *, action: str = "", request_id: str = "", limit: int = 20
) -> Sequence[Refusal]:
    """Newest first. Raises Invalid for an unknown action, NotFound."""
    policy.require_operator(octx, actions.OP_RIGHTS_EXPLAIN)
    if action and action not in ACTIONS:
        raise Invalid("There is no such action.", "Choose one from the list.")
    wanted = request_id.strip()
    if len(wanted) > LONGEST or "\0" in wanted:
        raise Invalid("This is no id of a request.", "Copy it again; it begins with req_.")
    async with entry.visit(octx, tenant_id, LOOK) as ctx:
        found = await evidence.list_refused(
            ctx, action=action, request_id=wanted, limit=min(max(limit, 1), MOST)
        )
        names = await repository.list_names(ctx, sorted({row.actor_id for row in found}))
        _, catalogue = await holdings.facts(ctx)
        plans = {plan.key: plan.name for plan in catalogue.plans.values()}
        return [
            Refusal(
                row.id,
                row.action,
                ACTIONS[row.action].said if row.action in ACTIONS else row.action,
                row.reason,
                row.actor_id if row.actor_id in names else "",
                names.get(row.actor_id) or row.actor_id or "Anybody",
                plans.get(row.plan, row.plan),
                row.count,
                row.at,
                row.request_id,
            )
            for row in found
        ]
