"""What the published rules say, told a second time and naively: over plain dicts, one question at a time, nothing kept.

Knows nothing of how the product does it. Written from the rules as the docstrings of `shared.entitlements` and the
declaration of actions state them.
"""

import hashlib
from datetime import datetime
from typing import Any

Plain = dict[str, Any]
CLOSED = {
    "deleted": "tenant_deleted",
    "pending_verification": "tenant_unverified",
    "suspended": "tenant_suspended",
}
YES = ("allowed", "billing_grace", "limit_warned")


def answer(world: Plain, tenant: Plain, asked: Plain) -> str:
    """The reason. `asked`: action, at, held (permissions), state (of the tenant), used (None: not counted), obstacle."""
    action, at = asked["action"], asked["at"]
    if action["permission"] not in asked["held"]:
        return "missing_permission"
    closed = CLOSED.get(asked["state"])
    if closed == "tenant_unverified" and action["unverified_ok"]:
        closed = None
    if closed:
        return closed
    bill = status(tenant, at)
    if not action["cleans_up"]:
        if bill == "read_only" and action["writes"]:
            return "billing_read_only"
        remaining = features(world, tenant, at)
        if action["feature"] and action["feature"] not in remaining:
            if bill == "none":
                return "billing_none"
            return "trial_ended" if action["feature"] in entitled(world, tenant, at) else "not_in_plan"
        if action["flag"]:
            required = world["flags"].get(action["flag"], {}).get("required", "")
            if required and required not in remaining:
                return "not_in_plan"
            if not exposed(world, tenant, action["flag"], at):
                return "flag_off"
    warned = "allowed"
    if bill == "grace" and action["writes"] and not action["cleans_up"]:
        warned = "billing_grace"
    if action["limit"] and asked["used"] is not None:
        amount, hard = limits(world, tenant, at)[action["limit"]]
        if amount is not None and asked["used"] >= amount:
            if hard:
                return "limit_reached"
            warned = "limit_warned"
    return "object_state" if asked["obstacle"] else warned


def holding(rows: list[Plain], at: datetime) -> list[Plain]:
    """From its start to before its end, unless somebody closed it; in the order in which they started."""
    found = []
    for row in rows:
        begun = row["starts_at"] <= at
        ended = row["ends_at"] is not None and at >= row["ends_at"]
        closed = row["closed_at"] is not None and at >= row["closed_at"]
        if begun and not ended and not closed:
            found.append(row)
    return sorted(found, key=lambda row: (row["starts_at"], row["created_at"]))


def latest(rows: list[Plain], at: datetime) -> Plain | None:
    found = holding(rows, at)
    return found[-1] if found else None


def latest_by(rows: list[Plain], at: datetime, name: str) -> dict[Any, Plain]:
    return {row[name]: row for row in holding(rows, at)}


def status(tenant: Plain, at: datetime) -> str:
    row = latest(tenant["billing"], at)
    return row["status"] if row else "active"


def version_of(world: Plain, version_id: str, at: datetime) -> tuple[str, Plain]:
    """Key of the plan, and what somebody who was once given this version has now."""
    for plan in world["plans"]:
        for given in plan["versions"]:
            if given["id"] == version_id:
                has = given
                for later in plan["versions"]:
                    if later["moves"] and later["effective_at"] <= at and later["number"] > has["number"]:
                        has = later
                return plan["key"], has
    raise KeyError(version_id)


def free(world: Plain, at: datetime) -> Plain:
    """What remains when nobody pays: the newest version of the plan "free" that is in effect."""
    (plan,) = [one for one in world["plans"] if one["key"] == "free" and not one["own"]]
    effective = [one for one in plan["versions"] if one["effective_at"] <= at]
    return max(effective, key=lambda one: one["number"])


def plan_of(world: Plain, tenant: Plain, at: datetime) -> tuple[str, Plain]:
    row = latest(tenant["plan"], at)
    return version_of(world, row["version"], at) if row else ("free", free(world, at))


