"""Counts of decisions: their columns, many in one row, retention, and retries after a failed write."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
import reflex as rx
from reflex.event import Event
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from shared.access import actions, decision_counts, decision_counts_repository, policy
from shared.access.models import DecisionCount
from shared.access.refusal_codes import ALLOWED_REASONS
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.db import now
from shared.core.errors import Refused
from shared.tenancy import authentication, invitations, members
from shared.ui.authorize import AuthorizeMiddleware, needs
from shared.ui.live_updates import LiveUpdates
from shared.ui.states import SessionState
from tests.conftest import Cast


class EvidenceState(SessionState):
    @rx.event
    @needs(actions.MEMBER_INVITE)
    async def invite(self) -> None: ...


@pytest.fixture(autouse=True)
def no_pending_counts() -> Iterator[None]:
    decision_counts._pending.clear()
    yield
    decision_counts._pending.clear()


async def list_tallies(tenant_id: str) -> Sequence[DecisionCount]:
    await decision_counts.flush()
    async with db.transaction(tenant_id=tenant_id) as session:
        return (await session.exec(select(DecisionCount).order_by(DecisionCount.action))).all()


async def refuse_max(cast: Cast) -> str:
    with pytest.raises(Refused):
        async with cast.max.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")
    return ctx.request_id


async def test_refusal_is_counted_with_actor_action_reason_plan_and_request(cast: Cast) -> None:
    decision_counts._pending.clear()
    before = {tally.id for tally in await list_tallies(cast.acme)}
    request_id = await refuse_max(cast)
    (row,) = [tally for tally in await list_tallies(cast.acme) if tally.id not in before]
    assert (row.actor_id, row.action, row.reason) == (cast.max.user_id, "member:invite", "missing_permission")
    assert (row.plan, row.count, row.request_id) == ("business", 1, request_id)
    assert row.hour == row.at.replace(minute=0, second=0, microsecond=0)


async def test_refusal_by_the_page_middleware_is_counted(cast: Cast) -> None:
    state = cast.max.opens(EvidenceState)
    gate = AuthorizeMiddleware(authentication.authenticate, LiveUpdates("app"))
    tree: Any = state._get_root_state()
    name = Event.from_event_type(EvidenceState.invite)[0].name
    assert await gate.preprocess(app=None, state=tree, event=Event(name=name)) is not None  # type: ignore[arg-type]
    (row,) = [tally for tally in await list_tallies(cast.acme) if tally.reason not in ALLOWED_REASONS]
    assert (row.actor_id, row.action, row.plan) == (cast.max.user_id, "member:invite", "business")
    assert row.request_id.startswith("req_")


async def test_many_equal_refusals_are_stored_as_one_row_in_few_statements(cast: Cast) -> None:
    statements: list[str] = []

    def record_statement(*arguments: Any) -> None:
        statements.append(arguments[2])

    async with cast.max.ctx() as ctx:
        pass
    decision_counts._pending.clear()

    async def attempt_invitation() -> None:
        async with decision_counts.counting_decisions() as decided:
            decided.set_context(ctx)
            policy.require(ctx, actions.MEMBER_INVITE)

    engine = db.engine("app").sync_engine
    db.event.listen(engine, "before_cursor_execute", record_statement)
    try:
        for _ in range(10_000):
            with pytest.raises(Refused):
                await attempt_invitation()
        await decision_counts.flush()
    finally:
        db.event.remove(engine, "before_cursor_execute", record_statement)
    (row,) = [tally for tally in await list_tallies(cast.acme) if tally.reason not in ALLOWED_REASONS]
    assert row.count == 10_000
    written = [statement for statement in statements if "insert into decision_count" in statement.lower()]
    assert 1 <= len(written) <= 10, len(written)
    assert len(statements) <= 40


async def test_allowed_decision_is_counted_when_a_limit_could_have_refused_it(cast: Cast) -> None:
    before = {tally.id: tally.count for tally in await list_tallies(cast.acme)}
    async with cast.ann.ctx() as ctx:
        await members.list_members(ctx)
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
    after = [tally for tally in await list_tallies(cast.acme) if before.get(tally.id) != tally.count]
    (invited,) = after
    assert (invited.action, invited.reason, invited.actor_id) == ("member:invite", "allowed", "")
    count_before = before.get(invited.id, 0)  # 0 where the hour has changed: each hour has a row of its own
    assert invited.count == count_before + 1, "asked twice, once more under the lock: one decision"


async def test_decision_refused_under_the_lock_is_not_counted_as_allowed(cast: Cast) -> None:
    until = now() + timedelta(days=1)
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx, cast.acme, "members", 3, state_reason(octx, "Trying it", tenant_id=cast.acme), ends_at=until
        )

    async def count_by_reason() -> dict[str, int]:
        counts: Counter[str] = Counter()
        for tally in await list_tallies(cast.acme):  # a row an hour
            if tally.action == "member:invite":
                counts[tally.reason] += tally.count
        return counts

    before = await count_by_reason()
    with pytest.raises(Refused, match="limit_reached"):
        async with cast.ann.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")
    assert await count_by_reason() == {**before, "limit_reached": 1}


async def test_unexpected_exception_is_counted_as_an_error(cast: Cast) -> None:
    with pytest.raises(ZeroDivisionError):
        async with cast.ann.ctx() as ctx:
            raise ZeroDivisionError
    (row,) = [tally for tally in await list_tallies(cast.acme) if tally.reason == "error"]
    assert (row.action, row.actor_id, row.count, row.request_id) == ("", "", 1, ctx.request_id)


async def test_counts_are_written_later_when_the_first_write_fails(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_to_write(*_: Any) -> None:
        raise OperationalError("insert", {}, Exception("gone"))

    with monkeypatch.context() as patch:
        patch.setattr(decision_counts_repository, "add_counts", fail_to_write)
        await refuse_max(cast)
        await refuse_max(cast)
        await decision_counts.flush()
    (row,) = [tally for tally in await list_tallies(cast.acme) if tally.reason not in ALLOWED_REASONS]
    assert row.count == 2


async def test_counts_older_than_the_retention_are_deleted_with_the_next_write(cast: Cast) -> None:
    hour = now().replace(minute=0, second=0, microsecond=0)
    for days in (89, 91, 400):
        at = hour - timedelta(days=days)
        line = (at, cast.max.user_id, f"old:{days}", "missing_permission", "business")
        for tenant_id in (cast.acme, cast.globex):
            async with db.transaction(tenant_id=tenant_id) as session:
                await decision_counts_repository.add_counts(session, tenant_id, {line: (3, at, "req_old")})
    await refuse_max(cast)
    assert {tally.action for tally in await list_tallies(cast.acme)} >= {"old:89", "member:invite"}
    assert not {tally.action for tally in await list_tallies(cast.acme)} & {"old:91", "old:400"}
    async with db.transaction(tenant_id=cast.globex) as session:  # nobody has written there since
        assert len((await session.exec(select(DecisionCount.action))).all()) >= 3
