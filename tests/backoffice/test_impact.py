"""The impact of a draft on all tenants: computed in bulk and compared with a count by plain loops."""

import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from shared.access.actions import ACTIONS
from shared.access.decision import decide
from shared.access.permissions import Permission
from shared.access.roles import ROLES
from shared.audit import audit_log
from shared.backoffice import catalog_drafts, impact, tenant_access
from shared.backoffice.catalog_drafts import PublishRequest
from shared.backoffice.impact_comparison import DecisionChange, EntitlementChange, ImpactReport
from shared.backoffice.reasons import state_reason
from shared.core import db
from shared.core.context import Limit, OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, Refused
from shared.core.ids import new_id
from shared.entitlements import plan_content, rights_cache
from shared.entitlements.entitlement_chains import Entitlements
from shared.entitlements.evaluate import AccessSubject, TenantLayers, trace_decision
from shared.entitlements.features import FEATURES
from shared.entitlements.history import EntitlementHistory
from shared.entitlements.limits import LIMITS
from shared.entitlements.models import (
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
    TenantTrait,
    TimedRow,
)
from shared.entitlements.plan_content import PlanContent
from shared.entitlements.snapshot import EntitlementSnapshot
from shared.tenancy import entry, invitations
from tests.conftest import Cast, Operating, Person, own_database
from tests.support import factories
from tests.support.database import admin_url
from tests.support.sizes import size

OWNER = ROLES["owner"].permissions
CSV = "exports.csv"


async def create_changed_draft(operator: Operating, plan_id: str, **changed: Any) -> tuple[str, int]:
    """Id and revision of a new draft of the plan, with these parts of its content changed."""
    async with operator.octx() as octx:
        draft = await catalog_drafts.open_draft(octx, plan_id)
        was = plan_content.from_version(draft)
        parts = {
            "trial_days": was.trial_days,
            "features": was.features,
            "limits": was.limits,
            "flags": was.flags,
        }
        saved = await catalog_drafts.save_draft(
            octx, draft.id, draft.revision, PlanContent(**{**parts, **changed})
        )
        return saved.id, saved.revision


async def preview_draft(
    operator: Operating, draft: tuple[str, int], *, moves: bool = True
) -> impact.DraftImpact:
    async with operator.octx() as octx:
        return await catalog_drafts.simulate_draft(octx, *draft, moves=moves)


async def publish_draft(
    octx: OperatorCtx, draft: tuple[str, int], reason: str, *, moves: bool, digest: str
) -> None:
    version_id, revision = draft
    request = PublishRequest(revision=revision, reason=reason, moves=moves, confirmed_digest=digest)
    await catalog_drafts.publish(octx, version_id, request)


async def discard_draft(operator: Operating, draft: tuple[str, int]) -> None:
    async with operator.octx() as octx:
        await catalog_drafts.discard_draft(octx, *draft)


async def load_features(plan: str) -> frozenset[str]:
    async with db.transaction() as session:
        offer = (await rights_cache.get_catalog(session)).find_offer(plan, now())
        assert offer is not None
        return offer.features


async def load_limits(plan: str) -> dict[str, Limit]:
    async with db.transaction() as session:
        offer = (await rights_cache.get_catalog(session)).find_offer(plan, now())
        assert offer is not None
        return dict(offer.limits)


def map_tenant_ids(lines: Iterable[EntitlementChange]) -> dict[tuple[str, str], set[str]]:
    return {(line.target, line.name): {each.id for each in line.tenants} for line in lines}


# ── few tenants, every kind of effect ────────────────────────────────────────────────────────────────────────────


async def test_impact_names_tenants_that_gain_lose_or_exceed_a_limit(cast: Cast) -> None:
    """Acme has three members and one open invitation, on a plan of its own."""
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "nina@acme.test", "member")
    plan = await assign_own_plan(
        cast, PlanContent(0, frozenset({"audit_log"}), {**build_limits(), "members": Limit(10)})
    )
    draft = await create_changed_draft(
        cast.olga,
        plan,
        features=frozenset({"sso"}),
        limits={**build_limits(), "members": Limit(3), "api_keys": Limit(None)},
    )
    report = (await preview_draft(cast.olga, draft)).report
    acme = {cast.acme}
    assert map_tenant_ids(report.gains) == {("feature", "sso"): acme, ("limit", "api_keys"): acme}
    assert map_tenant_ids(report.losses) == {("feature", "audit_log"): acme, ("limit", "members"): acme}
    (over,) = report.exceeded_limits
    assert (over.name, over.before, over.after, over.tenant_count) == ("members", Limit(10), Limit(3), 1)
    assert [(tenant.id, tenant.usage) for tenant in over.tenants] == [(cast.acme, 4)]
    assert (report.gaining_tenants, report.losing_tenants, report.exceeding_tenants) == (1, 1, 1)


