"""Settling recorded usage that nothing bills: an operator says what became of it, and it leaves the lists."""

from collections.abc import Sequence

from shared.access import actions, policy
from shared.access.meters import METERS
from shared.audit import audit_log
from shared.backoffice import unbilled_usage_repository as repository
from shared.backoffice.reasons import Reason, use_reason
from shared.backoffice.unbilled_usage_repository import UnbilledGroup
from shared.core import live_events
from shared.core.context import Ctx, OperatorCtx
from shared.core.errors import Conflict, Invalid
from shared.tenancy import entry

SETTLEMENTS = {  # code: label
    "counted": "Stripe counted it",
    "invoiced": "Billed by another invoice or adjustment",
    "waived": "Not charged",
}


async def list_unbilled(ctx: Ctx) -> Sequence[UnbilledGroup]:
    """The oldest first. The caller checks the permission."""
    return await repository.list_unbilled(ctx)


async def settle(
    octx: OperatorCtx, tenant_id: str, problem: str, meter: str, code: str, reason: Reason, *, last_id: str
) -> int:
    """Settles what the page showed. Returns the number of records. It charges nothing.

    `last_id`: of the group. Raises Invalid, NotFound, Conflict where nothing is left to settle.
    """
    policy.require_operator(octx, actions.OP_BILLING_ADJUST)
    reason_text = use_reason(octx, reason, tenant_id)
    if code not in SETTLEMENTS:
        raise Invalid("Choose how it was settled.", "Choose one of the answers.", fields={"code": "Missing"})
    async with entry.enter_live_as_operator(octx, tenant_id, reason_text) as ctx:
        quantities = await repository.settle(ctx, problem, meter, last_id)
        if not quantities:
            raise Conflict(
                "There is no such usage to settle.",
                "Reload the page. What Stripe refuses is sent again for 23 hours and can be settled after that.",
            )
        audit_log.record(
            ctx,
            "billing.usage_settled",
            meter,
            before={"problem": problem},
            after={
                "records": str(len(quantities)),
                "usage": METERS[meter].format_units(sum(quantities)),
                "settled": SETTLEMENTS[code],
            },
            reason=reason_text,
        )
        await live_events.refresh_pages(ctx.session, tenant_id, "billing")
    return len(quantities)
