"""Worlds drawn by chance, as plain dicts for the oracle and as the product's own objects for the product.

Times lie on a grid of hours, so that ends, starts and questions often coincide. `chance` is any `random.Random`:
also hypothesis' own, which finds a smaller example where one fails.
"""

from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from shared.access.actions import Action
from shared.access.permissions import Permission
from shared.entitlements import catalog
from shared.entitlements.catalog import Catalog
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
    TenantTrait,
)
from tests.support.entitlements.oracle import PlainDict

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOURS = 10
LONG_BEFORE = NOON - timedelta(days=30)
FEATURES = ("audit_log", "custom_roles", "exports.csv", "sso")
LIMITS = ("members", "roles")
FLAGS = ("new_lists", "role_editor")
STATES = (*("active",) * 7, "pending_verification", "pending_verification", "suspended", "deleted")
PERMISSIONS = (Permission.MEMBER_INVITE, Permission.ROLE_WRITE)
TRAIT_VALUES = {
    "cohort": ("small", "enterprise"),
    "industry": ("health", "retail"),
    "plan": ("free", "pro"),
    "region": ("eu", "us"),
}
_epochs = count(1_000_000)  # every drawn catalogue is one that nothing was ever compiled of


def hour_at(number: int) -> datetime:
    return NOON + timedelta(hours=number)


