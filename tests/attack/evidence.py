"""Every privileged action writes exactly one audit event, with tenant, actor, reason and result.

`services` calls every service with honest arguments. What was allowed to write and returned is looked at here, before it is
undone. An action that no such call carries out is named in `ELSEWHERE`, with the test that does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text

from shared.access.actions import ACTIONS, OPERATOR_ACTIONS
from shared.access.privileged_actions import is_privileged
from shared.audit.event_types import RESULT_KEY
from shared.core import db, registry
from shared.core.context import Ctx, OperatorCtx
from tests.attack.calls import Call
from tests.attack.report import Report
from tests.support import source

KIND = "services"
STEPS = {  # calls that are one part of an act, which another function records
    **{
        f"backoffice.key_renewal.{name}": "by cli.keys"
        for name in (
            "is_realm_renewed",
            "list_due_tenants",
            "record_realm",
            "renew_account_keys",
            "renew_tenant_key",
        )
    },
    "backoffice.tenant_keys.list_wrapped_keys": "by cli.keys",
    "backoffice.tenant_keys.rotate_tenant_keys": "by cli.keys",
    "outbound_webhooks.endpoints.resume": "the endpoint is active already: nothing happens",
}
PARTS = {"service_account:take_seat"}  # asked within another action, which records
ELSEWHERE = {  # actions that no honest call carries out, with the tests that look at their events
    "audit_stream:change": "tests/evidence/test_streams.py",
    "op:account:write": "tests/billing/test_accounts.py",
    "op:approval:decide": "tests/backoffice/test_approvals.py",
    "op:catalog:publish": "tests/backoffice/test_approvals.py",
    "op:flag:release": "tests/backoffice/test_approvals.py",
    "op:impersonate:write": "tests/backoffice/test_impersonations.py",
    "op:tenant:delete": "tests/offboarding/test_deletions.py",
    "op:tenant:keep": "tests/offboarding/test_deletions.py",
    "op:api_key:write": "tests/backoffice/test_operator_keys.py",
    "op:billing:adjust_any": "tests/backoffice/test_adjustments.py",
    "op:job:write": "tests/backoffice/test_failed_jobs.py",
    "op:mail:lift": "tests/web/test_mail_webhooks.py",
    "op:operator:manage": "tests/backoffice/test_operators.py",
    "op:tenant:resume": "tests/backoffice/test_tenant_directory.py",
    "op:user:disable": "tests/identity/test_users.py",
    "op:user:reset_factor": "tests/web/test_factor_resets.py",
    "owner:transfer": "tests/tenancy/test_members.py",
    "role:change": "tests/tenancy/test_roles.py",
    "role:delete": "tests/tenancy/test_roles.py",
    "test_data:delete": "tests/test_mode/test_test_tenants.py",
    "webhook:resume": "tests/outbound_webhooks/test_endpoints.py",
}
EVENTS = """
    select action, actor_id, reason, details, tenant_id from audit_event where request_id = :request_id
        and tenant_id = :tenant_id
"""
OPERATOR_EVENTS = """
    select action, actor_id, reason, details, '' as tenant_id from operator_event where request_id = :request_id
"""


def list_privileged() -> dict[str, Sequence[str]]:
    """The privileged actions with the event types that their manifests name."""
    recorded = {
        name: events for module in registry.list_modules() for name, events in module.recorded.items()
    }
    actions = [*ACTIONS.values(), *OPERATOR_ACTIONS.values()]
    return {
        action.name: recorded.get(action.name, ())
        for action in actions
        if is_privileged(action) and action.name not in PARTS
    }


class Evidence:
    """What became of each privileged action in this run."""

    def __init__(self, report: Report) -> None:
        self._report, self._event_types = report, list_privileged()
        self._carried_out = set[str]()

    async def examine(self, call: Call, ctx: Ctx | OperatorCtx, answer: Any, tenant_id: str) -> None:
        """`tenant_id`: in which an operator may have written."""
        asked = [action for action in _list_asked(ctx) if action in self._event_types]
        action = asked[-1] if asked else ""
        if action not in self._event_types or call.name in STEPS or isinstance(answer, Exception):
            return
        await ctx.session.flush()
        if not db.has_written(ctx.session):
            return  # it reads what another service changes
        events = await _list_events(ctx, tenant_id)
        matching = [event for event in events if event["action"] in self._event_types[action]]
        self._carried_out.add(action)
        is_right = len(matching) == 1 and all(_is_complete(event, ctx) for event in matching)
        claim = f"{call.name} records {action} once" + ("" if is_right else f", not {events}")
        self._report.attempt(KIND, claim, refused=is_right)

    def finish(self) -> None:
        missing = self._event_types.keys() - self._carried_out - ELSEWHERE.keys()
        for action in sorted(missing):
            self._report.unknown(KIND, f"{action}: no honest call carries it out")
        for action, path in sorted(ELSEWHERE.items()):
            tests = (source.ROOT / path).read_text()
            if not any(event_type in tests for event_type in self._event_types[action]):
                self._report.unknown(KIND, f"{path} does not look at the events of {action}")
        for action in sorted(ELSEWHERE.keys() & self._carried_out):
            self._report.unknown(KIND, f"{action} is carried out by an honest call now")


def _list_asked(ctx: Ctx | OperatorCtx) -> list[str]:
    """The actions that were allowed, in their order."""
    return [ctx.act.action] if isinstance(ctx, OperatorCtx) else list(ctx.allowed_actions)


async def _list_events(ctx: Ctx | OperatorCtx, tenant_id: str) -> list[Mapping[str, Any]]:
    connection = await ctx.session.connection()
    values = {"request_id": ctx.request_id, "tenant_id": tenant_id}
    if isinstance(ctx, OperatorCtx):
        await db.set_tenant(ctx.session, tenant_id)
        connection = await ctx.session.connection()
    events = list((await connection.execute(text(EVENTS), values)).mappings())
    if isinstance(ctx, OperatorCtx):
        events += (await connection.execute(text(OPERATOR_EVENTS), values)).mappings()
    return [dict(event) for event in events]


def _is_complete(event: Mapping[str, Any], ctx: Ctx | OperatorCtx) -> bool:
    """Who and, for operators, why. An event without a result is about something that was done."""
    has_reason = bool(event["reason"].strip()) or isinstance(ctx, Ctx)
    return event["actor_id"] == ctx.actor_id and has_reason and RESULT_KEY not in event["details"]
