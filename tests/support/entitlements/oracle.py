"""What the published rules say, told a second time and naively: over plain dicts, one question at a time, nothing kept.

Knows nothing of how the product does it. Written from the rules as the docstrings of `shared.entitlements` and the
declaration of actions state them.
"""

import hashlib
from datetime import datetime
from typing import Any

PlainDict = dict[str, Any]
REASON_BY_CLOSED_STATE = {
    "deleted": "tenant_deleted",
    "pending_verification": "tenant_unverified",
    "suspended": "tenant_suspended",
}
ALLOWING_REASONS = ("allowed", "billing_grace", "limit_warned")


def decide_naively(world: PlainDict, tenant: PlainDict, question: PlainDict) -> str:
    """The reason. `asked`: action, at, held (permissions), state (of the tenant), used (None: not counted), obstacle."""
    action, at = question["action"], question["at"]
    if action["permission"] not in question["held"]:
        return "missing_permission"
    closed = REASON_BY_CLOSED_STATE.get(question["state"])
    if closed == "tenant_unverified" and action["allowed_when_unverified"]:
        closed = None
    if closed == "tenant_suspended" and action["allowed_when_suspended"]:
        closed = None
    if closed:
        return closed
    billing_status = get_billing_status(tenant, at)
    if not action["allowed_when_unpaid"]:
        if billing_status == "read_only" and action["writes"]:
            return "billing_read_only"
        remaining = list_features(world, tenant, at)
        if action["feature"] and action["feature"] not in remaining:
            if billing_status == "none":
                return "billing_none"
            return (
                "trial_ended"
                if action["feature"] in list_entitled_features(world, tenant, at)
                else "not_in_plan"
            )
        if action["flag"]:
            required = world["flags"].get(action["flag"], {}).get("required", "")
            if required and required not in remaining:
                return "not_in_plan"
            if not is_exposed(world, tenant, action["flag"], at):
                return "flag_off"
    result = "allowed"
    if billing_status == "grace" and action["writes"] and not action["allowed_when_unpaid"]:
        result = "billing_grace"
    if action["limit"] and question["used"] is not None:
        amount, hard = compute_limits(world, tenant, at)[action["limit"]]
        if amount is not None and question["used"] >= amount:
            if hard:
                return "limit_reached"
            result = "limit_warned"
    return "object_state" if question["obstacle"] else result


def list_active(rows: list[PlainDict], at: datetime) -> list[PlainDict]:
    """From its start to before its end, unless somebody closed it; in the order in which they started."""
    active_rows = []
    for row in rows:
        has_started = row["starts_at"] <= at
        has_ended = row["ends_at"] is not None and at >= row["ends_at"]
        is_closed = row["closed_at"] is not None and at >= row["closed_at"]
        if has_started and not has_ended and not is_closed:
            active_rows.append(row)
    return sorted(active_rows, key=lambda row: (row["starts_at"], row["created_at"]))


def get_latest(rows: list[PlainDict], at: datetime) -> PlainDict | None:
    active_rows = list_active(rows, at)
    return active_rows[-1] if active_rows else None


def get_latest_by(rows: list[PlainDict], at: datetime, name: str) -> dict[Any, PlainDict]:
    return {row[name]: row for row in list_active(rows, at)}


def get_billing_status(tenant: PlainDict, at: datetime) -> str:
    row = get_latest(tenant["billing"], at)
    return row["status"] if row else "active"


def get_version(world: PlainDict, version_id: str, at: datetime) -> tuple[str, PlainDict]:
    """Key of the plan, and what somebody who was once given this version has now."""
    for plan in world["plans"]:
        for version in plan["versions"]:
            if version["id"] == version_id:
                current = version
                for later_version in plan["versions"]:
                    if (
                        later_version["moves"]
                        and later_version["effective_at"] <= at
                        and later_version["number"] > current["number"]
                    ):
                        current = later_version
                return plan["key"], current
    raise KeyError(version_id)


def get_free_version(world: PlainDict, at: datetime) -> PlainDict:
    """What remains when nobody pays: the newest version of the plan "free" that is in effect."""
    (plan,) = [
        candidate for candidate in world["plans"] if candidate["key"] == "free" and not candidate["own"]
    ]
    effective = [version for version in plan["versions"] if version["effective_at"] <= at]
    return max(effective, key=lambda version: version["number"])


def get_plan(world: PlainDict, tenant: PlainDict, at: datetime) -> tuple[str, PlainDict]:
    row = get_latest(tenant["plan"], at)
    return get_version(world, row["version"], at) if row else ("free", get_free_version(world, at))