def entitled(world: Plain, tenant: Plain, at: datetime) -> set[str]:
    """By plan, add-ons and overrides, whatever the bill and the trial say."""
    _, version = plan_of(world, tenant, at)
    found = set(version["features"])
    for row in holding(tenant["addon"], at):
        found.update(version_of(world, row["version"], at)[1]["features"])
    for (target, name), row in _overrides(tenant, at).items():
        if target == "feature" and row["value"]:
            found.add(name)
        if target == "feature" and not row["value"]:
            found.discard(name)
    return found


def features(world: Plain, tenant: Plain, at: datetime) -> set[str]:
    found = entitled(world, tenant, at)
    return found & set(free(world, at)["features"]) if fallen(tenant, at) else found


def fallen(tenant: Plain, at: datetime) -> bool:
    row = latest(tenant["plan"], at)
    over = row is not None and row["trial_ends_at"] is not None and at >= row["trial_ends_at"]
    return over or status(tenant, at) == "none"


def limits(world: Plain, tenant: Plain, at: datetime) -> dict[str, tuple[int | None, bool]]:
    """Amount (None: unlimited), and whether it refuses rather than warns."""
    _, version = plan_of(world, tenant, at)
    found = {}
    for name in world["limits"]:
        amount, hard = version["limits"].get(name, (0, True))
        bought = (latest(tenant["plan"], at) or {}).get("seats") if name == "members" else None
        if bought is not None and (amount is None or bought < amount):
            amount = bought
        for row in holding(tenant["addon"], at):
            added, _ = version_of(world, row["version"], at)[1]["limits"].get(name, (0, True))
            amount = None if amount is None or added is None else amount + added * row["quantity"]
        override = _overrides(tenant, at).get(("limit", name))
        if override is not None:
            amount, hard = override["value"]
        if fallen(tenant, at):
            least, firm = free(world, at)["limits"].get(name, (0, True))
            if least is not None and (amount is None or least < amount):
                amount, hard = least, firm
        found[name] = (amount, hard)
    return found


def flags(world: Plain, tenant: Plain, at: datetime) -> set[str]:
    """Those that are on, and not held back by the feature they require."""
    has = features(world, tenant, at)
    return {
        name
        for name, flag in world["flags"].items()
        if exposed(world, tenant, name, at) and (not flag["required"] or flag["required"] in has)
    }


def exposed(world: Plain, tenant: Plain, name: str, at: datetime) -> bool:
    """By its rules, the tenant's own word and the kill switch; what it requires is another question."""
    flag = world["flags"].get(name)
    if flag is None or (flag["retired_at"] is not None and at >= flag["retired_at"]):
        return False
    said = [one for one in flag["versions"] if one["created_at"] <= at]
    if not said or said[-1]["killed"]:
        return False
    word = latest_by(tenant["flag"], at, "flag").get(name)
    if word is not None and not word["enabled"]:
        return False
    return any(_matches(world, tenant, name, rule, at) for rule in said[-1]["rules"])


def _matches(world: Plain, tenant: Plain, flag: str, rule: Plain, at: datetime) -> bool:
    if rule["from"] is not None and at < rule["from"]:
        return False
    if rule["until"] is not None and at >= rule["until"]:
        return False
    traits = {name: row["value"] for name, row in latest_by(tenant["trait"], at, "name").items()}
    kind = rule["kind"]
    if kind == "allowed":
        word = latest_by(tenant["flag"], at, "flag").get(flag)
        return word is not None and word["enabled"]
    if kind == "percentage":
        place = int(hashlib.sha256(f"{flag}:{tenant['id']}".encode()).hexdigest()[:16], 16) % 10_000
        return place < round(rule["percent"] * 100)
    if kind == "plan":
        return plan_of(world, tenant, at)[0] in rule["values"]
    if kind in ("beta", "internal"):
        return traits.get(kind) == "yes"
    return kind == "everyone" or traits.get(kind) in rule["values"]


def _overrides(tenant: Plain, at: datetime) -> dict[tuple[str, str], Plain]:
    return {(row["target"], row["name"]): row for row in holding(tenant["override"], at)}
