"""Usage that nothing bills is settled by an operator, with a reason."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlmodel import col

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import unbilled_usage
from shared.backoffice.reasons import state_reason
from shared.billing import usage
from shared.billing.models import BillingUsage
from shared.core import db
from shared.core.db import now
from shared.core.errors import Conflict, Refused
from tests.conftest import Cast

REASON = "Ticket 4471, as agreed"


async def record_problem(cast: Cast, identifier: str, problem: str, **values: Any) -> None:
    async with cast.ann.ctx() as ctx:
        assert await usage.record(ctx, "api_calls", 3, now(), identifier)
    async with db.transaction(tenant_id=cast.acme) as session:
        statement = sa.update(BillingUsage).where(col(BillingUsage.identifier) == identifier)
        await (await session.connection()).execute(statement.values(problem=problem, **values))


async def read_reported(cast: Cast) -> dict[str, bool]:
    async with db.transaction(tenant_id=cast.acme) as session:
        columns = sa.select(BillingUsage.identifier, BillingUsage.reported_at)  # type: ignore[call-overload]
        return {row[0]: row[1] is not None for row in await (await session.connection()).execute(columns)}


async def test_settled_usage_leaves_the_list_and_is_audited(cast: Cast) -> None:
    await record_problem(cast, "old", "ended")
    async with cast.ann.ctx() as ctx:
        (group,) = await unbilled_usage.list_unbilled(ctx)
    assert (group.count, group.quantity, group.is_retried) == (1, 3, False)
    await record_problem(cast, "new", "ended")
    async with cast.olga.octx() as octx:
        settled = await unbilled_usage.settle(
            octx,
            cast.acme,
            "ended",
            "api_calls",
            "waived",
            state_reason(octx, REASON, tenant_id=cast.acme),
            last_id=group.last_id,
        )
    assert settled == 1
    assert await read_reported(cast) == {"old": True, "new": False}, "only what was shown"
    async with cast.ann.ctx() as ctx:
        events = (await audit_log.list_events(ctx, AuditFilter(action="billing.usage_settled"))).rows
    assert [(event.reason, event.after["usage"]) for event in events] == [(REASON, "3,000 calls")]


@pytest.mark.parametrize(("problem", "tried_ago"), [("refused", timedelta(hours=1)), ("", timedelta(days=2))])
async def test_usage_that_may_still_be_billed_is_not_settled(
    cast: Cast, problem: str, tried_ago: timedelta
) -> None:
    await record_problem(cast, "running", problem, tried_at=now() - tried_ago)
    async with cast.olga.octx() as octx:
        with pytest.raises(Conflict, match="no such usage"):
            await unbilled_usage.settle(
                octx,
                cast.acme,
                problem,
                "api_calls",
                "waived",
                state_reason(octx, REASON, tenant_id=cast.acme),
                last_id="z",
            )
    assert await read_reported(cast) == {"running": False}


async def test_support_cannot_settle_usage(cast: Cast) -> None:
    await record_problem(cast, "old", "ended")
    async with cast.sam.octx() as octx:
        with pytest.raises(Refused):
            await unbilled_usage.settle(
                octx,
                cast.acme,
                "ended",
                "api_calls",
                "waived",
                state_reason(octx, REASON, tenant_id=cast.acme),
                last_id="z",
            )