def list_entitled_features(world: PlainDict, tenant: PlainDict, at: datetime) -> set[str]:
    """By plan, add-ons and overrides, whatever the bill and the trial say."""
    _, version = get_plan(world, tenant, at)
    feature_names = set(version["features"])
    for row in list_active(tenant["addon"], at):
        feature_names.update(get_version(world, row["version"], at)[1]["features"])
    for (target, name), row in _list_overrides(tenant, at).items():
        if target == "feature" and row["value"]:
            feature_names.add(name)
        if target == "feature" and not row["value"]:
            feature_names.discard(name)
    return feature_names


def list_features(world: PlainDict, tenant: PlainDict, at: datetime) -> set[str]:
    feature_names = list_entitled_features(world, tenant, at)
    return (
        feature_names & set(get_free_version(world, at)["features"])
        if has_fallen_to_free(tenant, at)
        else feature_names
    )


def has_fallen_to_free(tenant: PlainDict, at: datetime) -> bool:
    row = get_latest(tenant["plan"], at)
    is_trial_over = row is not None and row["trial_ends_at"] is not None and at >= row["trial_ends_at"]
    return is_trial_over or get_billing_status(tenant, at) == "none"


def compute_limits(world: PlainDict, tenant: PlainDict, at: datetime) -> dict[str, tuple[int | None, bool]]:
    """Amount (None: unlimited), and whether it refuses rather than warns."""
    _, version = get_plan(world, tenant, at)
    limits_by_name = {}
    for name in world["limits"]:
        amount, hard = version["limits"].get(name, (0, True))
        seats = (get_latest(tenant["plan"], at) or {}).get("seats") if name == "members" else None
        if seats is not None and (amount is None or seats < amount):
            amount = seats
        for row in list_active(tenant["addon"], at):
            added, _ = get_version(world, row["version"], at)[1]["limits"].get(name, (0, True))
            amount = None if amount is None or added is None else amount + added * row["quantity"]
        override = _list_overrides(tenant, at).get(("limit", name))
        if override is not None:
            amount, hard = override["value"]
        if has_fallen_to_free(tenant, at):
            free_amount, is_hard = get_free_version(world, at)["limits"].get(name, (0, True))
            if free_amount is not None and (amount is None or free_amount < amount):
                amount, hard = free_amount, is_hard
        limits_by_name[name] = (amount, hard)
    return limits_by_name


def list_flags(world: PlainDict, tenant: PlainDict, at: datetime) -> set[str]:
    """Those that are on, and not held back by the feature they require."""
    feature_names = list_features(world, tenant, at)
    return {
        name
        for name, flag in world["flags"].items()
        if is_exposed(world, tenant, name, at) and (not flag["required"] or flag["required"] in feature_names)
    }


def is_exposed(world: PlainDict, tenant: PlainDict, name: str, at: datetime) -> bool:
    """By its rules, the tenant's own word and the kill switch; what it requires is another question."""
    flag = world["flags"].get(name)
    if flag is None or (flag["retired_at"] is not None and at >= flag["retired_at"]):
        return False
    versions = [version for version in flag["versions"] if version["created_at"] <= at]
    if not versions or versions[-1]["killed"]:
        return False
    override = get_latest_by(tenant["flag"], at, "flag").get(name)
    if override is not None and not override["enabled"]:
        return False
    return any(_matches(world, tenant, name, rule, at) for rule in versions[-1]["rules"])


def _matches(world: PlainDict, tenant: PlainDict, flag: str, rule: PlainDict, at: datetime) -> bool:
    if rule["from"] is not None and at < rule["from"]:
        return False
    if rule["until"] is not None and at >= rule["until"]:
        return False
    traits = {name: row["value"] for name, row in get_latest_by(tenant["trait"], at, "name").items()}
    kind = rule["kind"]
    if kind == "allowed":
        override = get_latest_by(tenant["flag"], at, "flag").get(flag)
        return override is not None and override["enabled"]
    if kind == "percentage":
        bucket = int(hashlib.sha256(f"{flag}:{tenant['id']}".encode()).hexdigest()[:16], 16) % 10_000
        return bucket < round(rule["percent"] * 100)
    if kind == "plan":
        return get_plan(world, tenant, at)[0] in rule["values"]
    if kind in ("beta", "internal"):
        return traits.get(kind) == "yes"
    return kind == "everyone" or traits.get(kind) in rule["values"]


def _list_overrides(tenant: PlainDict, at: datetime) -> dict[tuple[str, str], PlainDict]:
    return {(row["target"], row["name"]): row for row in list_active(tenant["override"], at)}
