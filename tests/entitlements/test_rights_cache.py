"""Cached rights are never older than the last commit, and immutable."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from shared.access import actions
from shared.access.decision import decide
from shared.access.refusal_codes import Reason
from shared.backoffice import explanations, tenant_access
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.context import Ctx, Limit, Rights
from shared.core.db import now
from shared.core.ids import new_id
from shared.entitlements import assignments, compiled_rights, rights_cache
from shared.entitlements import repository as entitlements
from shared.entitlements.flag_evaluation import EvaluatedFlags
from shared.entitlements.models import Plan, PlanVersion
from shared.tenancy import invitations, members
from tests.bench import asker
from tests.conftest import Cast, Person
from tests.support import forked
from tests.support.entitlements import flag_fixtures
from tests.support.sizes import size

TOMORROW = timedelta(days=1)


async def get_reason(person: Person, action: actions.Action = actions.AUDIT_EXPORT) -> str:
    async with person.ctx() as ctx:
        return str(decide(ctx, action).reason)


async def switch_feature(cast: Cast, on: bool, feature: str = "exports.csv") -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx,
            cast.acme,
            feature,
            on,
            state_reason(octx, "Trying it", tenant_id=cast.acme),
            ends_at=now() + TOMORROW,
        )


# ── other processes ──────────────────────────────────────────────────────────────────────────────────────────────


async def count_stale_answers(cast: Cast, how: str, changes: int, *, processes: int) -> int:
    """Wrong answers of other processes, each asked right after a commit and without a notice."""
    wrong, chance = 0, Random(7)
    with ExitStack() as stack:
        others = [stack.enter_context(forked.run_piped(asker.run, how)) for _ in range(processes)]
        for process in others:
            assert await process.read_line() == '{"listening": false}'

        async def ask() -> list[str]:
            question = json.dumps({"cookie": cast.ann.cookie, "slug": cast.ann.slug})
            answers = await asyncio.gather(*(process.ask(question) for process in others))
            return [json.loads(answer)["reason"] for answer in answers]

        await ask()
        for _ in range(changes):
            on = chance.random() < 0.5
            await switch_feature(cast, on)
            expected = Reason.ALLOWED if on else Reason.NOT_IN_PLAN
            wrong += sum(answer != expected for answer in await ask())
    return wrong


async def test_change_is_visible_to_other_processes_at_once(cast: Cast) -> None:
    changes, processes = size("entitlements.changes_seen_elsewhere"), size("entitlements.other_processes")
    assert await count_stale_answers(cast, "deaf", changes, processes=processes) == 0


async def test_rights_cached_for_a_fixed_time_become_stale(cast: Cast) -> None:
    assert await count_stale_answers(cast, "60", 6, processes=1) > 0


# ── this process ─────────────────────────────────────────────────────────────────────────────────────────────────


async def get_uncommitted_rights(ctx: Ctx) -> Rights:
    """Rights as an entry in the same transaction would see them."""
    connection = await ctx.session.connection()
    version = await connection.execute(
        text("select rights_version from tenant where id = :id"), {"id": ctx.tenant_id}
    )
    epoch = await entitlements.get_epoch(ctx.session)
    return await rights_cache.get_rights(
        ctx.session, ctx.tenant_id, int(version.scalar_one()), epoch, ctx.tenant_state
    )


async def test_rolled_back_change_leaves_nothing_in_the_cache(cast: Cast) -> None:
    end = now() + TOMORROW

    async def change_mind() -> None:
        async with cast.ann.ctx() as ctx:
            await assignments.override_feature(ctx, "exports.csv", False, "Changing my mind", ends_at=end)
            await ctx.session.flush()
            assert "exports.csv" not in (await get_uncommitted_rights(ctx)).features
            raise ZeroDivisionError

    for _ in range(3):  # the number of the change that never was must not come again with the next one
        with pytest.raises(ZeroDivisionError):
            await change_mind()
        async with cast.ann.ctx() as ctx:
            await assignments.override_limit(ctx, "members", 7, "Something else", ends_at=end)
        async with cast.ann.ctx() as ctx:
            assert decide(ctx, actions.AUDIT_EXPORT).reason is Reason.ALLOWED
            assert ctx.rights.limits["members"] == Limit(7)


async def test_scheduled_change_takes_effect_without_an_event(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    await switch_feature(cast, False)
    assert await get_reason(cast.ann) == Reason.NOT_IN_PLAN
    async with cast.ann.ctx() as ctx:
        await assignments.set_billing_status(
            ctx, "read_only", "Foreseen", starts_at=now() + timedelta(hours=2)
        )
    expected = {
        timedelta(hours=1, minutes=59): (Reason.NOT_IN_PLAN, Reason.ALLOWED),
        timedelta(hours=2): (Reason.NOT_IN_PLAN, Reason.BILLING_READ_ONLY),
        timedelta(hours=23): (Reason.NOT_IN_PLAN, Reason.BILLING_READ_ONLY),
        timedelta(hours=25): (Reason.ALLOWED, Reason.BILLING_READ_ONLY),
    }
    began = now()
    for later, expected_reasons in expected.items():
        monkeypatch.setattr(rights_cache, "now", lambda later=later: began + later + timedelta(seconds=1))
        reasons = (await get_reason(cast.ann), await get_reason(cast.ann, actions.MEMBER_INVITE))
        assert reasons == expected_reasons, later


async def test_replacing_plan_version_is_visible_at_the_next_entry(cast: Cast) -> None:
    plan = Plan(key="acme", name="Acme", sentence="", for_tenant=cast.acme, created_by="Olga")

    async def publish(number: int, features: list[str]) -> str:
        version = PlanVersion(
            id=new_id("plv"),
            plan_id=plan.id,
            for_tenant=cast.acme,
            number=number,
            status="published",
            features=features,
            limits={"members": {"amount": 9, "hard": True}},
            moves=True,
            effective_at=now(),
            published_at=now(),
            published_by="Olga",
            created_by="Olga",
        )
        async with db.transaction("operator") as session:
            if number == 1:
                session.add(plan)
                await session.flush()
            session.add(version)
        return version.id

    first = await publish(1, ["audit_log", "exports.csv"])
    async with cast.olga.octx() as octx:
        await tenant_access.assign_plan(
            octx, cast.acme, first, state_reason(octx, "A plan of their own", tenant_id=cast.acme)
        )
    assert await get_reason(cast.ann) == Reason.ALLOWED
    others = await get_reason(cast.gil)
    await publish(2, ["audit_log"])
    assert await get_reason(cast.ann) == Reason.NOT_IN_PLAN
    assert await get_reason(cast.gil) == others


async def test_invalidation_drops_one_tenant_or_all(cast: Cast) -> None:
    await get_reason(cast.ann)
    await get_reason(cast.gil)
    rights_cache.invalidate(cast.acme)
    assert cast.acme not in rights_cache._cache
    assert cast.globex in rights_cache._cache
    rights_cache.invalidate("*")
    assert not rights_cache._cache
    assert await get_reason(cast.ann) == Reason.ALLOWED


async def test_cache_holds_a_limited_number_of_tenants(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    rights_cache.invalidate()
    monkeypatch.setattr(rights_cache, "MAX_TENANTS", 1)
    for person in (cast.ann, cast.gil, cast.ann):
        await get_reason(person)
        assert len(rights_cache._cache) == 1
    rights_cache.invalidate()


async def test_a_limited_number_of_compiled_rights_is_kept(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_rights.clear_compiled_rights()
    monkeypatch.setattr(compiled_rights, "MAX_CACHED_RIGHTS", 1)
    for on in (False, True, False):
        await switch_feature(cast, on)
        assert await get_reason(cast.ann) == (Reason.ALLOWED if on else Reason.NOT_IN_PLAN)
        assert len(compiled_rights._compiled_rights) == 1
    rights_cache.invalidate()


# ── traces ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def explain_now(cast: Cast, action: actions.Action) -> Reason:
    async with cast.olga.octx() as octx:
        answer = await explanations.explain_access(octx, cast.acme, cast.max.user_id, action.name)
    return answer.trace.decision.reason


async def set_role(cast: Cast, role: str) -> None:
    async with cast.ann.ctx() as ctx:
        page = await members.list_members(ctx, query=cast.max.email)
        await members.set_role(ctx, page.rows[0].id, role, version=None)


async def test_trace_of_now_sees_a_change_of_a_fact_at_once(cast: Cast) -> None:
    await set_role(cast, "admin")
    for on, expected in ((True, Reason.ALLOWED), (False, Reason.NOT_IN_PLAN), (True, Reason.ALLOWED)):
        await switch_feature(cast, on)
        assert [await explain_now(cast, actions.AUDIT_EXPORT) for _ in range(2)] == [expected] * 2


async def test_trace_of_now_sees_a_change_of_a_role_at_once(cast: Cast) -> None:
    for role, expected in (
        ("admin", Reason.ALLOWED),
        ("viewer", Reason.MISSING_PERMISSION),
        ("admin", Reason.ALLOWED),
    ):
        await set_role(cast, role)
        assert [await explain_now(cast, actions.AUDIT_EXPORT) for _ in range(2)] == [expected] * 2


async def test_trace_of_now_sees_a_change_of_usage_at_once(cast: Cast) -> None:
    await set_role(cast, "admin")
    async with cast.ann.ctx() as ctx:
        used = await members.count_seats(ctx)
        await assignments.override_limit(ctx, "members", used + 1, "One more", ends_at=now() + TOMORROW)
    assert await explain_now(cast, actions.MEMBER_INVITE) is Reason.ALLOWED
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "last@acme.test", "viewer")
    assert await explain_now(cast, actions.MEMBER_INVITE) is Reason.LIMIT_REACHED


async def test_trace_of_now_sees_a_change_of_a_flag_at_once(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"})
    action = replace(actions.HOME_READ, flag=key)
    monkeypatch.setitem(actions.ACTIONS, action.name, action)
    try:
        assert await explain_now(cast, action) is Reason.ALLOWED
        await flag_fixtures.change_rules(cast, key, [])
        assert await explain_now(cast, action) is Reason.FLAG_OFF
    finally:
        monkeypatch.undo()
        rights_cache.invalidate()  # tenants with equal facts would share rights that need the flag


async def test_lines_of_a_trace_go_with_the_cached_facts(cast: Cast) -> None:
    await explain_now(cast, actions.HOME_READ)
    kept = rights_cache._cache[cast.acme].tenant
    await explain_now(cast, actions.HOME_READ)
    assert rights_cache._cache[cast.acme].tenant is kept
    await switch_feature(cast, False)
    await explain_now(cast, actions.HOME_READ)
    assert rights_cache._cache[cast.acme].tenant is not kept


# ── shared by tenants ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_flags() -> Iterator[None]:
    """Flags that other tests left may be on for one tenant and off for another."""
    rights_cache.set_provider(EvaluatedFlags({}))
    yield
    rights_cache.set_provider(None)


@pytest.mark.usefixtures("no_flags")
async def test_tenants_with_equal_facts_share_one_rights_object(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx, cast.gil.ctx() as other:
        assert ctx.rights is other.rights
    await switch_feature(cast, False)
    async with cast.ann.ctx() as ctx, cast.gil.ctx() as other:
        assert ctx.rights is not other.rights
        assert "exports.csv" in other.rights.features


async def test_cached_rights_are_immutable(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        rights: Any = ctx.rights
    for column in dataclasses.fields(rights):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(rights, column.name, None)
        held = getattr(rights, column.name)
        if isinstance(held, str | frozenset):
            continue
        with pytest.raises(TypeError):
            held["members"] = Limit(None)
        with pytest.raises(TypeError):
            del held["members"]
        assert not hasattr(held, "update")
    with pytest.raises(dataclasses.FrozenInstanceError):
        rights.limits["members"].amount = 1_000
