"""Explanations of past times equal the decisions of those times; comparisons name the changed row."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import pytest
from sqlmodel import select

from shared.access import actions
from shared.access.actions import ACTIONS, Action
from shared.access.decision import Decision, decide
from shared.backoffice import explanations, tenant_access, tenant_directory
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.entitlements.evaluate import Layer
from shared.entitlements.models import (
    MembershipChange,
    TenantBilling,
    TenantOverride,
    TenantPlan,
    TenantStateChange,
)
from shared.tenancy import decision_history, entry, invitations, member_repository, members
from tests.conftest import Cast, Person
from tests.support import factories
from tests.support.sizes import size

LOOK = "Looking back"
FEATURES = ("advanced_reports", "audit_log", "custom_roles", "exports.csv")


@dataclass(frozen=True)
class ObservedTenant:
    """A tenant and the people whose decisions are logged: the owner and up to two others."""

    tenant_id: str
    owner: Person
    others: Sequence[Person]

    @property
    def people(self) -> Sequence[Person]:
        return (self.owner, *self.others)


@dataclass(frozen=True)
class Logged:
    observed: ObservedTenant
    since: datetime  # and nothing changed until
    until: datetime
    decisions: dict[tuple[str, str], Decision]  # by person and action


async def log_decisions(observed: ObservedTenant) -> Logged:
    """The decisions of every action with its real usage."""
    since, decisions = now(), {}
    for person in observed.people:
        async with person.ctx() as ctx:
            seats = len(await member_repository.list_seat_emails(ctx))
            used = {"members": seats, "roles": 0}
            for action in ACTIONS.values():
                decisions[person.user_id, action.name] = decide(ctx, action, used=used.get(action.limit))
    return Logged(observed, since, now(), decisions)


async def make_random_change(chance: Random, cast: Cast, observed: ObservedTenant) -> None:
    """One change by the service that people use."""
    soon = now() + timedelta(days=chance.randrange(1, 30))
    kind = chance.randrange(9)
    if kind == 0 and observed.others:
        async with observed.owner.ctx() as ctx:
            other = chance.choice(observed.others)
            membership = await member_repository.get_membership_of_user(ctx, other.user_id)
            assert membership is not None
            await members.set_role(
                ctx, membership.id, chance.choice(("admin", "billing", "member", "viewer")), version=None
            )
        return
    if kind == 1:
        async with observed.owner.ctx() as ctx:
            if decide(
                ctx, actions.MEMBER_INVITE, used=len(await member_repository.list_seat_emails(ctx))
            ).allowed:
                await invitations.invite(ctx, f"guest{chance.randrange(10**9)}@acme.test", "viewer")
        return
    async with cast.olga.octx() as octx:
        tenant = observed.tenant_id
        if kind == 2:
            amount = chance.choice((0, 3, 4, 8, None))
            hard = chance.random() < 0.6
            await tenant_access.override_limit(
                octx,
                tenant,
                "members",
                amount,
                state_reason(octx, LOOK, tenant_id=tenant),
                ends_at=soon,
                hard=hard,
            )
        elif kind == 3:
            feature, on = chance.choice(FEATURES), chance.random() < 0.5
            await tenant_access.override_feature(
                octx, tenant, feature, on, state_reason(octx, LOOK, tenant_id=tenant), ends_at=soon
            )
        elif kind == 4:
            await tenant_access.set_billing_status(
                octx,
                tenant,
                chance.choice(("active", "active", "grace", "read_only", "none")),
                state_reason(octx, LOOK, tenant_id=tenant),
            )
        elif kind == 5:
            effective = await tenant_access.get_tenant_access(octx, tenant)
            plans = [
                offer
                for offer in effective.offers
                if offer.kind == "plan" and offer != effective.snapshot.offer
            ]
            await tenant_access.assign_plan(
                octx,
                tenant,
                chance.choice(plans).id,
                state_reason(octx, LOOK, tenant_id=tenant),
                trial_days=chance.choice((0, 0, 14)),
            )
        elif kind == 6:
            await tenant_access.set_flag_override(
                octx,
                tenant,
                "role_editor",
                chance.choice((True, False, None)),
                state_reason(octx, LOOK, tenant_id=tenant),
            )
        elif kind == 7:
            await tenant_directory.suspend_tenant(octx, tenant, state_reason(octx, LOOK, tenant_id=tenant))
        else:
            effective = await tenant_access.get_tenant_access(octx, tenant)
            addon = next(offer for offer in effective.offers if offer.key == "extra_seats")
            if effective.addons:
                await tenant_access.end_assignment(
                    octx, tenant, effective.addons[0][0].id, state_reason(octx, LOOK, tenant_id=tenant)
                )
            else:
                await tenant_access.add_addon(
                    octx, tenant, addon.id, chance.randint(1, 3), state_reason(octx, LOOK, tenant_id=tenant)
                )


async def restore_tenant(cast: Cast, observed: ObservedTenant) -> None:
    async with cast.olga.octx() as octx:
        await tenant_directory.restore_tenant(
            octx, observed.tenant_id, state_reason(octx, LOOK, tenant_id=observed.tenant_id)
        )


async def log_random_changes(chance: Random, cast: Cast, observed: ObservedTenant) -> list[Logged]:
    logged = [await log_decisions(observed)]
    for _ in range(size("entitlements.time_travel_changes")):
        await make_random_change(chance, cast, observed)
        logged.append(await log_decisions(observed))
        async with observed.owner.ctx() as ctx:
            suspended = ctx.tenant_state == "suspended"
        if suspended:
            await restore_tenant(cast, observed)
            logged.append(await log_decisions(observed))
    return logged


@pytest.fixture
async def houses(cast: Cast) -> tuple[ObservedTenant, ObservedTenant]:
    return (
        ObservedTenant(cast.acme, cast.ann, (cast.adam, cast.max)),
        ObservedTenant(cast.globex, cast.gil, ()),
    )


async def test_explanation_of_the_past_equals_the_decision_of_that_time(
    cast: Cast, houses: tuple[ObservedTenant, ObservedTenant]
) -> None:
    chance = Random(20261124)
    logged = [entry for observed in houses for entry in await log_random_changes(chance, cast, observed)]
    reasons = {decision.reason for entry in logged for decision in entry.decisions.values()}
    assert len(reasons) >= 7, reasons
    for observed in houses:
        mine = [entry for entry in logged if entry.observed == observed]
        async with cast.olga.octx() as octx, entry.enter_as_operator(octx, observed.tenant_id, LOOK) as ctx:
            for _ in range(size("entitlements.time_travel_questions") // len(houses)):
                then = chance.choice(mine)
                at = then.since + (then.until - then.since) * chance.random()
                user_id, action = chance.choice(list(then.decisions))
                explanation = await decision_history.explain_in_tenant(ctx, user_id, ACTIONS[action], at=at)
                assert explanation.trace.decision == then.decisions[user_id, action], (
                    at,
                    user_id,
                    explanation.trace,
                )


# ── two times ────────────────────────────────────────────────────────────────────────────────────────────────────


async def get_newest_id(cast: Cast, kind: type, order: str) -> str:
    async with cast.olga.octx() as octx, entry.enter_as_operator(octx, cast.acme, LOOK) as ctx:
        rows = (await ctx.session.exec(select(kind).where(kind.tenant_id == cast.acme))).all()  # type: ignore[attr-defined]
        return str(max(rows, key=lambda row: getattr(row, order)).id)


Did = Callable[[Cast], Awaitable[None]]
SOON = timedelta(days=3)


async def lose_a_feature(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx,
            cast.acme,
            "custom_roles",
            False,
            state_reason(octx, LOOK, tenant_id=cast.acme),
            ends_at=now() + SOON,
        )


async def lose_room(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx, cast.acme, "roles", 0, state_reason(octx, LOOK, tenant_id=cast.acme), ends_at=now() + SOON
        )


async def set_read_only(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, cast.acme, "read_only", state_reason(octx, LOOK, tenant_id=cast.acme)
        )


async def be_suspended(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_directory.suspend_tenant(octx, cast.acme, state_reason(octx, LOOK, tenant_id=cast.acme))


async def get_a_smaller_role(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        membership = await member_repository.get_membership_of_user(ctx, cast.adam.user_id)
        assert membership is not None
        await members.set_role(ctx, membership.id, "viewer", version=None)


async def get_a_smaller_plan(cast: Cast) -> None:
    await factories.assign_plan(cast.ann.account, cast.ann.slug, "pro")


async def get_more_roles(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx, cast.acme, "roles", 50, state_reason(octx, LOOK, tenant_id=cast.acme), ends_at=now() + SOON
        )


@pytest.mark.parametrize(
    ("did", "layer", "kind", "order"),
    [
        (lose_a_feature, Layer.OVERRIDE, TenantOverride, "starts_at"),
        (lose_room, Layer.LIMIT, TenantOverride, "starts_at"),
        (get_more_roles, Layer.LIMIT, TenantOverride, "starts_at"),
        (set_read_only, Layer.BILLING, TenantBilling, "starts_at"),
        (be_suspended, Layer.TENANT, TenantStateChange, "at"),
        (get_a_smaller_role, Layer.PERMISSION, MembershipChange, "at"),
        (get_a_smaller_plan, Layer.PLAN, TenantPlan, "starts_at"),
    ],
)
async def test_comparison_of_two_times_names_the_row_that_changed(
    cast: Cast, did: Did, layer: Layer, kind: type, order: str
) -> None:
    asked: Action = actions.ROLE_CREATE
    before = now()
    await did(cast)
    row = await get_newest_id(cast, kind, order)
    async with cast.olga.octx() as octx:
        comparison = await explanations.compare_access(octx, cast.acme, cast.adam.user_id, asked.name, before)
    changed = {change.after.layer: change.after.source_id for change in comparison.changes}
    assert row in changed.values()
    assert layer in changed
    if kind is not TenantPlan:  # which gives features, limits and a trial at once
        assert set(changed) <= {layer, Layer.PLAN if layer is Layer.OVERRIDE else layer}
        assert changed[layer] == row
    assert comparison.before.trace.decision.allowed
    if did is not get_more_roles:
        assert comparison.after.trace.decided_by == layer
