"""The layers of a decision, alone and together: their verdicts, their precedence and their times.

No database: facts are what rows say, however they came about. Creating a role is asked about, because every layer
bears on it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from shared.access import actions
from shared.access.actions import ACTIONS, Action
from shared.access.decision import decide
from shared.access.refusal_codes import Reason
from shared.core.context import Rights
from shared.entitlements import catalog, compiled_rights, explain
from shared.entitlements.entitlement_chains import Entitlements
from shared.entitlements.evaluate import (
    AccessSubject,
    DecisionTrace,
    Layer,
    TenantLayers,
    Verdict,
    trace_decision,
)
from shared.entitlements.flag_evaluation import RuleProvider
from shared.entitlements.history import EntitlementHistory
from shared.entitlements.models import (
    FlagRow,
    FlagVersion,
    Plan,
    PlanVersion,
    TenantAddon,
    TenantBilling,
    TenantFlag,
    TenantOverride,
    TenantPlan,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
TENANT = "ten_acme"
DAY, TICK = timedelta(days=1), timedelta(microseconds=1)
HARD_20 = {"roles": {"amount": 20, "hard": True}}


def version(plan: str, features: Sequence[str], limits: dict[str, Any]) -> PlanVersion:
    return PlanVersion(
        id=f"plv_{plan}",
        plan_id=f"pln_{plan}",
        number=1,
        status="published",
        features=list(features),
        limits=limits,
        effective_at=START - DAY,
        published_at=START - DAY,
        created_by="Olga",
    )


PLANS = [
    Plan(id=f"pln_{key}", key=key, name=key.capitalize(), sentence="", kind=kind, created_by="Olga")
    for key, kind in (
        ("free", "plan"),
        ("big", "plan"),
        ("small", "plan"),
        ("soft", "plan"),
        ("feature_addon", "addon"),
        ("five_more", "addon"),
    )
]
VERSIONS = [
    version("free", (), {"roles": {"amount": 0, "hard": True}}),
    version("big", ("custom_roles",), HARD_20),
    version("small", (), HARD_20),
    version("soft", ("custom_roles",), {"roles": {"amount": 20, "hard": False}}),
    version("feature_addon", ("custom_roles",), {}),
    version("five_more", (), {"roles": {"amount": 5, "hard": True}}),
]
FLAG = FlagRow(
    id="flg_role_editor",
    key="role_editor",
    title="Role editor",
    sentence="",
    owner="Access",
    cleanup_by=date(2030, 1, 1),
    required_feature="custom_roles",
    created_by="Olga",
)


@dataclass(frozen=True)
class World:
    """Everything that matters for the decision. The default is allowed."""

    may: bool = True
    state: str = "active"
    billing: str = "active"
    plan: str = "big"
    addon: str = ""
    override: bool | None = None
    own_limit: tuple[int | None, bool] | None = None
    trial: str = ""  # "running" or "ended"
    flag: str = "everyone"  # whom its rules let in; "killed"
    own_flag: bool | None = None
    used: int = 3
    obstacle: str = ""

    def catalogue(self) -> catalog.Catalog:
        rules = [] if self.flag in ("nobody", "killed") else [{"kind": self.flag}]
        version = FlagVersion(
            id="flv_1",
            flag_id=FLAG.id,
            number=1,
            rules=rules,
            killed=self.flag == "killed",
            created_at=START - DAY,
            created_by="Olga",
            reason="Test",
        )
        return catalog.build_catalog(1, PLANS, VERSIONS, [FLAG], [version])

    def history(self) -> EntitlementHistory:
        trial_ends = {"": None, "running": NOW + DAY, "ended": NOW - DAY}[self.trial]
        plan = TenantPlan(**row_fields("tpl_1"), plan_version_id=f"plv_{self.plan}", trial_ends_at=trial_ends)
        addon = (
            [TenantAddon(**row_fields("tad_1"), plan_version_id=f"plv_{self.addon}")] if self.addon else []
        )
        overrides = []
        if self.override is not None:
            overrides.append(
                TenantOverride(
                    **row_fields("ovr_1"), target="feature", name="custom_roles", value=self.override
                )
            )
        if self.own_limit is not None:
            value = {"amount": self.own_limit[0], "hard": self.own_limit[1]}
            overrides.append(TenantOverride(**row_fields("ovr_2"), target="limit", name="roles", value=value))
        billing = (
            [TenantBilling(**row_fields("tbl_1"), status=self.billing)] if self.billing != "active" else []
        )
        own_flag = self.own_flag
        flags = (
            []
            if own_flag is None
            else [TenantFlag(**row_fields("tfl_1"), flag="role_editor", enabled=own_flag)]
        )
        return EntitlementHistory(TENANT, [plan], addon, overrides, billing, flags)

    def layers(self) -> TenantLayers:
        catalogue = self.catalogue()
        snapshot = self.history().snapshot_at(catalogue, NOW)
        return TenantLayers(Entitlements(snapshot, catalogue), RuleProvider(catalogue))

    def permissions(self, action: Action) -> frozenset[str]:
        return frozenset({str(action.permission)}) if self.may else frozenset()

    def trace(
        self, action: Action = actions.ROLE_CREATE, tenant: TenantLayers | None = None
    ) -> DecisionTrace:
        """`tenant`: this world's layers, where they are kept."""
        standing = AccessSubject("Ann", "Owner", self.permissions(action), "mbc_1", self.state, "tsc_1")
        tenant = tenant or self.layers()
        return trace_decision(action, standing, tenant, self.used, self.obstacle)

    def rights(self, tenant: TenantLayers | None = None) -> Rights:
        tenant = tenant or self.layers()
        compiled_rights.clear_compiled_rights()  # every world has the same epoch
        entitlements = tenant.entitlements
        return compiled_rights.compile_rights(
            entitlements.snapshot, entitlements.catalog, tenant.provider, self.state
        )

    def decided(self, action: Action = actions.ROLE_CREATE, rights: Rights | None = None) -> Reason:
        asker = Asker(self.permissions(action), rights or self.rights())
        used = self.used if action.limit else None
        return decide(asker, action, used=used, obstacle=self.obstacle).reason