class WorldGenerator:
    def __init__(self, rng: Random) -> None:
        self.rng, self._numbers = rng, count(1)

    def choose(self, *values: Any) -> Any:
        return values[self.rng.randrange(len(values))]

    def draw_time(self, first: int = 0) -> datetime:
        return hour_at(self.rng.randrange(first, HOURS + 1))

    def draw_optional_time(self, first: int = 0) -> datetime | None:
        return self.draw_time(first) if self.choose(True, False, False) else None

    def choose_some(self, values: tuple[str, ...]) -> list[str]:
        mask = self.rng.randrange(2 ** len(values))
        return [value for index, value in enumerate(values) if mask >> index & 1]

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):04}"

    # ── the catalogue ────────────────────────────────────────────────────────────────────────────────────────────

    def draw_world(self) -> PlainDict:
        plans = [self.draw_plan("free"), self.draw_plan("pro"), self.draw_plan("seats", kind="addon")]
        if self.choose(True, False):
            plans.append(self.draw_plan("pro", is_tenant_plan=True))
        flags = {name: self.draw_flag() for name in FLAGS if self.choose(True, True, True, False)}
        return {"plans": plans, "flags": flags, "limits": LIMITS}

    def draw_plan(self, key: str, *, kind: str = "plan", is_tenant_plan: bool = False) -> PlainDict:
        versions = [self.draw_version(number, kind) for number in range(1, self.choose(2, 2, 3, 4))]
        versions[0]["effective_at"] = LONG_BEFORE
        return {
            "id": self.new_id("pln"),
            "key": key,
            "kind": kind,
            "own": is_tenant_plan,
            "versions": versions,
        }

    def draw_version(self, number: int, kind: str) -> PlainDict:
        return {
            "id": self.new_id("plv"),
            "number": number,
            "features": self.choose_some(FEATURES),
            "limits": {
                name: (self.choose(0, 1, 2, 3, 3, None), kind == "addon" or self.choose(True, False))
                for name in self.choose_some(LIMITS)
            },
            "moves": self.choose(True, False),
            "effective_at": self.draw_time(),
        }

    def draw_flag(self) -> PlainDict:
        change_times = sorted({self.draw_time() for _ in range(self.choose(1, 1, 2))} | {LONG_BEFORE})
        versions = [
            {
                "id": self.new_id("flv"),
                "created_at": created_at,
                "killed": self.choose(True, False, False, False),
                "rules": [self.draw_rule() for _ in range(self.choose(1, 1, 2))],
            }
            for created_at in change_times
        ]
        return {
            "id": self.new_id("flg"),
            "required": self.choose("", "", *FEATURES[:2]),
            "retired_at": self.draw_optional_time(HOURS // 2),
            "versions": versions,
        }

    def draw_rule(self) -> PlainDict:
        kind = self.choose("everyone", "everyone", "allowed", "percentage", "beta", "internal", *TRAIT_VALUES)
        return {
            "kind": kind,
            "values": self.choose_some(TRAIT_VALUES.get(kind, ())),
            "percent": self.choose(0, 12.5, 50, 100),
            "from": self.draw_optional_time(),
            "until": self.draw_optional_time(),
        }

    # ── what a tenant has ────────────────────────────────────────────────────────────────────────────────────────

    def draw_tenant(self, world: PlainDict) -> PlainDict:
        plans = [
            version["id"] for plan in world["plans"] if plan["kind"] == "plan" for version in plan["versions"]
        ]
        addons = [
            version["id"]
            for plan in world["plans"]
            if plan["kind"] == "addon"
            for version in plan["versions"]
        ]
        return {
            "id": f"ten_{self.rng.randrange(1_000)}",
            "plan": [
                self.draw_row(
                    "tpl",
                    version=self.choose(*plans),
                    trial_ends_at=self.draw_optional_time(),
                    seats=self.choose(None, None, 1, 3, 50),
                )
                for _ in range(self.choose(0, 1, 1, 2, 3))
            ],
            "addon": [
                self.draw_row("tad", version=self.choose(*addons), quantity=self.choose(1, 1, 2, 3))
                for _ in range(self.choose(0, 1, 1, 2))
            ],
            "override": [self.draw_override() for _ in range(self.choose(0, 1, 2, 3))],
            "billing": [
                self.draw_row("tbl", status=self.choose("active", "grace", "read_only", "none"))
                for _ in range(self.choose(0, 0, 1, 2, 3))
            ],
            # One word on a flag and one trait of a name are open at a time; those before are closed.
            "flag": self.draw_successive_rows(
                "flag", FLAGS, "tfl", lambda: {"enabled": self.choose(True, True, False)}
            ),
            "trait": [
                *self.draw_successive_rows("name", ("beta", "internal"), "ttr", lambda: {"value": "yes"}),
                *(
                    row
                    for name in ("cohort", "industry", "region")
                    for row in self.draw_successive_rows(
                        "name", (name,), "ttr", lambda name=name: {"value": self.choose(*TRAIT_VALUES[name])}
                    )
                ),
            ],
        }

    def draw_override(self) -> PlainDict:
        if self.choose(True, False):
            value = (self.choose(0, 1, 2, 5, None), self.choose(True, False))
            return self.draw_row("ovr", target="limit", name=self.choose(*LIMITS), value=value)
        value = self.choose(True, False)
        return self.draw_row("ovr", target="feature", name=self.choose(*FEATURES), value=value)

    def draw_row(self, prefix: str, **columns: Any) -> PlainDict:
        row_id = self.new_id(prefix)
        starts = self.rng.randrange(-3, HOURS)
        return {
            "id": row_id,
            "starts_at": hour_at(starts),
            "ends_at": self.draw_optional_time(starts + 1),
            "closed_at": self.choose(None, None, self.draw_time(-3)),
            "created_at": LONG_BEFORE + timedelta(seconds=int(row_id[-4:])),
            **columns,
        }

    def draw_successive_rows(
        self, column: str, names: tuple[str, ...], prefix: str, build_columns: Any
    ) -> list[PlainDict]:
        rows = []
        for name in self.choose_some(names):
            times = sorted({self.rng.randrange(HOURS) for _ in range(self.choose(1, 1, 2))})
            ends = [
                *(hour_at(hour_number) for hour_number in times[1:]),
                self.draw_optional_time(times[-1] + 1),
            ]
            for starts_hour, closed_at in zip(times, ends, strict=True):
                row = self.draw_row(prefix, **{column: name}, **build_columns())
                rows.append(
                    row | {"starts_at": hour_at(starts_hour), "ends_at": None, "closed_at": closed_at}
                )
        return rows

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────

    def draw_action(self) -> PlainDict:
        cleans_up = self.choose(True, False, False, False, False)
        return {
            "name": self.new_id("act"),
            "permission": self.choose(*PERMISSIONS),
            "feature": self.choose("", *FEATURES),
            "limit": "" if cleans_up else self.choose("", *LIMITS),  # what cleans up takes nothing
            "flag": self.choose("", "", *FLAGS),
            "writes": self.choose(True, False),
            "allowed_when_unpaid": cleans_up,
            "allowed_when_unverified": self.choose(True, False, False),
            "allowed_when_suspended": self.choose(True, False, False),
        }

    def draw_question(self, action: PlainDict) -> PlainDict:
        return {
            "action": action,
            "at": self.draw_time(),
            "held": frozenset(PERMISSIONS if self.choose(True, True, True, True, False) else PERMISSIONS[:1]),
            "state": self.choose(*STATES),
            "used": self.choose(None, *range(9)) if action["limit"] else None,
            "obstacle": self.choose("", "", "", "", "Somebody holds it."),
        }


# ── the same for the product ─────────────────────────────────────────────────────────────────────────────────────


def build_action(plain: PlainDict) -> Action:
    return Action(description="do it", **plain)


def build_catalog(world: PlainDict) -> Catalog:
    """What everybody is offered."""
    shared = [plan for plan in world["plans"] if not plan["own"]]
    rows = [
        FlagRow(
            id=flag["id"],
            key=key,
            title=key,
            sentence="",
            owner="Tests",
            cleanup_by=NOON.date(),
            required_feature=flag["required"],
            created_by="",
            retired_at=flag["retired_at"],
        )
        for key, flag in world["flags"].items()
    ]
    flag_versions = [
        FlagVersion(
            id=version["id"],
            flag_id=flag["id"],
            number=number,
            rules=[_build_rule(rule) for rule in version["rules"]],
            killed=version["killed"],
            created_at=version["created_at"],
            created_by="",
            reason="",
        )
        for flag in world["flags"].values()
        for number, version in enumerate(flag["versions"], 1)
    ]
    return catalog.build_catalog(next(_epochs), *_build_plans(shared, None), rows, flag_versions)


def build_history(world: PlainDict, tenant: PlainDict) -> EntitlementHistory:
    kinds: dict[str, Any] = {
        "plan": TenantPlan,
        "addon": TenantAddon,
        "override": TenantOverride,
        "billing": TenantBilling,
        "flag": TenantFlag,
        "trait": TenantTrait,
    }
    rows = {
        name: [
            kind(tenant_id=tenant["id"], by_name="Olga", reason="Test", **_build_columns(row))
            for row in tenant[name]
        ]
        for name, kind in kinds.items()
    }
    tenant_plans = _build_plans([plan for plan in world["plans"] if plan["own"]], tenant["id"])
    return EntitlementHistory(
        tenant["id"],
        rows["plan"],
        rows["addon"],
        rows["override"],
        rows["billing"],
        rows["flag"],
        rows["trait"],
        *tenant_plans,
    )


def _build_columns(row: PlainDict) -> PlainDict:
    names = {"version": "plan_version_id"}
    columns = {names.get(name, name): value for name, value in row.items()}
    if row.get("target") == "limit":
        amount, hard = row["value"]
        columns["value"] = {"amount": amount, "hard": hard}
    return columns


def _build_plans(plans: list[PlainDict], for_tenant: str | None) -> tuple[list[Plan], list[PlanVersion]]:
    rows = [
        Plan(
            id=plan["id"],
            key=plan["key"],
            name=plan["key"].capitalize(),
            sentence="",
            kind=plan["kind"],
            position=position,
            for_tenant=for_tenant,
            created_by="",
        )
        for position, plan in enumerate(plans)
    ]
    versions = [
        PlanVersion(
            id=version["id"],
            plan_id=plan["id"],
            for_tenant=for_tenant,
            number=version["number"],
            status="published",
            features=version["features"],
            limits={
                name: {"amount": amount, "hard": hard} for name, (amount, hard) in version["limits"].items()
            },
            moves=version["moves"],
            effective_at=version["effective_at"],
            published_at=version["effective_at"],
            created_by="",
        )
        for plan in plans
        for version in plan["versions"]
    ]
    return rows, versions


def _build_rule(rule: PlainDict) -> PlainDict:
    columns: PlainDict = {"kind": rule["kind"], "values": rule["values"], "percent": rule["percent"]}
    for name, side in (("from", "starts_at"), ("until", "ends_at")):
        if rule[name] is not None:
            columns[side] = rule[name].isoformat()
    return columns