async def test_impact_omits_tenants_already_over_the_limit(cast: Cast) -> None:
    plan = await assign_own_plan(cast, PlanContent(limits={**build_limits(), "members": Limit(2)}))
    report = (
        await preview_draft(
            cast.olga, await create_changed_draft(cast.olga, plan, limits=build_limits_with_members(1))
        )
    ).report
    assert report.losing_tenants == 1
    assert report.exceeded_limits == []


async def test_impact_is_empty_when_nobody_moves(cast: Cast) -> None:
    plan = await assign_own_plan(cast, PlanContent(0, frozenset({"audit_log"}), build_limits()))
    draft = await create_changed_draft(
        cast.olga, plan, features=frozenset(), limits=build_limits_with_members(1)
    )
    assert not (await preview_draft(cast.olga, draft)).report.is_empty
    report = (await preview_draft(cast.olga, draft, moves=False)).report
    assert report.is_empty
    assert report.compared_tenants > 1


async def test_impact_of_the_fallback_plan_shows_without_moving_anybody(cast: Cast) -> None:
    """Tenants fall back to the newest version, so this tenant changes although nobody is moved."""
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, cast.acme, "none", state_reason(octx, "Stopped paying", tenant_id=cast.acme)
        )
    draft = await create_changed_draft(cast.olga, "pln_free", features=frozenset({"audit_log", "api_access"}))
    report = (await preview_draft(cast.olga, draft, moves=False)).report
    assert cast.acme in map_tenant_ids(report.gains)["feature", "api_access"]
    await discard_draft(cast.olga, draft)


async def test_impact_multiplies_an_addon_by_its_quantity(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.add_addon(
            octx,
            cast.acme,
            "plv_extra_seats_1",
            3,
            state_reason(octx, "Bought, ticket 4471", tenant_id=cast.acme),
        )
    draft = await create_changed_draft(
        cast.olga, "pln_extra_seats", features=frozenset({"sso"}), limits={"members": Limit(20)}
    )
    report = (await preview_draft(cast.olga, draft)).report
    (seats,) = [line for line in report.gains if line.target == "limit" and line.before == Limit(130)]
    assert (seats.name, seats.after) == ("members", Limit(160))
    assert (
        cast.acme in map_tenant_ids([line for line in report.gains if line.name == "sso"])["feature", "sso"]
    )
    await discard_draft(cast.olga, draft)


async def test_impact_is_empty_for_a_feature_kept_by_an_override(cast: Cast) -> None:
    plan = await assign_own_plan(cast, PlanContent(0, frozenset({CSV}), build_limits()))
    draft = await create_changed_draft(cast.olga, plan, features=frozenset())
    assert (await preview_draft(cast.olga, draft)).report.losing_tenants == 1
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx,
            cast.acme,
            CSV,
            True,
            state_reason(octx, "Promised, ticket 4471", tenant_id=cast.acme),
            ends_at=now() + timedelta(days=9),
        )
    assert (await preview_draft(cast.olga, draft)).report.is_empty
    async with cast.olga.octx() as octx:  # by then the override has ended
        later = await catalog_drafts.simulate_draft(
            octx, *draft, moves=True, effective_at=now() + timedelta(days=10)
        )
    assert later.report.losing_tenants == 1


