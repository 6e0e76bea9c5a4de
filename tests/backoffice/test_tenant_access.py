"""Changes of a tenant's access by operators: effect, audit event with reason, no effect on other tenants."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.audit import audit_log
from shared.audit.audit_filter import AuditFilter
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.entitlements import assignments, explain
from shared.entitlements.models import Plan, TenantOverride
from shared.entitlements.snapshot import EntitlementSnapshot
from shared.tenancy import entry
from shared.tenancy.models import Tenant, TenantState
from shared.tenancy.tenant_repository import lock_tenant
from tests.conftest import Cast

REASON = "Ticket 4471, as agreed"
SOON = timedelta(days=30)
Verb = Callable[[OperatorCtx, str, str], Awaitable[Any]]
VERBS: dict[str, Verb] = {  # called with context, tenant, reason
    "plan": lambda octx, tenant, reason: tenant_access.assign_plan(
        octx, tenant, "plv_pro_1", state_reason(octx, reason, tenant_id=tenant)
    ),
    "addon": lambda octx, tenant, reason: tenant_access.add_addon(
        octx, tenant, "plv_extra_seats_1", 2, state_reason(octx, reason, tenant_id=tenant)
    ),
    "feature": lambda octx, tenant, reason: tenant_access.override_feature(
        octx, tenant, "sso", True, state_reason(octx, reason, tenant_id=tenant), ends_at=now() + SOON
    ),
    "limit": lambda octx, tenant, reason: tenant_access.override_limit(
        octx, tenant, "members", 7, state_reason(octx, reason, tenant_id=tenant), ends_at=now() + SOON
    ),
    "billing": lambda octx, tenant, reason: tenant_access.set_billing_status(
        octx, tenant, "read_only", state_reason(octx, reason, tenant_id=tenant)
    ),
    "flag": lambda octx, tenant, reason: tenant_access.set_flag_override(
        octx, tenant, "role_editor", False, state_reason(octx, reason, tenant_id=tenant)
    ),
    "trait": lambda octx, tenant, reason: tenant_access.set_trait(
        octx, tenant, "region", "eu", state_reason(octx, reason, tenant_id=tenant)
    ),
}
LINES: dict[str, tuple[str, dict[str, Any]]] = {  # action of the trail, what it says of after
    "plan": ("plan.assigned", {"plan": "Pro version 1"}),
    "addon": ("addon.added", {"addon": "10 more seats version 1", "quantity": 2}),
    "feature": ("override.set", {"sso": True}),
    "limit": ("override.set", {"members": 7}),
    "billing": ("billing.status_changed", {"status": "read_only"}),
    "flag": ("flag.set", {"enabled": False}),
    "trait": ("trait.set", {"region": "eu"}),
}
COUNTS: dict[str, Callable[[EntitlementSnapshot], bool]] = {
    "plan": lambda facts: facts.offer.key == "pro",
    "addon": lambda facts: [row.quantity for row, _ in facts.addons] == [2],
    "feature": lambda facts: facts.overrides["feature", "sso"].value is True,
    "limit": lambda facts: facts.overrides["limit", "members"].value == {"amount": 7, "hard": True},
    "billing": lambda facts: facts.billing_status == "read_only",
    "flag": lambda facts: facts.flag_overrides["role_editor"].enabled is False,
    "trait": lambda facts: facts.traits["region"].value == "eu",
}


async def change_access(cast: Cast, verb: str, tenant: str = "", reason: str = REASON) -> None:
    async with cast.olga.octx() as octx:
        await VERBS[verb](octx, tenant or cast.acme, reason)


async def load_facts(cast: Cast, tenant: str = "", at: datetime | None = None) -> EntitlementSnapshot:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, tenant or cast.acme, "Looking") as ctx:
        return (await assignments.get_snapshot(ctx, at))[0]


async def list_events(cast: Cast, action: str, tenant: str = "") -> list[Any]:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, tenant or cast.acme, "Looking") as ctx:
        return list((await audit_log.list_events(ctx, AuditFilter(action=action))).rows)


# ── every verb ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verb", VERBS)
async def test_access_change_takes_effect_and_is_audited_with_its_reason(cast: Cast, verb: str) -> None:
    await change_access(cast, verb)
    assert COUNTS[verb](await load_facts(cast))
    action, after = LINES[verb]
    event = (await list_events(cast, action))[0]
    assert (event.reason, event.actor_name, event.actor_type) == (REASON, "Olga", "operator")
    assert after.items() <= event.after.items()


@pytest.mark.parametrize("verb", VERBS)
async def test_access_change_leaves_other_tenants_alone(cast: Cast, verb: str) -> None:
    before, lines_before = (
        await load_facts(cast, cast.globex),
        await list_events(cast, LINES[verb][0], cast.globex),
    )
    await change_access(cast, verb)
    after = await load_facts(cast, cast.globex)
    assert (after.offer, after.addons, after.billing_status) == (before.offer, [], before.billing_status)
    assert (after.overrides, after.traits) == ({}, {})
    assert {key: override.enabled for key, override in after.flag_overrides.items()} == {"role_editor": True}
    assert len(await list_events(cast, LINES[verb][0], cast.globex)) == len(lines_before)


@pytest.mark.parametrize("verb", VERBS)
async def test_access_change_is_refused_for_support(cast: Cast, verb: str) -> None:
    with pytest.raises(Refused, match="missing_permission"):
        async with cast.sam.octx() as octx:
            await VERBS[verb](octx, cast.acme, REASON)
    facts = await load_facts(cast)
    assert (facts.offer.key, facts.addons, facts.overrides) == ("business", [], {})
    assert (facts.billing_status, facts.traits) == ("active", {})
    assert [line for line in await list_events(cast, LINES[verb][0]) if line.reason == REASON] == []


@pytest.mark.parametrize("verb", VERBS)
async def test_access_change_for_an_unknown_tenant_is_not_found(cast: Cast, verb: str) -> None:
    for stranger in ("ten_nobody", "", "Acme"):
        with pytest.raises(NotFound):
            async with cast.olga.octx() as octx:
                await VERBS[verb](octx, stranger, REASON)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301])
@pytest.mark.parametrize("verb", VERBS)
async def test_access_change_without_a_reason_is_refused(cast: Cast, verb: str, reason: str) -> None:
    with pytest.raises(Invalid) as caught:
        await change_access(cast, verb, reason=reason)
    assert "reason" in caught.value.fields


@pytest.mark.parametrize("verb", VERBS)
async def test_access_change_for_a_deleted_tenant_is_refused(cast: Cast, verb: str) -> None:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "It is gone") as ctx:
        tenant: Tenant = await lock_tenant(ctx)
        tenant.state = TenantState.DELETED
        ctx.session.add(tenant)
    with pytest.raises(Conflict, match="has been deleted"):
        await change_access(cast, verb)


# ── overrides ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("target", ["feature", "limit"])
async def test_override_ending_in_the_past_is_refused(cast: Cast, target: str) -> None:
    past = now() - timedelta(seconds=1)
    calls: dict[str, Callable[[OperatorCtx], Awaitable[None]]] = {
        "feature": lambda octx: tenant_access.override_feature(
            octx, cast.acme, "sso", True, state_reason(octx, REASON, tenant_id=cast.acme), ends_at=past
        ),
        "limit": lambda octx: tenant_access.override_limit(
            octx, cast.acme, "members", 5, state_reason(octx, REASON, tenant_id=cast.acme), ends_at=past
        ),
    }
    with pytest.raises(Invalid) as caught:
        async with cast.olga.octx() as octx:
            await calls[target](octx)
    assert "ends_at" in caught.value.fields


@pytest.mark.parametrize("amount", [-1, 1_000_000_001])
async def test_limit_override_with_an_impossible_amount_is_refused(cast: Cast, amount: int) -> None:
    with pytest.raises(Invalid) as caught:
        async with cast.olga.octx() as octx:
            await tenant_access.override_limit(
                octx,
                cast.acme,
                "members",
                amount,
                state_reason(octx, REASON, tenant_id=cast.acme),
                ends_at=now() + SOON,
            )
    assert "amount" in caught.value.fields


@pytest.mark.parametrize("name", ["flying", "", "members\0", "exports"])
async def test_override_of_an_unknown_name_is_refused(cast: Cast, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        async with cast.olga.octx() as octx:
            await tenant_access.override_feature(
                octx,
                cast.acme,
                name,
                True,
                state_reason(octx, REASON, tenant_id=cast.acme),
                ends_at=now() + SOON,
            )
    assert "name" in caught.value.fields
    with pytest.raises(Invalid) as caught:
        async with cast.olga.octx() as octx:
            await tenant_access.override_limit(
                octx,
                cast.acme,
                name,
                1,
                state_reason(octx, REASON, tenant_id=cast.acme),
                ends_at=now() + SOON,
            )
    assert "name" in caught.value.fields


async def test_override_ends_at_its_time(cast: Cast) -> None:
    until = now() + timedelta(hours=1)
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx, cast.acme, "members", None, state_reason(octx, REASON, tenant_id=cast.acme), ends_at=until
        )
    held = await load_facts(cast, at=until - timedelta(microseconds=1))
    assert held.overrides["limit", "members"].value["amount"] is None
    assert (await load_facts(cast, at=until)).overrides == {}


async def test_override_can_be_ended_once(cast: Cast) -> None:
    await change_access(cast, "limit")
    row = (await load_facts(cast)).overrides["limit", "members"]
    async with cast.olga.octx() as octx:
        await tenant_access.end_assignment(
            octx, cast.acme, row.id, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    assert (await load_facts(cast)).overrides == {}
    with pytest.raises(Conflict):
        async with cast.olga.octx() as octx:
            await tenant_access.end_assignment(
                octx, cast.acme, row.id, state_reason(octx, REASON, tenant_id=cast.acme)
            )
    ended = await list_events(cast, "override.ended")
    assert [(line.object_id, line.reason, line.before["members"]) for line in ended] == [(row.id, REASON, 7)]


async def test_assignment_is_not_ended_for_another_tenant_or_by_support(cast: Cast) -> None:
    await change_access(cast, "addon")
    ((row, _),) = (await load_facts(cast)).addons
    for tenant, id in ((cast.globex, row.id), (cast.acme, "ovr_nobody"), (cast.acme, "")):
        with pytest.raises(NotFound):
            async with cast.olga.octx() as octx:
                await tenant_access.end_assignment(
                    octx, tenant, id, state_reason(octx, REASON, tenant_id=tenant)
                )
    with pytest.raises(Refused):
        async with cast.sam.octx() as octx:
            await tenant_access.end_assignment(
                octx, cast.acme, row.id, state_reason(octx, REASON, tenant_id=cast.acme)
            )
    assert (await load_facts(cast)).addons
    async with cast.olga.octx() as octx:
        await tenant_access.end_assignment(
            octx, cast.acme, row.id, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    assert (await load_facts(cast)).addons == []
    assert (await list_events(cast, "addon.ended"))[0].reason == REASON


async def test_expired_override_cannot_be_ended(cast: Cast) -> None:
    past = now() - timedelta(hours=1)
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, "An old one") as ctx:
        row = TenantOverride(
            tenant_id=cast.acme,
            target="limit",
            name="members",
            value={"amount": 3, "hard": True},
            starts_at=past - SOON,
            ends_at=past,
            by_name="Olga",
            reason=REASON,
        )
        ctx.session.add(row)
        id = row.id
    with pytest.raises(Conflict, match="already ended"):
        async with cast.olga.octx() as octx:
            await tenant_access.end_assignment(
                octx, cast.acme, id, state_reason(octx, REASON, tenant_id=cast.acme)
            )


# ── plans and add-ons ────────────────────────────────────────────────────────────────────────────────────────────


async def test_addon_cannot_be_added_twice(cast: Cast) -> None:
    """A double click adds it once."""
    async with cast.olga.octx() as octx:
        await tenant_access.add_addon(
            octx, cast.acme, "plv_extra_seats_1", 2, state_reason(octx, REASON, tenant_id=cast.acme)
        )
    with pytest.raises(Conflict, match="already has 10 more seats"):
        async with cast.olga.octx() as octx:
            await tenant_access.add_addon(
                octx, cast.acme, "plv_extra_seats_1", 2, state_reason(octx, REASON, tenant_id=cast.acme)
            )
    async with cast.ann.ctx() as ctx:
        assert ctx.rights.limits["members"].amount == 120


async def test_plan_assignment_is_refused_for_unknown_unsuitable_or_current_plans(cast: Cast) -> None:
    for version, kind in (("plv_nobody", NotFound), ("plv_extra_seats_1", Invalid)):
        with pytest.raises(kind):
            async with cast.olga.octx() as octx:
                await tenant_access.assign_plan(
                    octx, cast.acme, version, state_reason(octx, REASON, tenant_id=cast.acme)
                )
    with pytest.raises(Conflict, match="is already on"):
        async with cast.olga.octx() as octx:
            await tenant_access.assign_plan(
                octx, cast.acme, "plv_business_1", state_reason(octx, REASON, tenant_id=cast.acme)
            )
    with pytest.raises(Invalid) as caught:
        async with cast.olga.octx() as octx:
            await tenant_access.assign_plan(
                octx, cast.acme, "plv_pro_1", state_reason(octx, REASON, tenant_id=cast.acme), trial_days=366
            )
    assert "trial_days" in caught.value.fields


async def test_plan_assignment_is_refused_for_a_retired_plan(cast: Cast) -> None:
    async def retire_and_assign(octx: OperatorCtx) -> None:
        plan = await octx.session.get(Plan, "pln_starter")
        assert plan is not None
        plan.retired_at = now()
        octx.session.add(plan)
        await octx.session.flush()
        await tenant_access.assign_plan(
            octx, cast.acme, "plv_starter_1", state_reason(octx, REASON, tenant_id=cast.acme)
        )

    with pytest.raises(Invalid, match="no longer offered"):
        async with cast.olga.octx() as octx:  # rolled back: the catalogue is everybody's
            await retire_and_assign(octx)


async def test_addon_with_an_invalid_quantity_or_end_is_refused(cast: Cast) -> None:
    past = now() - timedelta(days=1)
    for version, quantity, until, field in (
        ("plv_extra_seats_1", 0, None, "quantity"),
        ("plv_extra_seats_1", 10_001, None, "quantity"),
        ("plv_extra_seats_1", 1, past, "ends_at"),
    ):
        with pytest.raises(Invalid) as caught:
            async with cast.olga.octx() as octx:
                await tenant_access.add_addon(
                    octx,
                    cast.acme,
                    version,
                    quantity,
                    state_reason(octx, REASON, tenant_id=cast.acme),
                    ends_at=until,
                )
        assert field in caught.value.fields
    with pytest.raises(Invalid, match="add-on isn’t available"):
        async with cast.olga.octx() as octx:
            await tenant_access.add_addon(
                octx, cast.acme, "plv_pro_1", 1, state_reason(octx, REASON, tenant_id=cast.acme)
            )


async def test_unknown_statuses_traits_and_flags_are_refused(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        for call in (
            tenant_access.set_billing_status(
                octx, cast.acme, "paid", state_reason(octx, REASON, tenant_id=cast.acme)
            ),
            tenant_access.set_trait(
                octx, cast.acme, "mood", "good", state_reason(octx, REASON, tenant_id=cast.acme)
            ),
            tenant_access.set_trait(
                octx, cast.acme, "region", "mars", state_reason(octx, REASON, tenant_id=cast.acme)
            ),
        ):
            with pytest.raises(Invalid):
                await call
            octx.session.expunge_all()
        with pytest.raises(NotFound):
            await tenant_access.set_flag_override(
                octx, cast.acme, "nothing", True, state_reason(octx, REASON, tenant_id=cast.acme)
            )


# ── what is shown ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tenant_access_names_sources_and_usage(cast: Cast) -> None:
    await change_access(cast, "limit")
    await change_access(cast, "addon")
    async with cast.sam.octx() as octx:
        access = await tenant_access.get_tenant_access(octx, cast.acme)
    assert access.limits["members"].limit.amount == 7
    assert access.limits["members"].source_id.startswith("ovr_")
    assert "10 more seats version 1" in explain.describe_limit_chain(access.limits["members"])
    assert access.features["sso"].included is False
    assert access.usage == {
        "api_calls": 0,
        "api_keys": 0,
        "members": 3,
        "roles": 0,
        "usage_events": 0,
    }
    assert access.owner_id == cast.ann.user_id
    flags = {flag.key: (flag.is_on, flag.override) for flag in access.flags}
    assert flags["role_editor"] == (True, True)
    assert {offer.kind for offer in access.offers} == {"plan", "addon"}
    assert (await list_events(cast, "operator.looked"))[0].tenant_id == cast.acme


async def test_concurrent_changes_of_a_trait_are_serialized(cast: Cast) -> None:
    async def set_region(value: str) -> None:
        async with cast.olga.octx() as octx:
            await tenant_access.set_trait(
                octx, cast.acme, "region", value, state_reason(octx, REASON, tenant_id=cast.acme)
            )

    await set_region(
        "eu"
    )  # records the visit first: recording it during the test would already make the others wait
    await asyncio.gather(*(set_region(value) for value in ("us", "ap", "eu", "us")))
    assert len(await list_events(cast, "trait.set")) == 5
    assert set((await load_facts(cast)).traits) == {"region"}