@dataclass(frozen=True)
class Asker:
    permissions: frozenset[str]
    rights: Rights


def row_fields(id: str, **other: Any) -> dict[str, Any]:
    return {"tenant_id": TENANT, "id": id, "starts_at": START, "by_name": "Olga", "reason": "Test"} | other


def list_changed_layers(trace: DecisionTrace, other: DecisionTrace) -> set[str]:
    """Layers with another verdict or another source row."""
    return {before.layer.value for before, _ in explain.compare_traces(trace, other)}


# ── one layer at a time ──────────────────────────────────────────────────────────────────────────────────────────

ONE: dict[
    str, tuple[dict[str, Any], Reason, str, set[str]]
] = {  # what is different: the reason, the layer that decides ("" for none), the layers that find something else
    "no permission": ({"may": False}, Reason.MISSING_PERMISSION, "permission", {"permission"}),
    "suspended": ({"state": "suspended"}, Reason.TENANT_SUSPENDED, "tenant", {"tenant"}),
    "deleted": ({"state": "deleted"}, Reason.TENANT_DELETED, "tenant", {"tenant"}),
    "unverified": ({"state": "pending_verification"}, Reason.TENANT_UNVERIFIED, "tenant", {"tenant"}),
    "grace": ({"billing": "grace"}, Reason.BILLING_GRACE, "", {"billing"}),
    "read-only": ({"billing": "read_only"}, Reason.BILLING_READ_ONLY, "billing", {"billing"}),
    "nothing paid": ({"billing": "none"}, Reason.BILLING_NONE, "billing", {"billing", "limit"}),
    "not in the plan": ({"plan": "small"}, Reason.NOT_IN_PLAN, "plan", {"plan", "limit"}),
    "by an add-on": ({"addon": "feature_addon"}, Reason.ALLOWED, "", {"addons"}),
    "overridden on": ({"override": True}, Reason.ALLOWED, "", {"override"}),
    "overridden off": ({"override": False}, Reason.NOT_IN_PLAN, "override", {"override"}),
    "on trial": ({"trial": "running"}, Reason.ALLOWED, "", {"trial"}),
    "trial ended": ({"trial": "ended"}, Reason.TRIAL_ENDED, "trial", {"trial", "limit"}),
    "nobody is let in": ({"flag": "nobody"}, Reason.FLAG_OFF, "flag", {"flag"}),
    "killed": ({"flag": "killed"}, Reason.FLAG_OFF, "flag", {"flag"}),
    "kept out": ({"own_flag": False}, Reason.FLAG_OFF, "flag", {"flag"}),
    "not one of those let in": ({"flag": "allowed"}, Reason.FLAG_OFF, "flag", {"flag"}),
    "room for one more": ({"used": 19}, Reason.ALLOWED, "", {"limit"}),
    "full": ({"used": 20}, Reason.LIMIT_REACHED, "limit", {"limit"}),
    "raised by an add-on": ({"used": 20, "addon": "five_more"}, Reason.ALLOWED, "", {"addons", "limit"}),
    "raised and full": (
        {"used": 25, "addon": "five_more"},
        Reason.LIMIT_REACHED,
        "limit",
        {"addons", "limit"},
    ),
    "lowered by an override": ({"own_limit": (3, True)}, Reason.LIMIT_REACHED, "limit", {"limit"}),
    "unlimited by an override": ({"used": 99, "own_limit": (None, True)}, Reason.ALLOWED, "", {"limit"}),
    "above a soft override": ({"used": 9, "own_limit": (3, False)}, Reason.LIMIT_WARNED, "", {"limit"}),
    "above a soft limit": ({"plan": "soft", "used": 20}, Reason.LIMIT_WARNED, "", {"plan", "limit"}),
    "an object in the way": ({"obstacle": "It is locked."}, Reason.OBJECT_STATE, "object", {"object"}),
}


