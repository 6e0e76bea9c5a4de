"""The chains of the audit logs for operators: what is anchored and verified, and which of them are wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.backoffice import audit_evidence_repository as repository
from shared.core import installation_keys
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.evidence.chain_checks import VERIFY_EVERY
from shared.evidence.models import AnchorProblem, PlatformAnchor
from shared.evidence.tasks import CHECK_TASK
from shared.jobs import queue
from shared.tenancy import entry

REASON = "State of the audit chains"
MAX_PROBLEMS = 50
SLACK = timedelta(hours=2)  # after which a verification is late


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainAlert:
    """A chain that is wrong. `tenant_id`, `name`: "" for the operators' chain. `number`: of the first wrong event."""

    tenant_id: str
    name: str
    problem: AnchorProblem
    number: int | None
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainOverview:
    """`anchored_at`: of the operators' chain. `late_count`: tenants whose chain was not verified for longer than a day."""

    alerts: Sequence[ChainAlert]
    tenant_count: int
    late_count: int
    operator_events: int  # in the last verification
    operators_verified_at: datetime | None
    anchored_at: datetime | None
    key_id: str


async def get_overview(octx: OperatorCtx) -> ChainOverview:
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    async with entry.read_across_tenants(octx, REASON) as session:
        alerts = await list_alerts(session)
        tenant_count, late_count = await repository.count_chains(session, now() - VERIFY_EVERY - SLACK)
        operators = await repository.get_platform_anchor(session)
    return ChainOverview(
        alerts=alerts,
        tenant_count=tenant_count,
        late_count=late_count,
        operator_events=operators.verified_seq,
        operators_verified_at=operators.verified_at,
        anchored_at=operators.anchored_at,
        key_id=installation_keys.get_signing_key_id(),
    )


async def list_alerts(session: AsyncSession) -> Sequence[ChainAlert]:
    """The chains that are wrong, the oldest first. For a session that has stated why it reads across tenants."""
    alerts = [
        ChainAlert(
            tenant_id=anchor.tenant_id,
            name=name,
            problem=AnchorProblem(anchor.problem),
            number=anchor.problem_seq,
            since=anchor.problem_at or now(),
        )
        for anchor, name in await repository.list_problems(session, MAX_PROBLEMS)
    ]
    return [*_list_operator_alerts(await repository.get_platform_anchor(session)), *alerts]


async def request_check(octx: OperatorCtx) -> None:
    """Verify and anchor all chains in a job."""
    policy.require_operator(octx, actions.OP_AUDIT_READ_ALL)
    await queue.put_platform_job(octx.session, CHECK_TASK, sequence=CHECK_TASK)


def _list_operator_alerts(anchor: PlatformAnchor) -> list[ChainAlert]:
    if not anchor.problem:
        return []
    return [
        ChainAlert(
            tenant_id="",
            name="",
            problem=AnchorProblem(anchor.problem),
            number=anchor.problem_seq,
            since=anchor.problem_at or now(),
        )
    ]