async def test_impact_counts_recent_decisions_that_would_change(cast: Cast) -> None:
    plan = await assign_own_plan(
        cast, PlanContent(0, frozenset({CSV}), {**build_limits(), "members": Limit(3)})
    )
    store_tallies(
        cast,
        [
            ("member:export", "allowed", 5, 1),
            ("member:export", "allowed", 7, 40),  # too long ago
            ("member:export", "missing_permission", 11, 1),  # no plan's doing
            ("audit:read", "not_in_plan", 13, 1),
            ("member:invite", "limit_reached", 17, 1),
            ("settings:write", "allowed", 19, 1),  # of no plan's business
            ("", "error", 23, 1),
        ],
    )
    draft = await create_changed_draft(
        cast.olga, plan, features=frozenset({"audit_log"}), limits={**build_limits(), "members": Limit(30)}
    )
    report = (await preview_draft(cast.olga, draft)).report
    assert {
        (change.action, change.reason, change.is_allowed): change.decision_count
        for change in report.decision_changes
    } == {
        ("member:export", "not_in_plan", False): 5,
        ("audit:read", "not_in_plan", True): 13,
        ("member:invite", "limit_reached", True): 17,
    }
    assert (report.newly_refused, report.newly_allowed) == (5, 30)


async def test_impact_preview_changes_nothing_and_is_recorded(cast: Cast) -> None:
    plan = await assign_own_plan(cast, PlanContent(0, frozenset({CSV}), build_limits()))
    draft = await create_changed_draft(cast.olga, plan, features=frozenset())
    first, second = await preview_draft(cast.olga, draft), await preview_draft(cast.olga, draft)
    assert first.digest == second.digest
    async with cast.ann.ctx() as ctx:
        assert CSV in ctx.rights.features
    async with cast.olga.octx() as octx:
        events = await audit_log.list_operator_events(octx, limit=20)
    assert [event.reason for event in events if event.action == "tenants.read_across"].count(
        impact.DRAFT_IMPACT_REASON
    ) <= 1


async def test_impact_is_computed_anew_after_a_draft_changes(cast: Cast) -> None:
    """One draft id has several contents; the impact of one must not be reused for another."""
    plan = await assign_own_plan(cast, PlanContent(0, frozenset({CSV}), build_limits()))
    version, revision = await create_changed_draft(cast.olga, plan, features=frozenset())
    assert (await preview_draft(cast.olga, (version, revision))).report.losing_tenants == 1
    async with cast.olga.octx() as octx:
        saved = await catalog_drafts.save_draft(
            octx, version, revision, PlanContent(0, frozenset({CSV, "sso"}), build_limits())
        )
    report = (await preview_draft(cast.olga, (version, saved.revision))).report
    assert (report.losing_tenants, map_tenant_ids(report.gains)) == (0, {("feature", "sso"): {cast.acme}})
    with pytest.raises(Conflict, match="has changed"):
        await preview_draft(cast.olga, (version, revision))


async def test_publication_records_the_previewed_numbers(cast: Cast) -> None:
    plan = await assign_own_plan(cast, PlanContent(0, frozenset({CSV}), build_limits()))
    draft = await create_changed_draft(cast.olga, plan, features=frozenset())
    seen = await preview_draft(cast.olga, draft)
    with pytest.raises(Conflict, match="you previewed the impact"):
        async with cast.olga.octx() as octx:
            await publish_draft(octx, draft, "As agreed", moves=False, digest=seen.digest)
    async with cast.olga.octx() as octx:
        await publish_draft(octx, draft, "As agreed", moves=True, digest=seen.digest)
    async with cast.olga.octx() as octx:
        (event,) = await audit_log.list_operator_events(octx, limit=1)
    assert (event.action, event.reason) == ("draft.published", "As agreed")
    assert event.details["effect"] == seen.report.numbers
    assert event.details["effect"]["tenants_losing"] == 1
    async with cast.ann.ctx() as ctx:
        assert CSV not in ctx.rights.features


async def test_impact_is_readable_by_support_and_publication_is_not_allowed(cast: Cast) -> None:
    plan = await assign_own_plan(cast, PlanContent(0, frozenset(), build_limits()))
    draft = await create_changed_draft(cast.olga, plan, trial_days=3)
    seen = await preview_draft(cast.sam, draft)  # support reads
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.sam.octx() as octx:
            await publish_draft(octx, draft, "Moves, ticket 4471", moves=True, digest=seen.digest)
    with pytest.raises(Invalid, match="past"):
        async with cast.olga.octx() as octx:
            await catalog_drafts.simulate_draft(
                octx, *draft, moves=True, effective_at=now() - timedelta(days=1)
            )


