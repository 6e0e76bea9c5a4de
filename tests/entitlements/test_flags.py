"""Feature flags: rule kinds, percentages, required features, kill switch."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from shared.access import actions, policy
from shared.access.actions import ACTIONS
from shared.access.decision import decide
from shared.access.refusal_codes import Reason
from shared.backoffice import explanations, tenant_access
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.ids import new_id
from shared.entitlements import assignments, flags, rights_cache
from shared.entitlements.catalog import FlagRollout
from shared.entitlements.features import FEATURES
from shared.entitlements.flag_evaluation import RULE_KINDS, compute_bucket, is_match
from shared.entitlements.flag_evaluation import FlagTarget as Asked
from shared.entitlements.flags import FLAGS, Flag, list_expired
from shared.entitlements.history import EntitlementHistory
from shared.entitlements.models import FlagRow, FlagVersion
from tests.conftest import Cast, Person
from tests.support import factories, forked
from tests.support.entitlements import decision_process, flag_fixtures

AT_ONCE = 1.0  # seconds
TOLERANCE = 0.03  # of the share, over two thousand


# ── every kind of rule ───────────────────────────────────────────────────────────────────────────────────────────


async def allow_tenant(cast: Cast, key: str) -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.set_flag_override(
            octx, cast.acme, key, True, state_reason(octx, "A first customer", tenant_id=cast.acme)
        )


def set_trait(name: str, value: str) -> Any:
    async def give(cast: Cast, key: str) -> None:
        async with cast.olga.octx() as octx:
            await tenant_access.set_trait(
                octx,
                cast.acme,
                name,
                value,
                state_reason(octx, "So that a rule is about it", tenant_id=cast.acme),
            )

    return give


async def assign_other_plan(cast: Cast, key: str) -> None:
    await cast.ann.gets("pro")


RULES: dict[str, tuple[dict[str, Any], Any]] = {  # kind: a rule, and what makes Acme one of those it is about
    "allowed": ({"kind": "allowed"}, allow_tenant),
    "beta": ({"kind": "beta"}, set_trait("beta", "yes")),
    "cohort": ({"kind": "cohort", "values": ["mid_market"]}, set_trait("cohort", "mid_market")),
    "industry": ({"kind": "industry", "values": ["finance", "health"]}, set_trait("industry", "health")),
    "internal": ({"kind": "internal"}, set_trait("internal", "yes")),
    "plan": ({"kind": "plan", "values": ["pro"]}, assign_other_plan),
    "region": ({"kind": "region", "values": ["eu"]}, set_trait("region", "eu")),
}


def test_every_rule_kind_about_some_tenants_has_a_case() -> None:
    assert RULES.keys() | {"everyone", "percentage"} == RULE_KINDS.keys()


@pytest.mark.parametrize("kind", RULES)
async def test_rule_matches_only_the_tenants_it_names(cast: Cast, kind: str) -> None:
    rule, make = RULES[kind]
    key = await flag_fixtures.create_flag(cast, rule)
    assert not await flag_fixtures.has_flag(cast.ann, key)
    await make(cast, key)
    assert await flag_fixtures.has_flag(cast.ann, key)
    assert not await flag_fixtures.has_flag(cast.gil, key)


async def test_flag_is_off_without_a_rule_and_on_for_everyone(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    assert [await flag_fixtures.has_flag(person, key) for person in (cast.ann, cast.gil)] == [False, False]
    await flag_fixtures.change_rules(cast, key, [{"kind": "everyone"}])
    assert [await flag_fixtures.has_flag(person, key) for person in (cast.ann, cast.gil)] == [True, True]


@pytest.mark.parametrize("kind", ["cohort", "industry", "region"])
async def test_rule_ignores_another_value_of_its_trait(cast: Cast, kind: str) -> None:
    rule, _ = RULES[kind]
    other = next(value for value in assignments.TRAITS[kind] if value not in rule["values"])
    await set_trait(kind, other)(cast, "")
    assert not await flag_fixtures.has_flag(cast.ann, await flag_fixtures.create_flag(cast, rule))


async def test_flag_override_off_wins_over_every_rule(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"})
    async with cast.olga.octx() as octx:
        await tenant_access.set_flag_override(
            octx, cast.acme, key, False, state_reason(octx, "Not with them", tenant_id=cast.acme)
        )
    assert not await flag_fixtures.has_flag(cast.ann, key)
    assert await flag_fixtures.has_flag(cast.gil, key)


async def test_flag_override_on_requires_a_rule_for_overrides(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "internal"})
    await allow_tenant(cast, key)
    assert not await flag_fixtures.has_flag(cast.ann, key)


async def test_rule_applies_within_its_time_only(cast: Cast) -> None:
    def build_rule(since: timedelta, until: timedelta) -> dict[str, Any]:
        return {"kind": "everyone", "starts_at": now() + since, "ends_at": now() + until}

    hour = timedelta(hours=1)
    key = await flag_fixtures.create_flag(cast, build_rule(hour, 2 * hour))
    assert not await flag_fixtures.has_flag(cast.ann, key)
    await flag_fixtures.change_rules(cast, key, [build_rule(-hour, hour)])
    assert await flag_fixtures.has_flag(cast.ann, key)
    await flag_fixtures.change_rules(cast, key, [build_rule(-2 * hour, -hour)])
    assert not await flag_fixtures.has_flag(cast.ann, key)


async def test_rule_starts_and_ends_by_the_clock_alone(cast: Cast) -> None:
    moment = timedelta(seconds=1)  # making the flag has to end before
    begins = now() + moment
    key = await flag_fixtures.create_flag(
        cast, {"kind": "everyone", "starts_at": begins, "ends_at": begins + moment}
    )
    assert not await flag_fixtures.has_flag(cast.ann, key)
    await asyncio.sleep((begins - now()).total_seconds() + 0.05)
    assert await flag_fixtures.has_flag(cast.ann, key)
    await asyncio.sleep((begins + moment - now()).total_seconds() + 0.05)
    assert not await flag_fixtures.has_flag(cast.ann, key)


# ── a share of all ───────────────────────────────────────────────────────────────────────────────────────────────

_CHANCE = Random(2_000)  # always the same: one share in four hundred is further away than three deviations
IDS = [f"ten_{_CHANCE.getrandbits(128):032x}" for _ in range(2_000)]


def list_enabled_ids(flag: str, percent: float) -> set[str]:
    rule = {"kind": "percentage", "percent": percent}
    return {tenant_id for tenant_id in IDS if is_match(rule, flag, Asked(tenant_id, "free", {}, {}))}


@pytest.mark.parametrize("flag", ["role_editor", "another_one"])
def test_raised_percentage_adds_tenants_and_lowering_it_restores_the_same(flag: str) -> None:
    first, more, again = list_enabled_ids(flag, 15), list_enabled_ids(flag, 30), list_enabled_ids(flag, 15)
    assert first == again
    assert first < more
    assert abs(len(first) / len(IDS) - 0.15) < TOLERANCE
    assert abs(len(more) / len(IDS) - 0.30) < TOLERANCE
    assert list_enabled_ids(flag, 0) == set()
    assert list_enabled_ids(flag, 100) == set(IDS)


def test_larger_percentage_contains_every_smaller_one() -> None:
    steps = [
        list_enabled_ids("role_editor", percent)
        for percent in (0, 0.5, 1, 2, 5, 15, 15.01, 30, 50, 99.9, 100)
    ]
    assert all(smaller <= larger for smaller, larger in pairwise(steps))


def test_percentage_picks_other_tenants_for_another_flag() -> None:
    assert len(list_enabled_ids("role_editor", 15) & list_enabled_ids("another_one", 15)) < 0.3 * len(
        list_enabled_ids("role_editor", 15)
    )


def test_tenant_bucket_is_stable() -> None:
    """Recorded once: another computation would turn features off for tenants that have them."""
    assert [compute_bucket("role_editor", tenant_id) for tenant_id in ("ten_acme", "ten_globex")] == [
        9_798,
        189,
    ]


async def test_percentage_rule_decides_by_the_bucket(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    place = compute_bucket(key, cast.acme) / 100
    await flag_fixtures.change_rules(cast, key, [{"kind": "percentage", "percent": round(place, 2)}])
    assert not await flag_fixtures.has_flag(cast.ann, key)
    await flag_fixtures.change_rules(cast, key, [{"kind": "percentage", "percent": round(place + 0.01, 2)}])
    assert await flag_fixtures.has_flag(cast.ann, key)


# ── what a flag requires ─────────────────────────────────────────────────────────────────────────────────────────


async def test_flag_does_not_grant_a_feature_outside_the_plan(cast: Cast) -> None:
    await cast.gil.gets("starter")
    async with cast.olga.octx() as octx:
        await tenant_access.set_flag_override(
            octx,
            cast.globex,
            "role_editor",
            True,
            state_reason(octx, "A first customer", tenant_id=cast.globex),
        )
    async with cast.gil.ctx() as ctx:
        assert decide(ctx, actions.ROLE_CREATE, used=0).reason == Reason.NOT_IN_PLAN
        assert "role_editor" not in ctx.rights.flags
        with pytest.raises(Refused, match="not_in_plan"):
            policy.require(ctx, actions.ROLE_CREATE, used=0)
    async with cast.olga.octx() as octx:
        asked = await explanations.explain_access(octx, cast.globex, cast.gil.user_id, "role:create")
    assert asked.trace.decision.reason == Reason.NOT_IN_PLAN


async def test_flag_may_require_another_feature_than_its_action(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`api_access` is not required for roles, but for this flag."""
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"}, required_feature="api_access")
    guarded = actions.Action(
        "role:create", actions.ROLE_CREATE.permission, "create roles", True, "custom_roles", "roles", key
    )
    monkeypatch.setitem(ACTIONS, "role:create", guarded)
    rights_cache.invalidate()
    try:
        async with cast.ann.ctx() as ctx:
            assert decide(ctx, guarded, used=0).reason == Reason.ALLOWED
        async with cast.olga.octx() as octx:
            soon = now() + timedelta(days=1)
            await tenant_access.override_feature(
                octx,
                cast.acme,
                "api_access",
                False,
                state_reason(octx, "Taken away", tenant_id=cast.acme),
                ends_at=soon,
            )
        async with cast.ann.ctx() as ctx:
            assert decide(ctx, guarded, used=0).reason == Reason.NOT_IN_PLAN
            assert key not in ctx.rights.flags
        async with cast.olga.octx() as octx:
            asked = await explanations.explain_access(octx, cast.acme, cast.ann.user_id, "role:create")
        assert (asked.trace.decision.reason, asked.trace.decided_by) == (Reason.NOT_IN_PLAN, "flag")
    finally:
        monkeypatch.undo()
        rights_cache.invalidate()


