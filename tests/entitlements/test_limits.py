"""A module declares a limit with its usage in its manifest; every place that shows or enforces use then counts it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.actions import ACTIONS, Action
from shared.access.permissions import Permission
from shared.access.refusal_codes import Reason
from shared.backoffice import catalog_drafts, explanations, tenant_access
from shared.backoffice.catalog_drafts import PublishRequest
from shared.backoffice.reasons import state_reason
from shared.core import registry
from shared.core.context import Ctx, Limit
from shared.core.db import now
from shared.core.errors import Refused
from shared.core.ids import new_id
from shared.core.registry import Module
from shared.entitlements import limits, plan_content, rights_cache
from shared.entitlements.evaluate import Layer
from shared.entitlements.limits import LIMITS, LimitKind, LimitUsage
from shared.entitlements.plan_content import PlanContent
from shared.entitlements.rights_changes import RightsChange
from shared.tenancy import access_overview, plan_notice
from tests.conftest import Cast

LAUNCH_BOAT = Action("boat:launch", Permission.ROLE_WRITE, "launch boats", writes=True, limit="boats")
REASON = "Ticket 4471, as agreed"


@dataclass
class Harbour:
    """Launched boats of every tenant, in memory: name and time."""

    boats: dict[str, list[tuple[str, datetime]]] = field(default_factory=dict)

    def launch(self, tenant_id: str, *names: str) -> None:
        self.boats.setdefault(tenant_id, []).extend((name, now()) for name in names)

    async def count(self, ctx: Ctx) -> int:
        return len(self.boats.get(ctx.tenant_id, []))

    async def count_at(self, ctx: Ctx, at: datetime) -> int:
        return sum(launched_at <= at for _, launched_at in self.boats.get(ctx.tenant_id, []))

    async def count_of_all(self, _session: AsyncSession, at: datetime) -> dict[str, int]:
        return {
            tenant_id: sum(launched_at <= at for _, launched_at in boats)
            for tenant_id, boats in self.boats.items()
        }

    async def list_causes(self, ctx: Ctx, since: datetime, until: datetime) -> Sequence[RightsChange]:
        return [
            RightsChange(source_id=f"boa_{name}", text=f"The {name} was launched.", at=launched_at)
            for name, launched_at in self.boats.get(ctx.tenant_id, [])
            if since < launched_at <= until
        ]


@pytest.fixture
def harbour(monkeypatch: pytest.MonkeyPatch) -> Iterator[Harbour]:
    """A module with the limit "boats", loaded for one test."""
    harbour = Harbour()
    usage = LimitUsage(
        now=harbour.count,
        at=harbour.count_at,
        all_tenants=harbour.count_of_all,
        causes=harbour.list_causes,
    )
    kind = LimitKind("boats", "Boats", "boat", "boats", step="Sell a boat", usage=usage)
    kinds_before, actions_before = dict(LIMITS), dict(ACTIONS)
    monkeypatch.setattr(registry, "_modules", {module.name: module for module in registry.list_modules()})
    registry.fill([Module(name="harbour", actions=[LAUNCH_BOAT], limits=[kind])])
    rights_cache.invalidate()
    yield harbour
    LIMITS.clear()
    LIMITS.update(kinds_before)
    ACTIONS.clear()
    ACTIONS.update(actions_before)
    rights_cache.invalidate()


async def limit_boats(cast: Cast, amount: int, *, hard: bool = True) -> None:
    soon = now() + timedelta(days=3)
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx,
            cast.acme,
            "boats",
            amount,
            state_reason(octx, REASON, tenant_id=cast.acme),
            ends_at=soon,
            hard=hard,
        )


def test_limits_are_those_of_all_manifests_in_alphabetical_order(harbour: Harbour) -> None:
    assert list(LIMITS) == sorted(LIMITS)
    assert [name for name, _ in limits.list_usages()] == [
        "api_calls",
        "api_keys",
        "boats",
        "members",
        "roles",
        "usage_events",
    ]
    assert limits.find_usage("boats") is not None
    assert limits.find_usage("retention_days") is None
    assert limits.find_usage("") is None


async def test_action_is_refused_when_nothing_is_left_of_its_limit(cast: Cast, harbour: Harbour) -> None:
    await limit_boats(cast, 2)
    harbour.launch(cast.globex, "Gull", "Heron")
    harbour.launch(cast.acme, "Albatross")
    async with cast.ann.ctx() as ctx:
        await limits.require_below_limit(ctx, LAUNCH_BOAT)
    harbour.launch(cast.acme, "Bittern")
    async with cast.ann.ctx() as ctx:
        with pytest.raises(Refused) as refusal:
            await limits.require_below_limit(ctx, LAUNCH_BOAT)
    assert (refusal.value.reason, refusal.value.detail) == (
        Reason.LIMIT_REACHED,
        "All 2 boats are in use.",
    )


async def test_action_below_its_limit_is_refused_without_its_permission(cast: Cast, harbour: Harbour) -> None:
    await limit_boats(cast, 2)
    async with cast.max.ctx() as ctx:
        with pytest.raises(Refused) as refusal:
            await limits.require_below_limit(ctx, LAUNCH_BOAT)
    assert refusal.value.reason == Reason.MISSING_PERMISSION


async def test_members_see_use_in_overview_and_above_a_soft_limit(cast: Cast, harbour: Harbour) -> None:
    await limit_boats(cast, 2, hard=False)
    harbour.launch(cast.acme, "Albatross", "Bittern", "Curlew")
    async with cast.ann.ctx() as ctx:
        overview = await access_overview.get_access_overview(ctx)
        notice = await plan_notice.get_notice(ctx)
    assert overview.usage["boats"] == 3
    assert notice is not None
    assert notice.text == "3 boats are in use; Business includes 2."


async def test_operators_see_use_of_a_tenant_now(cast: Cast, harbour: Harbour) -> None:
    harbour.launch(cast.acme, "Albatross")
    async with cast.olga.octx() as octx:
        access = await tenant_access.get_tenant_access(octx, cast.acme)
    assert access.usage["boats"] == 1


async def test_explanation_counts_use_at_its_time_and_names_causes(cast: Cast, harbour: Harbour) -> None:
    await limit_boats(cast, 1)
    then = now()
    harbour.launch(cast.acme, "Albatross")
    async with cast.olga.octx() as octx:
        comparison = await explanations.compare_access(
            octx, cast.acme, cast.ann.user_id, LAUNCH_BOAT.name, then
        )
    reasons = [each.trace.decision.reason for each in (comparison.before, comparison.after)]
    assert reasons == [Reason.ALLOWED, Reason.LIMIT_REACHED]
    (change,) = comparison.changes
    assert change.after.layer is Layer.LIMIT
    assert [cause.text for cause in change.causes] == ["The Albatross was launched."]


async def test_draft_impact_names_tenants_above_the_new_limit(cast: Cast, harbour: Harbour) -> None:
    harbour.launch(cast.acme, "Albatross", "Bittern")
    everything = {name: Limit(50) for name in LIMITS}
    async with cast.olga.octx() as octx:
        key = f"k{new_id('x')[2:]}"[:30]
        plan = await catalog_drafts.create_plan(octx, "plan", key, "Startup", "", for_tenant=cast.acme)
        content = PlanContent(limits=everything)
        version = await catalog_drafts.save_draft(octx, plan.id, plan.revision, content)
        epoch = (await rights_cache.get_catalog(octx.session)).epoch
        digest = plan_content.compute_digest(version, epoch, True, None)
        request = PublishRequest(
            revision=version.revision, reason=REASON, moves=True, confirmed_digest=digest
        )
        await catalog_drafts.publish(octx, version.id, request)
        await tenant_access.assign_plan(
            octx, cast.acme, version.id, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    async with cast.olga.octx() as octx:
        draft = await catalog_drafts.open_draft(octx, version.plan_id)
        content = PlanContent(limits={**everything, "boats": Limit(1)})
        draft = await catalog_drafts.save_draft(octx, draft.id, draft.revision, content)
        impact = await catalog_drafts.simulate_draft(octx, draft.id, draft.revision, moves=True)
    (exceeded,) = impact.report.exceeded_limits
    assert (exceeded.name, exceeded.after) == ("boats", Limit(1))
    assert [(tenant.id, tenant.usage) for tenant in exceeded.tenants] == [(cast.acme, 2)]