@pytest.mark.parametrize("case", ONE)
def test_single_layer_decides_with_its_reason(case: str) -> None:
    change, reason, layer, layers = ONE[case]
    base, world = World(), World(**change)
    trace = world.trace()
    assert base.trace().decision.reason == base.decided() == Reason.ALLOWED
    assert (trace.decision.reason, trace.decided_by or "") == (reason, layer)
    assert world.decided() == reason
    assert list_changed_layers(base.trace(), trace) == layers


def test_overruled_layer_is_shown_beside_the_ruling_one() -> None:
    """An override wins over plan and add-ons, an add-on over the plan."""

    def list_verdicts(**change: Any) -> list[Verdict]:
        lines = {line.layer: line.verdict for line in World(**change).trace().lines}
        return [lines[layer] for layer in (Layer.PLAN, Layer.ADDONS, Layer.OVERRIDE)]

    yes, no, over, idle = Verdict.YES, Verdict.NO, Verdict.OVERRULED, Verdict.IDLE
    assert list_verdicts() == [yes, idle, idle]
    assert list_verdicts(plan="small") == [no, idle, idle]
    assert list_verdicts(plan="small", addon="feature_addon") == [over, yes, idle]
    assert list_verdicts(plan="small", override=True) == [over, idle, yes]
    assert list_verdicts(override=False) == [over, idle, no]
    assert list_verdicts(plan="small", addon="feature_addon", override=False) == [over, over, no]


# ── precedence ───────────────────────────────────────────────────────────────────────────────────────────────────

REFUSING: list[tuple[dict[str, Any], Reason]] = [  # each says no; of two, the earlier decides
    ({"may": False}, Reason.MISSING_PERMISSION),
    ({"state": "suspended"}, Reason.TENANT_SUSPENDED),
    ({"billing": "read_only"}, Reason.BILLING_READ_ONLY),
    ({"override": False}, Reason.NOT_IN_PLAN),
    ({"trial": "ended"}, Reason.TRIAL_ENDED),
    ({"flag": "killed"}, Reason.FLAG_OFF),
    ({"used": 20}, Reason.LIMIT_REACHED),
    ({"obstacle": "It is locked."}, Reason.OBJECT_STATE),
]


@pytest.mark.parametrize("first", range(len(REFUSING)))
def test_earlier_of_two_refusing_layers_decides(first: int) -> None:
    change, reason = REFUSING[first]
    for later, _ in REFUSING[first + 1 :]:
        world = World(**{**later, **change})
        assert world.decided() == reason, (change, later)
        assert world.trace().decision.reason == reason, (change, later)


FACTS: dict[str, list[Any]] = {
    "billing": ["active", "grace", "read_only", "none"],
    "plan": ["big", "small", "soft"],
    "addon": ["", "feature_addon", "five_more"],
    "override": [None, True, False],
    "trial": ["", "ended"],
    "flag": ["everyone", "nobody"],
}


def list_worlds(**facts: list[Any]) -> list[World]:
    return [World(**dict(zip(facts, values, strict=True))) for values in product(*facts.values())]