# ── the kill switch ──────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def another_process(person: Person) -> AsyncIterator[Any]:
    """Calls return the reason and the time of the answer, from the clock that all processes share."""
    with forked.run_piped(decision_process.answer_lines, person.cookie, person.slug) as child:

        async def ask() -> tuple[str, float]:
            reason, answered_at = (await child.ask("now")).split()
            return reason, float(answered_at)

        yield ask
        assert await asyncio.to_thread(child.wait) == 0


async def test_killed_flag_is_off_in_every_process_after_the_commit(cast: Cast) -> None:
    async with another_process(cast.ann) as first, another_process(cast.ann) as second:
        slowest = 0.0  # answer of this machine, however busy it is
        for ask in (first, second, first, second):
            began = time.monotonic()
            reason, knew = await ask()
            assert reason == Reason.ALLOWED  # and now they hold it in memory
            slowest = max(slowest, knew - began)
        async with flag_fixtures.flag_killed(cast, "role_editor"):
            committed = time.monotonic()
            for ask in (first, second):
                reason, knew = await ask()
                assert reason == Reason.FLAG_OFF  # the very first answer after it
                assert knew - committed < AT_ONCE + 3 * slowest
                print(f"off {knew - committed:.4f} s after the commit")
        for ask in (first, second):
            assert (await ask())[0] == Reason.ALLOWED


