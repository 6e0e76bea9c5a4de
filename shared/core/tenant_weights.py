"""How much of what is shared a tenant gets while others want it too: by its plan. This is the one place with the numbers.

A weight multiplies the rates of `tenant_limits`, the place in the queue for connections and the turns of jobs.
"""

from collections import OrderedDict

PLAN_WEIGHTS = {"free": 1, "starter": 2, "business": 3, "enterprise": 4}  # by the key of the plan
DEFAULT_WEIGHT = 2  # of plans that operators have made
MIN_WEIGHT = 1  # of tenants that this process hasn't seen yet
MAX_KNOWN = 20_000  # tenants in one process
_plan_by_tenant: OrderedDict[str, str] = OrderedDict()


def note_plan(tenant_id: str, plan: str) -> None:
    """At each entry into the tenant. `plan`: its key."""
    _plan_by_tenant[tenant_id] = plan
    _plan_by_tenant.move_to_end(tenant_id)
    if len(_plan_by_tenant) > MAX_KNOWN:
        _plan_by_tenant.popitem(last=False)


def get_weight(tenant_id: str) -> int:
    """By the plan at its last entry in this process."""
    plan = _plan_by_tenant.get(tenant_id)
    return MIN_WEIGHT if plan is None else PLAN_WEIGHTS.get(plan, DEFAULT_WEIGHT)
