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
from shared.entitlements import catalogue as catalogues
from shared.entitlements.catalogue import Catalogue
from shared.entitlements.facts import History
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
from tests.entitlements.oracle import Plain

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOURS = 10
BEFORE = NOON - timedelta(days=30)
FEATURES = ("audit_log", "custom_roles", "exports.csv", "sso")
LIMITS = ("members", "roles")
FLAGS = ("new_lists", "role_editor")
STATES = (*("active",) * 7, "pending_verification", "pending_verification", "suspended", "deleted")
HELD = (Permission.MEMBER_INVITE, Permission.ROLE_WRITE)
VALUES = {
    "cohort": ("small", "enterprise"),
    "industry": ("health", "retail"),
    "plan": ("free", "pro"),
    "region": ("eu", "us"),
}
_epochs = count(1_000_000)  # every drawn catalogue is one that nothing was ever compiled of


def hour(number: int) -> datetime:
    return NOON + timedelta(hours=number)


class Drawing:
    def __init__(self, chance: Random) -> None:
        self.chance, self._numbers = chance, count(1)

    def one(self, *values: Any) -> Any:
        return values[self.chance.randrange(len(values))]

    def time(self, first: int = 0) -> datetime:
        return hour(self.chance.randrange(first, HOURS + 1))

    def maybe(self, first: int = 0) -> datetime | None:
        return self.time(first) if self.one(True, False, False) else None

    def some(self, values: tuple[str, ...]) -> list[str]:
        chosen = self.chance.randrange(2 ** len(values))
        return [one for place, one in enumerate(values) if chosen >> place & 1]

    def id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._numbers):04}"

    # ── the catalogue ────────────────────────────────────────────────────────────────────────────────────────────

    def world(self) -> Plain:
        plans = [self.plan("free"), self.plan("pro"), self.plan("seats", kind="addon")]
        if self.one(True, False):
            plans.append(self.plan("pro", own=True))
        flags = {name: self.flag() for name in FLAGS if self.one(True, True, True, False)}
        return {"plans": plans, "flags": flags, "limits": LIMITS}

    def plan(self, key: str, *, kind: str = "plan", own: bool = False) -> Plain:
        versions = [self.version(number, kind) for number in range(1, self.one(2, 2, 3, 4))]
        versions[0]["effective_at"] = BEFORE
        return {"id": self.id("pln"), "key": key, "kind": kind, "own": own, "versions": versions}

    def version(self, number: int, kind: str) -> Plain:
        return {
            "id": self.id("plv"),
            "number": number,
            "features": self.some(FEATURES),
            "limits": {
                name: (self.one(0, 1, 2, 3, 3, None), kind == "addon" or self.one(True, False))
                for name in self.some(LIMITS)
            },
            "moves": self.one(True, False),
            "effective_at": self.time(),
        }

    def flag(self) -> Plain:
        times = sorted({self.time() for _ in range(self.one(1, 1, 2))} | {BEFORE})
        versions = [
            {
                "id": self.id("flv"),
                "created_at": at,
                "killed": self.one(True, False, False, False),
                "rules": [self.rule() for _ in range(self.one(1, 1, 2))],
            }
            for at in times
        ]
        return {
            "id": self.id("flg"),
            "required": self.one("", "", *FEATURES[:2]),
            "retired_at": self.maybe(HOURS // 2),
            "versions": versions,
        }

    def rule(self) -> Plain:
        kind = self.one("everyone", "everyone", "allowed", "percentage", "beta", "internal", *VALUES)
        return {
            "kind": kind,
            "values": self.some(VALUES.get(kind, ())),
            "percent": self.one(0, 12.5, 50, 100),
            "from": self.maybe(),
            "until": self.maybe(),
        }

    # ── what a tenant has ────────────────────────────────────────────────────────────────────────────────────────

    def tenant(self, world: Plain) -> Plain:
        plans = [one["id"] for plan in world["plans"] if plan["kind"] == "plan" for one in plan["versions"]]
        addons = [one["id"] for plan in world["plans"] if plan["kind"] == "addon" for one in plan["versions"]]
        return {
            "id": f"ten_{self.chance.randrange(1_000)}",
            "plan": [
                self.row(
                    "tpl",
                    version=self.one(*plans),
                    trial_ends_at=self.maybe(),
                    seats=self.one(None, None, 1, 3, 50),
                )
                for _ in range(self.one(0, 1, 1, 2, 3))
            ],
            "addon": [
                self.row("tad", version=self.one(*addons), quantity=self.one(1, 1, 2, 3))
                for _ in range(self.one(0, 1, 1, 2))
            ],
            "override": [self.override() for _ in range(self.one(0, 1, 2, 3))],
            "billing": [
                self.row("tbl", status=self.one("active", "grace", "read_only", "none"))
                for _ in range(self.one(0, 0, 1, 2, 3))
            ],
            # One word on a flag and one trait of a name are open at a time; those before are closed.
            "flag": self.in_turn("flag", FLAGS, "tfl", lambda: {"enabled": self.one(True, True, False)}),
            "trait": [
                *self.in_turn("name", ("beta", "internal"), "ttr", lambda: {"value": "yes"}),
                *(
                    row
                    for name in ("cohort", "industry", "region")
                    for row in self.in_turn(
                        "name", (name,), "ttr", lambda name=name: {"value": self.one(*VALUES[name])}
                    )
                ),
            ],
        }

    def override(self) -> Plain:
        if self.one(True, False):
            value = (self.one(0, 1, 2, 5, None), self.one(True, False))
            return self.row("ovr", target="limit", name=self.one(*LIMITS), value=value)
        value = self.one(True, False)
        return self.row("ovr", target="feature", name=self.one(*FEATURES), value=value)

    def row(self, prefix: str, **columns: Any) -> Plain:
        row_id = self.id(prefix)
        starts = self.chance.randrange(-3, HOURS)
        return {
            "id": row_id,
            "starts_at": hour(starts),
            "ends_at": self.maybe(starts + 1),
            "closed_at": self.one(None, None, self.time(-3)),
            "created_at": BEFORE + timedelta(seconds=int(row_id[-4:])),
            **columns,
        }

    def in_turn(self, column: str, names: tuple[str, ...], prefix: str, rest: Any) -> list[Plain]:
        rows = []
        for name in self.some(names):
            times = sorted({self.chance.randrange(HOURS) for _ in range(self.one(1, 1, 2))})
            ends = [*(hour(one) for one in times[1:]), self.maybe(times[-1] + 1)]
            for starts, closed in zip(times, ends, strict=True):
                row = self.row(prefix, **{column: name}, **rest())
                rows.append(row | {"starts_at": hour(starts), "ends_at": None, "closed_at": closed})
        return rows

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────

    def action(self) -> Plain:
        cleans_up = self.one(True, False, False, False, False)
        return {
            "name": self.id("act"),
            "permission": self.one(*HELD),
            "feature": self.one("", *FEATURES),
            "limit": "" if cleans_up else self.one("", *LIMITS),  # what cleans up takes nothing
            "flag": self.one("", "", *FLAGS),
            "writes": self.one(True, False),
            "cleans_up": cleans_up,
            "unverified_ok": self.one(True, False, False),
        }

    def question(self, action: Plain) -> Plain:
        return {
            "action": action,
            "at": self.time(),
            "held": frozenset(HELD if self.one(True, True, True, True, False) else HELD[:1]),
            "state": self.one(*STATES),
            "used": self.one(None, *range(9)) if action["limit"] else None,
            "obstacle": self.one("", "", "", "", "Somebody holds it."),
        }


# ── the same for the product ─────────────────────────────────────────────────────────────────────────────────────


def action_of(plain: Plain) -> Action:
    return Action(said="do it", **plain)


def catalogue_of(world: Plain) -> Catalogue:
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
    versions = [
        FlagVersion(
            id=one["id"],
            flag_id=flag["id"],
            number=number,
            rules=[_rule(rule) for rule in one["rules"]],
            killed=one["killed"],
            created_at=one["created_at"],
            created_by="",
            reason="",
        )
        for flag in world["flags"].values()
        for number, one in enumerate(flag["versions"], 1)
    ]
    return catalogues.build(next(_epochs), *_plans(shared, None), rows, versions)


def history_of(world: Plain, tenant: Plain) -> History:
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
            kind(tenant_id=tenant["id"], by_name="Olga", reason="Test", **_columns(row))
            for row in tenant[name]
        ]
        for name, kind in kinds.items()
    }
    own = _plans([plan for plan in world["plans"] if plan["own"]], tenant["id"])
    return History(
        tenant["id"],
        rows["plan"],
        rows["addon"],
        rows["override"],
        rows["billing"],
        rows["flag"],
        rows["trait"],
        *own,
    )