async def test_kill_that_is_rolled_back_has_no_effect(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"})

    class Undo(Exception):
        pass

    async def kill_and_roll_back() -> None:
        async with cast.olga.octx() as octx:
            await flag_fixtures.flag_admin.kill_flag(octx, key, state_reason(octx, "It breaks things"))
            raise Undo

    with pytest.raises(Undo):
        await kill_and_roll_back()
    assert await flag_fixtures.has_flag(cast.ann, key)


async def test_change_by_a_machine_with_a_fast_clock_takes_effect_at_once(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed flag and an ended override: no machine waits for its own clock."""
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"})
    async with cast.ann.ctx() as ctx:
        catalogue = await rights_cache.get_catalog(ctx.session)
    written = catalogue.flags[key].versions[-1].created_at
    history, early = EntitlementHistory(cast.acme), written - timedelta(seconds=2)
    assert catalogue.flags[key].version_at(early) is None
    assert history.settled_time(catalogue, early) >= written

    later = now() + timedelta(days=1)
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx, cast.acme, "sso", True, state_reason(octx, "Trying it", tenant_id=cast.acme), ends_at=later
        )
        row = (await tenant_access.get_tenant_access(octx, cast.acme)).overrides[0]
    async with cast.ann.ctx() as ctx:
        assert "sso" in ctx.rights.features
    with monkeypatch.context() as ahead:
        ahead.setattr(assignments, "now", lambda: now() + timedelta(seconds=30))
        async with cast.olga.octx() as octx:
            await tenant_access.end_assignment(
                octx, cast.acme, row.id, state_reason(octx, "Tried it", tenant_id=cast.acme)
            )
    async with cast.ann.ctx() as ctx:
        assert "sso" not in ctx.rights.features


def test_newest_flag_version_wins_over_a_later_timestamp() -> None:
    """Two machines wrote the versions, and the clock of the first was ahead."""
    at = datetime(2026, 11, 24, 9, tzinfo=UTC)
    row = FlagRow(key="k", title="K", sentence="", owner="X", cleanup_by=date(2027, 1, 1), created_by="X")
    versions = [
        FlagVersion(
            flag_id=row.id, number=number, created_at=at + timedelta(seconds=off), created_by="X", reason="X"
        )
        for number, off in ((1, -60), (2, 2), (3, -1))
    ]
    version = FlagRollout(row, versions).version_at(at + timedelta(seconds=2))
    assert version is versions[2]


# ── the registry ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_flags_in_the_code_are_within_their_cleanup_date() -> None:
    late = list_expired(datetime.now(UTC).date())
    assert late == [], "take them out of the code, or agree on a later date with their owners"


def test_flag_past_its_cleanup_date_is_listed_as_expired() -> None:
    day = date(2026, 3, 31)
    flag = Flag("old", "Old", "Something old.", "Access team", day)
    assert list_expired(day, [flag]) == []
    assert list_expired(day + timedelta(days=1), [flag]) == [flag]


async def test_flag_of_an_action_is_declared_in_code_and_database(cast: Cast) -> None:
    asked = {action.flag for action in ACTIONS.values() if action.flag}
    assert asked
    assert asked <= FLAGS.keys()
    async with cast.ann.ctx() as ctx:
        kept = (await rights_cache.get_catalog(ctx.session)).flags
    assert FLAGS.keys() <= kept.keys()
    for key, flag in FLAGS.items():
        assert flag.owner
        assert flag.sentence
        assert flag.required_feature in FEATURES or not flag.required_feature
        assert kept[key].flag.required_feature == flag.required_feature, key
        assert kept[key].flag.retired_at is None, key
    assert [flag.key for flag in flags._ALL] == sorted(FLAGS)


# ── what setting up seeds ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("plan", ["free", "starter", "pro", "business", "enterprise"])
async def test_new_tenant_gets_the_flags_of_its_plan(schema: str, plan: str) -> None:
    zoe = await factories.create_account("Zoe")
    person = Person(zoe, (await factories.create_tenant(zoe, "Harbour", plan)).slug)
    async with person.ctx() as ctx:
        offer = await factories.get_offer(ctx, plan)
        snapshot, _ = await assignments.get_snapshot(ctx)
        await assignments.seed_flags(ctx)  # once more, as setting up does
        again, _ = await assignments.get_snapshot(ctx)
    assert {flag for flag, row in snapshot.flag_overrides.items() if row.enabled} == offer.flags
    assert [row.id for row in again.flag_overrides.values()] == [
        row.id for row in snapshot.flag_overrides.values()
    ]
    async with person.ctx() as ctx:
        assert offer.flags <= ctx.rights.flags
    assert (plan in ("business", "enterprise")) == ("role_editor" in offer.flags)


async def test_flag_override_off_survives_a_plan_change(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.set_flag_override(
            octx, cast.acme, "role_editor", False, state_reason(octx, "Not with them", tenant_id=cast.acme)
        )
    await cast.ann.gets("enterprise")
    async with cast.ann.ctx() as ctx:
        assert "role_editor" in (await factories.get_offer(ctx, "enterprise")).flags
        assert decide(ctx, actions.ROLE_CREATE, used=0).reason == Reason.FLAG_OFF


async def test_flag_without_owner_or_date_is_refused_by_the_database(schema: str) -> None:
    import psycopg

    line = "insert into flag (id, key, title, sentence, owner, cleanup_by, created_by) values (%s, 'a', 'A', '', %s, %s, 'x')"
    for owner, day in (("", date(2030, 1, 1)), (None, date(2030, 1, 1)), ("Somebody", None)):
        with (
            psycopg.connect(db.login_url("operator")) as connection,
            pytest.raises(psycopg.errors.IntegrityError),
        ):
            connection.execute(line, [new_id("flg"), owner, day])
