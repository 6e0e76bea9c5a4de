"""Tenants exposed to a flag: equal to the decisions of each tenant, and simulated for changed rules."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from shared.access import decision_counts
from shared.backoffice import flag_admin, flag_exposure, tenant_access, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.db import now
from shared.core.errors import Invalid, NotFound, Refused
from tests.conftest import Cast, Operating, Person, own_database
from tests.support import factories
from tests.support.entitlements import flag_fixtures

EVERYONE = [{"kind": "everyone"}]
REGION = [{"kind": "region", "values": ["eu"]}]


@pytest.fixture(scope="module", autouse=True)
async def separate_database(schema: str) -> AsyncIterator[None]:
    async with own_database(schema, "exposure"):
        yield


@pytest.fixture(scope="module")
async def operators(separate_database: None) -> tuple[Operating, Operating]:
    return Operating(await factories.create_operator("Olga")), Operating(
        await factories.create_operator("Sam", "support")
    )


async def get_reach(cast: Cast, key: str, **page: Any) -> flag_exposure.FlagReach:
    async with cast.olga.octx() as octx:
        return await flag_exposure.get_flag_reach(octx, key, **page)


async def list_exposed_tenants(cast: Cast, key: str, pages: int = 100) -> list[flag_exposure.ExposedTenant]:
    rows, after = [], ""
    while True:
        page = await get_reach(cast, key, after=after, limit=pages)
        rows += page.page.rows
        if not (after := page.page.next_cursor):
            return rows


async def list_enabled_ids(cast: Cast, key: str) -> set[str]:
    return {row.tenant_id for row in await list_exposed_tenants(cast, key)}


async def simulate_rules(cast: Cast, key: str, raw_rules: Any) -> flag_exposure.RulesImpact:
    async with cast.olga.octx() as octx:
        return await flag_exposure.simulate_rules(octx, key, raw_rules)


async def set_region_europe(cast: Cast, *tenants: str) -> None:
    async with cast.olga.octx() as octx:
        for tenant in tenants:
            await tenant_access.set_trait(
                octx, tenant, "region", "eu", state_reason(octx, "Where they are", tenant_id=tenant)
            )


@contextmanager
def recorded_statements() -> Iterator[list[str]]:
    executed: list[str] = []

    def record_statement(*args: Any) -> None:
        executed.append(args[2])

    engine = db.engine("operator").sync_engine
    sa.event.listen(engine, "before_cursor_execute", record_statement)
    try:
        yield executed
    finally:
        sa.event.remove(engine, "before_cursor_execute", record_statement)


async def test_exposed_tenants_are_listed_by_page_with_an_explanation(cast: Cast) -> None:
    await set_region_europe(cast, cast.acme)
    key = await flag_fixtures.create_flag(cast, *REGION)
    exposure = await get_reach(cast, key)
    (row,) = [row for row in exposure.page.rows if row.tenant_id == cast.acme]
    assert (row.name, row.plan, row.explanation) == ("Acme", "Business", "On for the region eu.")
    assert cast.globex not in {row.tenant_id for row in exposure.page.rows}
    assert exposure.exposed.tenants + exposure.others.tenants == exposure.total_tenants
    await flag_fixtures.change_rules(cast, key, EVERYONE)
    whole = await list_exposed_tenants(cast, key, pages=3)
    assert len(whole) == exposure.total_tenants
    assert [row.name.lower() for row in whole] == sorted(row.name.lower() for row in whole)
    assert len({row.tenant_id for row in whole}) == len(whole)


@pytest.mark.parametrize("required", ["", "custom_roles"])
async def test_exposure_equals_the_decisions_of_every_tenant(cast: Cast, required: str) -> None:
    """Plans, traits, overrides and shares: the bulk query and the decisions of tenants never differ."""
    await cast.gil.gets("starter")
    people = [cast.ann, cast.gil]
    for name, plan in (("Free", "free"), ("Pro", "pro"), ("Big", "enterprise")):
        account = await factories.create_account(name)
        people.append(Person(account, (await factories.create_tenant(account, name, plan)).slug))
    await set_region_europe(cast, cast.globex)
    key = await flag_fixtures.create_flag(cast, required_feature=required)
    async with cast.olga.octx() as octx:
        await tenant_access.set_flag_override(
            octx, cast.acme, key, False, state_reason(octx, "Not with them", tenant_id=cast.acme)
        )
        soon = now() + timedelta(days=1)
        await tenant_access.override_feature(
            octx,
            cast.globex,
            "custom_roles",
            True,
            state_reason(octx, "As a gift", tenant_id=cast.globex),
            ends_at=soon,
        )
    for raw_rules in (
        EVERYONE,
        REGION,
        [{"kind": "plan", "values": ["pro", "enterprise"]}],
        [{"kind": "percentage", "percent": 50.0}, {"kind": "allowed"}],
    ):
        expected = await simulate_rules(cast, key, raw_rules)
        await flag_fixtures.change_rules(cast, key, raw_rules)
        enabled_tenants = set()
        for person in people:
            async with person.ctx() as ctx:
                if key in ctx.rights.flags:
                    enabled_tenants.add(ctx.tenant_id)
                mine = ctx.tenant_id
            assert (mine in await list_enabled_ids(cast, key)) == (mine in enabled_tenants), (
                raw_rules,
                person.slug,
            )
        exposure = await get_reach(cast, key)
        assert exposure.exposed.tenants == expected.after
        assert (exposure.unentitled_tenants > 0) <= bool(required)


async def test_killed_flag_exposes_no_tenant(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    before = await get_reach(cast, key)
    assert before.exposed.tenants == before.total_tenants > 0
    async with flag_fixtures.flag_killed(cast, key):
        exposure = await get_reach(cast, key)
        assert (exposure.exposed.tenants, list(exposure.page.rows), exposure.page.next_cursor) == (0, [], "")
        assert exposure.others.tenants == exposure.total_tenants
        async with cast.olga.octx() as octx:
            assert (await flag_exposure.count_exposed_tenants(octx)).enabled_tenants[key] == 0
    assert (await get_reach(cast, key)).exposed.tenants == before.total_tenants


async def test_exposure_counts_of_all_flags_equal_those_of_each(cast: Cast) -> None:
    await set_region_europe(cast, cast.acme)
    keys = [await flag_fixtures.create_flag(cast, *rules) for rules in ((), EVERYONE, REGION)]
    async with cast.olga.octx() as octx:
        totals = await flag_exposure.count_exposed_tenants(octx)
    for key in keys:
        exposure = await get_reach(cast, key)
        assert (totals.enabled_tenants[key], totals.total_tenants) == (
            exposure.exposed.tenants,
            exposure.total_tenants,
        )


async def test_deleted_tenant_is_not_counted(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    before = await get_reach(cast, key)
    async with db.transaction("owner", tenant_id=cast.globex) as session:
        connection = await session.connection()
        await connection.execute(
            sa.text("update tenant set state = 'deleted' where id = :id"), {"id": cast.globex}
        )
    assert (await get_reach(cast, key)).total_tenants == before.total_tenants - 1
    assert cast.globex not in await list_enabled_ids(cast, key)


# ── how they fare ────────────────────────────────────────────────────────────────────────────────────────────────


async def record_decisions(person: Person, times: int, *, errors: int = 0) -> None:
    """Store `times` decisions of a person, the first `errors` of them with an error beside them."""
    for number in range(times):
        try:
            async with person.ctx() as ctx:
                decision_counts.count_allowed(ctx, flag_exposure.actions.ROLE_CREATE, "allowed")
                if number < errors:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
    await decision_counts.flush()


async def test_errors_are_counted_apart_for_exposed_tenants_and_others(cast: Cast) -> None:
    await set_region_europe(cast, cast.acme)
    key = await flag_fixtures.create_flag(cast, *REGION)
    await decision_counts.flush()
    before = await get_reach(cast, key)
    await record_decisions(cast.ann, 4, errors=1)
    await record_decisions(cast.gil, 5, errors=2)
    after = await get_reach(cast, key)
    assert after.exposed.decisions - before.exposed.decisions == 4
    assert after.exposed.errors - before.exposed.errors == 1
    assert after.others.decisions - before.others.decisions == 5
    assert after.others.errors - before.others.errors == 2
    (row,) = [row for row in await list_exposed_tenants(cast, key) if row.tenant_id == cast.acme]
    assert row.recent_decisions.errors == 1
    assert flag_exposure.ErrorRate(1, 4, 1).errors_per_thousand == 250.0
    assert flag_exposure.ErrorRate(1, 0, 0).errors_per_thousand is None
    async with flag_fixtures.flag_killed(cast, key):
        assert (await get_reach(cast, key)).others.errors == after.exposed.errors + after.others.errors


async def test_decisions_older_than_a_week_are_not_counted(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    await record_decisions(cast.ann, 3, errors=3)
    (row,) = [row for row in await list_exposed_tenants(cast, key) if row.tenant_id == cast.acme]
    assert row.recent_decisions.errors == 3
    async with db.transaction(tenant_id=cast.acme) as session:
        connection = await session.connection()
        earlier = sa.text("update decision_count set hour = hour - interval '8 days' where tenant_id = :id")
        await connection.execute(earlier, {"id": cast.acme})
    (row,) = [row for row in await list_exposed_tenants(cast, key) if row.tenant_id == cast.acme]
    assert row.recent_decisions == (0, 0, 0)


async def test_refusals_by_the_flag_are_counted(cast: Cast) -> None:
    before = (await get_reach(cast, "role_editor")).refusals
    other = await flag_fixtures.create_flag(cast)
    async with cast.olga.octx() as octx:
        await tenant_access.set_flag_override(
            octx, cast.acme, "role_editor", False, state_reason(octx, "Not with them", tenant_id=cast.acme)
        )
    for _ in range(2):
        with pytest.raises(Refused, match="flag_off"):
            async with cast.ann.ctx() as ctx:
                flag_exposure.policy.require(ctx, flag_exposure.actions.ROLE_CREATE, used=0)
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.max.ctx() as ctx:
            flag_exposure.policy.require(ctx, flag_exposure.actions.ROLE_CREATE, used=0)
    await decision_counts.flush()
    assert (await get_reach(cast, "role_editor")).refusals - before == 2
    assert (await get_reach(cast, other)).refusals == 0


# ── before it is saved ───────────────────────────────────────────────────────────────────────────────────────────


async def test_simulation_shows_the_effect_of_rules_before_they_are_saved(cast: Cast) -> None:
    zoe = await factories.create_account("Zoe")
    third = await factories.create_tenant(zoe, "Harbour", "pro")
    await set_region_europe(cast, cast.acme, cast.globex)
    async with cast.olga.octx() as octx:
        await tenant_access.set_trait(
            octx, third.id, "beta", "yes", state_reason(octx, "They asked", tenant_id=third.id)
        )
    key = await flag_fixtures.create_flag(cast, *REGION)
    before = await get_reach(cast, key)
    effect = await simulate_rules(cast, key, [{"kind": "beta"}])
    assert (effect.total_tenants, effect.before) == (before.total_tenants, before.exposed.tenants)
    assert {"Acme", "Globex"} <= set(effect.losses)
    assert "Harbour" in effect.gains
    assert effect.after == effect.before + len(effect.gains) - len(effect.losses)
    # Looking changed nothing.
    async with cast.olga.octx() as octx:
        assert (await flag_admin.get_flag(octx, key)).flag.version.number == 2
    assert (await get_reach(cast, key)).exposed.tenants == before.exposed.tenants
    nothing = await simulate_rules(cast, key, REGION)
    assert (list(nothing.gains), list(nothing.losses), nothing.after) == ([], [], nothing.before)
    nobody = await simulate_rules(cast, key, [])
    assert (nobody.after, len(nobody.losses)) == (0, before.exposed.tenants)


async def test_simulation_of_a_revival_starts_from_no_tenant(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    async with flag_fixtures.flag_killed(cast, key):
        effect = await simulate_rules(cast, key, EVERYONE)
    assert (effect.before, effect.after) == (0, effect.total_tenants)


async def test_simulation_of_invalid_rules_is_refused(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    with pytest.raises(Invalid, match="Rule 1"):
        await simulate_rules(cast, key, [{"kind": "plan", "values": ["gold"]}])


# ── who may, at what cost, and what remains of it ────────────────────────────────────────────────────────────────


async def test_exposure_is_refused_for_an_unknown_flag_and_without_permission(cast: Cast) -> None:
    import dataclasses

    for ask in (
        lambda octx: flag_exposure.get_flag_reach(octx, "nothing"),
        lambda octx: flag_exposure.simulate_rules(octx, "nothing", EVERYONE),
    ):
        with pytest.raises(NotFound):
            async with cast.olga.octx() as octx:
                await ask(octx)
    key = await flag_fixtures.create_flag(cast)
    for refused in (
        flag_exposure.count_exposed_tenants,
        lambda octx: flag_exposure.get_flag_reach(octx, key),
        lambda octx: flag_exposure.simulate_rules(octx, key, EVERYONE),
    ):
        with pytest.raises(Refused, match="view flags"):
            async with cast.olga.octx() as octx:
                await refused(dataclasses.replace(octx, permissions=frozenset()))


async def test_exposure_and_simulation_are_recorded_with_their_reasons(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    await get_reach(cast, key)
    await simulate_rules(cast, key, EVERYONE)
    async with cast.olga.octx() as octx:
        lines = (await tenant_directory.list_operator_events(octx, limit=100)).rows
    reasons = {line.reason for line in lines if line.action == "tenants.read_across"}
    assert {flag_exposure.FLAG_REASON, flag_exposure.SIMULATION_REASON} <= reasons


async def test_exposure_takes_the_same_number_of_statements_for_more_tenants(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    await get_reach(cast, key)
    with recorded_statements() as few:
        await get_reach(cast, key)
    for number in range(5):
        account = await factories.create_account("Zoe")
        await factories.create_tenant(account, f"Harbour {number}")
    with recorded_statements() as many:
        await get_reach(cast, key)
    assert len(many) == len(few)