def _columns(row: Plain) -> Plain:
    names = {"version": "plan_version_id"}
    found = {names.get(name, name): value for name, value in row.items()}
    if row.get("target") == "limit":
        amount, hard = row["value"]
        found["value"] = {"amount": amount, "hard": hard}
    return found


def _plans(plans: list[Plain], for_tenant: str | None) -> tuple[list[Plan], list[PlanVersion]]:
    rows = [
        Plan(
            id=plan["id"],
            key=plan["key"],
            name=plan["key"].capitalize(),
            sentence="",
            kind=plan["kind"],
            position=place,
            for_tenant=for_tenant,
            created_by="",
        )
        for place, plan in enumerate(plans)
    ]
    versions = [
        PlanVersion(
            id=one["id"],
            plan_id=plan["id"],
            for_tenant=for_tenant,
            number=one["number"],
            status="published",
            features=one["features"],
            limits={name: {"amount": amount, "hard": hard} for name, (amount, hard) in one["limits"].items()},
            moves=one["moves"],
            effective_at=one["effective_at"],
            published_at=one["effective_at"],
            created_by="",
        )
        for plan in plans
        for one in plan["versions"]
    ]
    return rows, versions


def _rule(rule: Plain) -> Plain:
    found: Plain = {"kind": rule["kind"], "values": rule["values"], "percent": rule["percent"]}
    for name, side in (("from", "starts_at"), ("until", "ends_at")):
        if rule[name] is not None:
            found[side] = rule[name].isoformat()
    return found