def trace_first(world: World, tenant: TenantLayers, action: Action = actions.ROLE_CREATE) -> DecisionTrace:
    """The trace when nothing is kept."""
    return world.trace(action, TenantLayers(tenant.entitlements, tenant.provider))


def test_decision_and_trace_agree_for_every_combination() -> None:
    """Whether the lines are evaluated for this trace or kept from an earlier one."""
    seen: set[Reason] = set()
    for base in list_worlds(**FACTS):
        tenant = base.layers()
        for state in ("active", "suspended", "pending_verification"):
            rights = replace(base, state=state).rights(tenant)
            for may, used in product((True, False), (3, 20)):
                world = replace(base, state=state, may=may, used=used)
                reason, trace = world.decided(rights=rights), world.trace(tenant=tenant)
                assert trace.decision.reason == reason, asdict(world)
                assert trace.lines == trace_first(world, tenant).lines, asdict(world)
                seen.add(reason)
    assert seen == set(Reason) - {
        Reason.MISSING_SCOPE,
        Reason.TENANT_DELETED,
        Reason.OBJECT_STATE,
        Reason.SUPPORT_CLOSED,
        Reason.SUPPORT_READ_ONLY,
        Reason.TEST_MODE,
    }  # of keys, of rows, of support sessions, or of test tenants


def test_kept_lines_of_one_action_are_not_given_to_another() -> None:
    without_flag = replace(actions.ROLE_CREATE, flag="")
    every_action = [*ACTIONS.values(), without_flag]
    for world in list_worlds(**FACTS | {"addon": [""], "override": [None]}):
        tenant = world.layers()
        for action in [*every_action, *every_action]:
            trace, first_trace = world.trace(action, tenant), trace_first(world, tenant, action)
            assert (trace.decision, trace.lines) == (first_trace.decision, first_trace.lines), asdict(world)


def test_tenant_keeps_one_set_of_lines_for_each_kind_of_action() -> None:
    world = World()
    tenant = world.layers()
    for action in [*ACTIONS.values(), *ACTIONS.values()]:
        world.trace(action, tenant)
    assert len(tenant._lines) == len({action.requirements for action in ACTIONS.values()}) < len(ACTIONS)


@pytest.mark.parametrize(
    "action",
    [
        actions.MEMBER_EXPORT,
        actions.MEMBER_LEAVE,
        actions.MEMBER_REMOVE,
        actions.ROLE_DELETE,
        actions.SETTINGS_SETUP,
    ],
)
def test_decision_and_trace_agree_for_actions_that_need_less(action: Action) -> None:
    """Cleaning up is allowed whatever plan and bill say, setting up before the address is verified, leaving always."""
    for state, billing, trial in product(
        ("active", "suspended", "pending_verification"),
        ("active", "grace", "read_only", "none"),
        ("", "ended"),
    ):
        world = World(state=state, billing=billing, trial=trial)
        reason = world.decided(action)
        assert world.trace(action).decision.reason == reason, asdict(world)
        if action.allowed_when_unpaid and state == "active":
            assert reason == Reason.ALLOWED
        if action.allowed_when_unverified and state == "pending_verification" and billing == "active":
            assert reason == Reason.ALLOWED
        if state == "suspended":
            assert reason == (Reason.ALLOWED if action is actions.MEMBER_LEAVE else Reason.TENANT_SUSPENDED)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("suspended", "The organisation is suspended. This action is allowed meanwhile."),
        (
            "pending_verification",
            "The organisation is pending verification. This action is allowed before verification.",
        ),
    ],
)
def test_state_that_an_action_ignores_is_explained(state: str, sentence: str) -> None:
    trace = World(state=state).trace(actions.MEMBER_LEAVE)
    (line,) = [line for line in trace.lines if line.layer is Layer.TENANT]
    assert explain.describe_line(line, trace.inputs) == sentence


# ── from when to when ────────────────────────────────────────────────────────────────────────────────────────────


def decide_at(history: EntitlementHistory, at: datetime, used: int = 3) -> Reason:
    catalogue = World().catalogue()
    compiled_rights.clear_compiled_rights()
    rights = compiled_rights.compile_rights(
        history.snapshot_at(catalogue, at), catalogue, RuleProvider(catalogue), "active"
    )
    return decide(Asker(frozenset({"role:write"}), rights), actions.ROLE_CREATE, used=used).reason