async def test_tenants_are_counted_by_plan_version(cast: Cast) -> None:
    plan = await assign_own_plan(cast, PlanContent(0, frozenset(), build_limits()))
    async with cast.sam.octx() as octx:
        before = (await impact.count_tenants_by_version(octx)).tenants_by_version
    draft = await create_changed_draft(cast.olga, plan, trial_days=3)
    seen = await preview_draft(cast.olga, draft)
    async with cast.olga.octx() as octx:
        await publish_draft(octx, draft, "Moves, ticket 4471", moves=True, digest=seen.digest)
        await tenant_access.add_addon(
            octx,
            cast.globex,
            "plv_support_1",
            2,
            state_reason(octx, "Bought, ticket 4471", tenant_id=cast.globex),
        )
    async with cast.sam.octx() as octx:
        holders = await impact.count_tenants_by_version(octx)
    after = holders.tenants_by_version
    assert holders.tenant_names[cast.acme] == "Acme"
    assert after[draft[0]] == 1  # moved
    assert after["plv_support_1"] == before.get("plv_support_1", 0) + 1
    assert sum(before.values()) == sum(after.values()) - 1


async def assign_own_plan(cast: Cast, content: PlanContent) -> str:
    """Publish a plan for Acme alone and assign it. Returns the id of the plan."""
    async with cast.olga.octx() as octx:
        key = f"k{new_id('x')[2:]}"[:30]
        draft = await catalog_drafts.create_plan(octx, "plan", key, "Startup", "", for_tenant=cast.acme)
        saved = await catalog_drafts.save_draft(octx, draft.id, draft.revision, content)
        epoch = (await rights_cache.get_catalog(octx.session)).epoch
        digest = plan_content.compute_digest(saved, epoch, True, None)
        await publish_draft(octx, (saved.id, saved.revision), "As agreed", moves=True, digest=digest)
        await tenant_access.assign_plan(
            octx, cast.acme, saved.id, state_reason(octx, "As agreed", tenant_id=cast.acme)
        )
        return saved.plan_id


def build_limits() -> dict[str, Limit]:
    return {name: Limit(50) for name in LIMITS}


def build_limits_with_members(members: int) -> dict[str, Limit]:
    return {**build_limits(), "members": Limit(members)}


def store_tallies(cast: Cast, lines: list[tuple[str, str, int, int]]) -> None:
    """Counts of Acme as (action, reason, count, days ago)."""
    with psycopg.connect(admin_url(get_database_name()), autocommit=True) as connection:
        connection.execute("delete from decision_count where tenant_id = %s", [cast.acme])
        for action, reason, count, days in lines:
            at = now() - timedelta(days=days)
            connection.execute(
                "insert into decision_count values (%s, %s, %s, '', %s, %s, 'own', %s, %s, 'req_x')",
                [cast.acme, new_id("dec"), at, action, reason, count, at],
            )


def get_database_name() -> str:
    return db.login_url("app").rpartition("/")[2].partition("?")[0]


# ── very many tenants ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class ExpectedImpact:
    """The same report by plain loops over tenants, actions and features, through `explain`."""

    gains: Counter[tuple[str, str]] = field(default_factory=Counter)
    losses: Counter[tuple[str, str]] = field(default_factory=Counter)
    over: Counter[str] = field(default_factory=Counter)
    flips: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    losing: set[str] = field(default_factory=set)
    gaining: set[str] = field(default_factory=set)


@pytest.fixture
async def olga_in_separate_database(schema: str) -> AsyncIterator[Operating]:
    """Many tenants and another version of Pro would disturb the other tests."""
    async with own_database(schema, "radius"):
        yield Operating(await factories.create_operator("Olga"))


