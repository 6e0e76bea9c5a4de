"""Permission checks of services: refusals have a sentence and a next step and execute no statement."""

from dataclasses import dataclass

import pytest

from shared.access import refusal_messages
from shared.access.actions import ACTIONS, OPERATOR_ACTIONS, Action, OperatorAction
from shared.access.decision import REFUSED_BY_REASON
from shared.access.refusal_codes import Reason
from shared.backoffice import tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.context import Limit, RefusalWording, Rights
from shared.core.errors import Refused
from shared.entitlements.features import FEATURES
from shared.entitlements.limits import LIMITS
from shared.tenancy import audit_reader, invitations, members, tenants
from tests.conftest import Cast

PAYING_HELPS = {
    *(Reason.BILLING_NONE, Reason.BILLING_READ_ONLY, Reason.LIMIT_REACHED),
    *(Reason.NOT_IN_PLAN, Reason.TRIAL_ENDED),
}
RIGHTS = Rights(
    *("starter", "Starter", "plv_starter_1", "active", frozenset()),
    {name: Limit(5) for name in LIMITS},
    frozenset(),
    {},
    {name: RefusalWording(name, plan_names=("Pro",)) for name in (*FEATURES, *LIMITS)},
)


@dataclass(frozen=True)
class Somebody:
    permissions: frozenset[str]
    rights: Rights


@pytest.mark.parametrize("reason", REFUSED_BY_REASON)
def test_refusal_has_a_sentence_and_a_next_step_for_every_reason(reason: str) -> None:
    for action in (*ACTIONS.values(), *OPERATOR_ACTIONS.values()):
        caller = None if isinstance(action, OperatorAction) else Somebody(frozenset(), RIGHTS)
        if reason == Reason.LIMIT_REACHED and not (isinstance(action, Action) and action.limit):
            continue
        refused = refusal_messages.build_refusal(
            reason, action, caller, used=5, obstacle="Three people hold it."
        )
        assert refused.reason == reason
        assert refused.detail.endswith(".")
        assert refused.next_step.endswith(".")
        assert refused.http_status == (402 if reason in PAYING_HELPS else 403)


async def test_service_call_without_permission_executes_no_statement(cast: Cast) -> None:
    """Asking a service without the right costs no query: nothing is learned, nothing can be slow."""
    async with cast.max.ctx() as ctx, cast.sam.octx() as octx:
        counted: list[str] = []

        def count(*arguments: object) -> None:
            counted.append(str(arguments[2]))

        watched = [db.engine("app").sync_engine, db.engine("operator").sync_engine]
        for engine in watched:
            db.event.listen(engine, "before_cursor_execute", count)
        try:
            for call in (
                invitations.invite(ctx, "zoe@acme.test", "viewer"),
                invitations.revoke(ctx, "inv_x"),
                members.set_role(ctx, "mem_x", "viewer", version=None),
                members.deactivate(ctx, "mem_x"),
                members.reactivate(ctx, "mem_x"),
                members.remove(ctx, "mem_x"),
                members.transfer_ownership(ctx, "mem_x", "Acme"),
                tenants.rename(ctx, "x", version=None),
                tenants.change_slug(ctx, "xyz", version=None),
                audit_reader.list_events(ctx),
                tenant_directory.suspend_tenant(
                    octx, cast.acme, state_reason(octx, "why, ticket 4471", tenant_id=cast.acme)
                ),
                tenant_directory.restore_tenant(
                    octx, cast.acme, state_reason(octx, "why, ticket 4471", tenant_id=cast.acme)
                ),
                tenant_directory.list_operator_events(octx),
            ):
                with pytest.raises(Refused, match="missing_permission"):
                    await call
        finally:
            for engine in watched:
                db.event.remove(engine, "before_cursor_execute", count)
    assert counted == []