def build_history(plan: str = "big", **parts: Any) -> EntitlementHistory:
    row = TenantPlan(
        **row_fields("tpl_1"), plan_version_id=f"plv_{plan}", trial_ends_at=parts.pop("trial", None)
    )
    return EntitlementHistory(TENANT, [row], **parts)


def test_trial_ends_by_the_clock() -> None:
    history = build_history(trial=NOW)
    assert decide_at(history, NOW - TICK) == Reason.ALLOWED
    assert decide_at(history, NOW) == Reason.TRIAL_ENDED
    assert history.next_change(World().catalogue(), NOW - TICK) == NOW  # until when an answer may be kept


def test_plan_assigned_later_ends_the_trial() -> None:
    later = TenantPlan(**row_fields("tpl_2", starts_at=NOW + DAY), plan_version_id="plv_big")
    history = EntitlementHistory(TENANT, [*build_history(trial=NOW).assignments, later])
    assert decide_at(history, NOW + DAY - TICK) == Reason.TRIAL_ENDED
    assert decide_at(history, NOW + DAY) == Reason.ALLOWED


def test_addon_raises_the_limit_until_it_ends() -> None:
    addon = TenantAddon(
        **row_fields("tad_1", starts_at=NOW, ends_at=NOW + DAY), plan_version_id="plv_five_more", quantity=2
    )
    history = build_history(addons=[addon])
    answers = [
        (NOW - TICK, 20, Reason.LIMIT_REACHED),
        (NOW, 20, Reason.ALLOWED),
        (NOW, 29, Reason.ALLOWED),
        (NOW, 30, Reason.LIMIT_REACHED),
        (NOW + DAY - TICK, 29, Reason.ALLOWED),
        (NOW + DAY, 20, Reason.LIMIT_REACHED),
    ]
    assert [decide_at(history, at, used) for at, used, _ in answers] == [reason for *_, reason in answers]
    addon.closed_at = NOW + DAY / 2
    assert decide_at(history, NOW + DAY / 2, 20) == Reason.LIMIT_REACHED
    assert decide_at(history, NOW + DAY / 2 - TICK, 20) == Reason.ALLOWED


def test_override_applies_until_it_ends_and_the_latest_wins() -> None:
    def build_override(id: str, value: bool, **other: Any) -> TenantOverride:
        return TenantOverride(**row_fields(id, **other), target="feature", name="custom_roles", value=value)

    off = build_override("ovr_1", False, starts_at=NOW, ends_at=NOW + 2 * DAY)
    again = build_override("ovr_2", True, starts_at=NOW + DAY, ends_at=NOW + 3 * DAY)
    history = build_history(overrides=[again, off])
    assert [decide_at(history, NOW + days * DAY) for days in (-1, 0, 1, 2, 3)] == [
        Reason.ALLOWED,
        Reason.NOT_IN_PLAN,
        Reason.ALLOWED,
        Reason.ALLOWED,
        Reason.ALLOWED,
    ]
    again.closed_at = NOW + DAY + DAY / 2
    assert decide_at(history, NOW + DAY + DAY / 2) == Reason.NOT_IN_PLAN  # the earlier one counts still


def test_scheduled_billing_status_starts_by_the_clock() -> None:
    steps = [("grace", NOW, NOW + 7 * DAY), ("read_only", NOW + 7 * DAY, None)]
    billing = [
        TenantBilling(**row_fields(f"tbl_{place}", starts_at=since, ends_at=until), status=status)
        for place, (status, since, until) in enumerate(steps)
    ]
    history = build_history(billing=billing)
    assert [decide_at(history, NOW + days * DAY) for days in (-1, 0, 6, 7)] == [
        Reason.ALLOWED,
        Reason.BILLING_GRACE,
        Reason.BILLING_GRACE,
        Reason.BILLING_READ_ONLY,
    ]


def test_soft_limit_warns_and_hard_limit_refuses_above_it() -> None:
    soft = build_history("soft")
    assert [decide_at(soft, NOW, used) for used in (19, 20, 10_000)] == [
        Reason.ALLOWED,
        Reason.LIMIT_WARNED,
        Reason.LIMIT_WARNED,
    ]
    assert [decide_at(build_history(), NOW, used) for used in (19, 20, 10_000)] == [
        Reason.ALLOWED,
        Reason.LIMIT_REACHED,
        Reason.LIMIT_REACHED,
    ]