async def test_impact_over_many_tenants_equals_a_count_by_plain_loops(
    olga_in_separate_database: Operating,
) -> None:
    olga = olga_in_separate_database
    many = size("tenancy.blast_radius_tenants")
    seed_tenants(many * 51 // 50)  # some of them are deleted
    people = {plan: await create_person_on_plan(plan) for plan in ("pro", "business", "starter")}
    over_seats = await create_person_on_plan("pro")
    for n in range(5):
        async with over_seats.ctx() as ctx:
            await invitations.invite(ctx, f"guest{n}@pro.test", "member")
    people["over"] = over_seats
    async with olga.octx() as octx:
        kept = people["kept"] = await create_person_on_plan("pro")
        async with kept.ctx() as ctx:
            kept_id = ctx.tenant_id
        await tenant_access.override_feature(
            octx,
            kept_id,
            CSV,
            True,
            state_reason(octx, "Promised, ticket 4471", tenant_id=kept_id),
            ends_at=now() + timedelta(days=30),
        )
    was = await load_limits("pro")
    draft = await create_changed_draft(
        olga,
        "pln_pro",
        features=await load_features("pro") - {CSV} | {"advanced_reports"},
        limits={**was, "members": Limit(4), "roles": Limit(3), "api_calls": Limit(250_000, hard=False)},
    )
    rights_cache.invalidate()
    began = time.perf_counter()
    seen = await preview_draft(olga, draft)
    seconds = time.perf_counter() - began
    report = seen.report
    print(f"\nblast radius of {report.compared_tenants:,} tenants: {seconds:.2f} s")
    print(report.numbers)
    assert report.compared_tenants >= many
    assert seconds < 15  # on a busy machine; alone it takes about two

    truth = await count_by_loops(olga, draft, seen.at)
    assert sum_by_entitlement(report.gains) == truth.gains
    assert sum_by_entitlement(report.losses) == truth.losses
    assert (
        Counter({line.name: 0 for line in report.exceeded_limits}) + sum_by_name(report.exceeded_limits)
        == truth.over
    )
    assert sum_decision_changes(report.decision_changes) == truth.flips
    assert (report.losing_tenants, report.gaining_tenants) == (len(truth.losing), len(truth.gaining))
    assert report.losing_tenants > many / 10
    assert report.exceeding_tenants > 0
    assert report.newly_refused > 0
    assert report.newly_allowed > 0
    assert all(len(line.tenants) <= 50 for line in (*report.gains, *report.losses, *report.exceeded_limits))

    # Published: real decisions of real tenants are what the report said.
    before = {name: await list_decisions(person) for name, person in people.items()}
    async with olga.octx() as octx:
        await publish_draft(octx, draft, "No longer sold", moves=True, digest=seen.digest)
    after = {name: await list_decisions(person) for name, person in people.items()}
    assert before["pro"]["member:export"] == ("allowed", 25)
    assert after["pro"]["member:export"] == ("not_in_plan", 4)
    assert after["kept"]["member:export"] == ("allowed", 4)
    for plan in ("business", "starter"):
        assert after[plan] == before[plan]
    assert before["over"]["member:invite"] == ("allowed", 25)
    assert after["over"]["member:invite"] == ("limit_reached", 4)
    assert await list_wrongly_predicted(olga, report) == []


def sum_by_entitlement(lines: Iterable[EntitlementChange]) -> Counter[tuple[str, str]]:
    totals: Counter[tuple[str, str]] = Counter()
    for line in lines:
        totals[line.target, line.name] += line.tenant_count
    return totals


def sum_by_name(lines: Iterable[EntitlementChange]) -> Counter[str]:
    totals: Counter[str] = Counter()
    for line in lines:
        totals[line.name] += line.tenant_count
    return totals


def sum_decision_changes(lines: Iterable[DecisionChange]) -> Counter[tuple[str, str, bool]]:
    return Counter(
        {(change.action, change.reason, change.is_allowed): change.decision_count for change in lines}
    )


async def create_person_on_plan(plan: str) -> Person:
    account = await factories.create_account("Pia")
    tenant = await factories.create_tenant(account, f"Real {plan}", plan)
    return Person(account, tenant.slug)


async def list_decisions(person: Person) -> dict[str, tuple[str, int | None]]:
    """Reason and limit of members by action, as the person's own context decides."""
    answers: dict[str, tuple[str, int | None]] = {}
    async with person.ctx() as ctx:
        seats = await count_members(ctx.tenant_id)
        for name in ("member:export", "audit:export", "member:invite", "report:read"):
            action = ACTIONS[name]
            decided = decide(ctx, action, used=seats if action.limit else None)
            answers[name] = (decided.reason.value, ctx.rights.limits["members"].amount)
    return answers


async def count_members(tenant_id: str) -> int:
    with psycopg.connect(admin_url(get_database_name()), autocommit=True) as connection:
        (row,) = connection.execute(
            "select (select count(*) from membership where tenant_id = %(t)s and state = 'active')"
            " + (select count(*) from invitation where tenant_id = %(t)s and status = 'pending' and expires_at > now())",
            {"t": tenant_id},
        ).fetchall()
    return int(row[0])


async def list_wrongly_predicted(operator: Operating, report: ImpactReport) -> list[str]:
    """Tenants whose context differs from the report: those it names, and a hundred others."""
    with psycopg.connect(admin_url(get_database_name()), autocommit=True) as connection:
        rows = connection.execute(
            "select t.id, p.plan_version_id, o.value from tenant t join tenant_plan p on p.tenant_id = t.id"
            " left join tenant_override o on o.tenant_id = t.id and o.target = 'feature'"
            " where t.slug like 'seeded-%' and not exists (select 1 from tenant_billing b where b.tenant_id = t.id)"
            " and p.trial_ends_at is null order by md5(t.id) limit 100"
        ).fetchall()
    sells = ("plv_business_1", "plv_enterprise_1")
    foreseen = {
        tenant_id: version in sells if value is None else bool(value) for tenant_id, version, value in rows
    }
    (lost,) = [line for line in report.losses if line.name == CSV]
    foreseen |= {tenant.id: False for tenant in lost.tenants}
    wrong = []
    async with operator.octx() as octx:
        for tenant_id, has in foreseen.items():
            async with entry.enter_as_operator(octx, tenant_id, "Sample of a test") as ctx:
                if (CSV in ctx.rights.features) != has:
                    wrong.append(tenant_id)
    return wrong


def seed_tenants(count: int) -> None:
    """Tenants in bulk, by a superuser: plans, trials, debts, overrides, add-ons, people, decisions, all kinds mixed."""
    mark = secrets.token_hex(4)
    with psycopg.connect(admin_url(get_database_name())) as connection:
        connection.execute(
            "set session_replication_role = replica"
        )  # the history of their changes is nobody's matter
        connection.execute(
            "insert into tenant (id, slug, name, state, state_reason, created_at)"
            " select 'ten_' || %(m)s || lpad(n::text, 8, '0'), 'seeded-' || %(m)s || n, 'Seeded ' || n,"
            "  case when n %% 97 = 0 then 'suspended' when n %% 101 = 0 then 'deleted' else 'active' end, '',"
            "  now() - interval '90 days' from generate_series(1, %(n)s) n",
            {"m": mark, "n": count},
        )
        connection.execute(
            "create temp table made as select id, row_number() over (order by id) n from tenant"
            " where slug like 'seeded-' || %s || '%%'",
            [mark],
        )
        for statement in BULK:
            connection.execute(statement)


BULK = (
    "insert into tenant_plan (tenant_id, id, plan_version_id, trial_ends_at, starts_at, by_name, reason)"
    " select id, 'tpl_' || id, (array['plv_free_1', 'plv_starter_1', 'plv_pro_1', 'plv_pro_1', 'plv_pro_1',"
    "  'plv_business_1', 'plv_enterprise_1'])[1 + n % 7],"
    "  case when n % 11 = 0 then now() + (n % 3 - 1.5) * interval '4 days' end,"
    "  now() - interval '80 days', 'Seed', 'Seed' from made where n % 29 <> 0",
    "insert into tenant_billing (tenant_id, id, status, starts_at, by_name, reason)"
    " select id, 'tbl_' || id, (array['active', 'grace', 'read_only', 'none'])[1 + n % 4],"
    "  now() - interval '9 days', 'Seed', 'Seed' from made where n % 13 = 0",
    "insert into tenant_override (tenant_id, id, target, name, value, starts_at, ends_at, by_name, reason)"
    " select id, 'ovr_' || id, 'feature', 'exports.csv', to_jsonb(n % 2 = 0), now() - interval '9 days',"
    "  now() + interval '9 days', 'Seed', 'Seed' from made where n % 17 = 0",
    "insert into tenant_override (tenant_id, id, target, name, value, starts_at, ends_at, by_name, reason)"
    " select id, 'ovm_' || id, 'limit', 'members', jsonb_build_object('amount', n % 9, 'hard', true),"
    "  now() - interval '9 days', now() + interval '9 days', 'Seed', 'Seed' from made where n % 19 = 0",
    "insert into tenant_addon (tenant_id, id, plan_version_id, quantity, starts_at, by_name, reason)"
    " select id, 'tad_' || id, 'plv_extra_seats_1', 1 + n % 3, now() - interval '9 days', 'Seed', 'Seed'"
    " from made where n % 23 = 0",
    "insert into tenant_flag (tenant_id, id, flag, enabled, starts_at, by_name, reason)"
    " select id, 'tfl_' || id, 'role_editor', n % 2 = 0, now() - interval '9 days', 'Seed', 'Seed'"
    " from made where n % 7 in (5, 6)",
    "insert into role (tenant_id, id, key, name, builtin, permissions, created_at)"
    " select id, 'rol_' || k || id, 'rol_' || k || id, 'Own ' || k, false, '{}', now()"
    " from made, generate_series(1, 4) k where n % 7 in (2, 3, 4, 5) and n % 5 = 0 and k <= 1 + n % 4",
    'insert into "user" (id, email, name, created_at)'
    " select 'usr_' || k || id, k || id || '@seeded.test', 'Seeded', now() from made, generate_series(1, 6) k"
    " where n % 3 = 0",
    "insert into membership (tenant_id, id, user_id, role, state, created_at, ended_at)"
    " select id, 'mem_' || k || id, 'usr_' || k || id, 'member', case when k = 6 then 'removed' else 'active' end, now(),"
    "  case when k = 6 then now() end"
    " from made, generate_series(1, 6) k where n % 3 = 0 and k <= 1 + n % 7",
    "insert into invitation (tenant_id, id, email, role, status, nonce, invited_by, invited_by_name, expires_at, created_at)"
    " select id, 'inv_' || k || id, k || id || '@guest.test', 'member',"
    "  case when k = 3 then 'revoked' else 'pending' end, 1, 'usr_x', 'Seed',"
    "  now() + case when k = 2 then interval '-1 day' else interval '5 days' end, now()"
    " from made, generate_series(1, 3) k where n % 3 = 0 and n % 2 = 0",
    "insert into decision_count (tenant_id, id, hour, actor_id, action, reason, plan, count, at, request_id)"
    " select id, 'dec_' || k || id, date_trunc('hour', now() - k * interval '7 days'), '',"
    "  (array['member:export', 'audit:export', 'member:invite', 'report:read', 'member:export'])[k],"
    "  (array['allowed', 'allowed', 'not_in_plan', 'limit_reached', 'missing_permission', 'billing_grace'])[1 + (n / 4) % 6],"
    "  'pro', 1 + n % 5, now(), 'req_seed' from made, generate_series(1, 5) k where n % 4 = 0",
)


async def count_by_loops(operator: Operating, draft: tuple[str, int], at: datetime) -> ExpectedImpact:
    """Replaces the content of the plan in the facts of each tenant and leaves everything else."""
    truth = ExpectedImpact()
    async with operator.octx() as octx:
        _, row = await catalog_drafts.get_draft(octx, draft[0])
        content = plan_content.from_version(row)
        replaced = row.plan_id
    with psycopg.connect(admin_url(get_database_name()), autocommit=True) as connection:
        tenants = connection.execute("select id, state from tenant where state <> 'deleted'").fetchall()
        seats = dict(connection.execute(SEATS).fetchall())
        roles = dict(
            connection.execute(
                "select tenant_id, count(*) from role where not builtin and deleted_at is null group by 1"
            ).fetchall()
        )
        tallies = connection.execute(
            "select tenant_id, action, reason, count from decision_count where hour >= now() - interval '30 days'"
        ).fetchall()
    tallies_by_tenant: dict[str, list[tuple[str, str, int]]] = {}
    for tenant_id, action, reason, count in tallies:
        tallies_by_tenant.setdefault(tenant_id, []).append((action, reason, count))
    async with db.transaction() as session:
        catalogue = await rights_cache.get_catalog(session)
    provider, history_by_tenant = rights_cache.get_provider(catalogue), load_histories(tenants)
    for tenant_id, state in tenants:
        facts = history_by_tenant[tenant_id].snapshot_at(catalogue, at)
        standing = AccessSubject("Somebody", "Owner", frozenset(Permission), state=state)
        new = replace_content(facts, replaced, content)
        if new is None:
            continue
        old_entitlements, new_entitlements = (Entitlements(snapshot, catalogue) for snapshot in (facts, new))
        for name in FEATURES:
            had, has = (
                entitlements.feature(name).included for entitlements in (old_entitlements, new_entitlements)
            )
            if has and not had:
                truth.gains["feature", name] += 1
                truth.gaining.add(tenant_id)
            if had and not has:
                truth.losses["feature", name] += 1
                truth.losing.add(tenant_id)
        used = {"members": seats.get(tenant_id, 0), "roles": roles.get(tenant_id, 0)}
        for name in LIMITS:
            had_, has_ = (
                entitlements.limit(name).limit for entitlements in (old_entitlements, new_entitlements)
            )
            room = [10**12 if limit.amount is None else limit.amount for limit in (had_, has_)]
            if room[1] > room[0]:
                truth.gains["limit", name] += 1
                truth.gaining.add(tenant_id)
            if room[1] < room[0]:
                truth.losses["limit", name] += 1
                truth.losing.add(tenant_id)
            if name in used and room[1] < used[name] <= room[0]:
                truth.over[name] += 1
        for action_name, reason, count in tallies_by_tenant.get(tenant_id, []):
            action = ACTIONS[action_name]
            old_decision, new_decision = (
                trace_decision(
                    action, standing, TenantLayers(each, provider), used.get(action.limit)
                ).decision
                for each in (old_entitlements, new_entitlements)
            )
            allowed = reason in ("allowed", "billing_grace", "limit_warned")
            if (
                reason == "missing_permission"
                or old_decision.allowed == new_decision.allowed
                or old_decision.allowed != allowed
            ):
                continue
            why = old_decision.reason if new_decision.allowed else new_decision.reason
            truth.flips[action_name, why.value, new_decision.allowed] += count
    return truth


SEATS = """
select tenant_id, count(distinct email) from (
    select m.tenant_id, u.email from membership m join "user" u on u.id = m.user_id where m.state = 'active'
    union all
    select tenant_id, email from invitation where status = 'pending' and expires_at > now()) seats
group by 1
"""


def load_histories(tenants: list[tuple[str, str]]) -> dict[str, EntitlementHistory]:
    """Every stored row of each tenant."""
    kinds: dict[str, type[TimedRow]] = {
        "assignments": TenantPlan,
        "addons": TenantAddon,
        "overrides": TenantOverride,
        "billing": TenantBilling,
        "flags": TenantFlag,
        "traits": TenantTrait,
    }
    rows_by_tenant: dict[str, dict[str, list[TimedRow]]] = {
        tenant_id: {name: [] for name in kinds} for tenant_id, _ in tenants
    }
    with psycopg.connect(admin_url(get_database_name()), autocommit=True, row_factory=dict_row) as connection:
        for name, kind in kinds.items():
            statement = sql.SQL("select * from {}").format(sql.Identifier(str(kind.__tablename__)))
            for row in connection.execute(statement).fetchall():
                if row["tenant_id"] in rows_by_tenant:
                    rows_by_tenant[row["tenant_id"]][name].append(kind(**row))
    return {tenant_id: EntitlementHistory(tenant_id, **rows) for tenant_id, rows in rows_by_tenant.items()}  # type: ignore[arg-type]


def replace_content(
    facts: EntitlementSnapshot, plan_id: str, content: PlanContent
) -> EntitlementSnapshot | None:
    """None for a tenant without the plan. The other facts stay."""
    if facts.offer.plan_id != plan_id:
        return None
    offer = type(facts.offer)(
        facts.offer.id,
        plan_id,
        facts.offer.key,
        facts.offer.name,
        facts.offer.kind,
        99,
        None,
        content.trial_days,
        content.features,
        content.limits,
        content.flags,
        True,
        facts.offer.effective_at,
        facts.offer.published_at,
    )
    return EntitlementSnapshot(
        facts.tenant_id,
        facts.at,
        facts.assignment,
        offer,
        facts.addons,
        facts.overrides,
        facts.billing,
        facts.flag_overrides,
        facts.traits,
    )
