"""Administration of feature flags: fields, rules, versions, concurrent changes, kill and revival."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from shared.audit import audit_log
from shared.backoffice import flag_admin
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.errors import (
    ChangedMeanwhile,
    Conflict,
    DomainError,
    FieldDifference,
    Invalid,
    NotFound,
    Refused,
)
from shared.core.ids import new_id
from shared.entitlements import flag_rules, flags
from tests.conftest import Cast
from tests.support.entitlements import flag_fixtures

EVERYONE = [{"kind": "everyone"}]
PLANS = {"free", "pro"}
TODAY = now().date()
AHEAD = TODAY + timedelta(days=30)


def new_key() -> str:
    return f"try_{new_id('x')[-10:]}"


async def create_flag(cast: Cast, key: str, **changes: Any) -> flag_admin.FlagSummary:
    defaults = {
        "title": "Trying it",
        "sentence": "Something new.",
        "owner": "Access team",
        "cleanup_by": AHEAD,
    }
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, changes.pop("reason", "To try it"))
        return await flag_admin.create_flag(octx, key, **{**defaults, "reason": reason, **changes})


async def get_newest(cast: Cast, key: str) -> flag_admin.FlagSummary:
    async with cast.olga.octx() as octx:
        return (await flag_admin.get_flag(octx, key)).flag


async def get_last_event(cast: Cast, key: str) -> Any:
    async with cast.olga.octx() as octx:
        lines = await audit_log.list_operator_events(octx, limit=100)
    return next(line for line in lines if line.object_id == key)


# ── making one ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_new_flag_is_off_and_recorded_in_the_audit_log(cast: Cast) -> None:
    key = new_key()
    made = await create_flag(cast, key, required_feature="api_access")
    assert (made.version.number, made.version.rules, made.version.killed) == (1, [], False)
    assert not made.is_overdue
    assert not made.is_in_code
    line = await get_last_event(cast, key)
    assert (line.action, line.reason) == ("flag.created", "To try it")
    assert line.details == {
        "owner": "Access team",
        "clean_up_by": AHEAD.isoformat(),
        "requires": "api_access",
    }
    assert not await flag_fixtures.has_flag(cast.ann, key)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"owner": "  "}, "owner"),
        ({"owner": "x" * 61}, "owner"),
        ({"cleanup_by": None}, "cleanup_by"),
        ({"cleanup_by": TODAY}, "cleanup_by"),
        ({"cleanup_by": TODAY - timedelta(days=1)}, "cleanup_by"),
        ({"title": ""}, "title"),
        ({"sentence": ""}, "sentence"),
        ({"required_feature": "flying"}, "required_feature"),
        ({"reason": " "}, "reason"),
    ],
)
async def test_flag_creation_is_refused_when_a_field_is_missing(
    cast: Cast, changes: dict[str, Any], field: str
) -> None:
    key = new_key()
    with pytest.raises(Invalid) as caught:
        await create_flag(cast, key, **changes)
    assert caught.value.fields.keys() == {field}
    assert caught.value.next_step
    with pytest.raises(NotFound):
        await get_newest(cast, key)


@pytest.mark.parametrize("key", ["", "Upper", "1st", "with-dash", "x" * 41, "a b", "drop;"])
async def test_flag_creation_is_refused_for_an_invalid_key(cast: Cast, key: str) -> None:
    with pytest.raises(Invalid, match="key"):
        await create_flag(cast, key)


async def test_concurrent_creation_of_a_flag_key_succeeds_once(cast: Cast) -> None:
    key = new_key()
    outcomes = await asyncio.gather(create_flag(cast, key), create_flag(cast, key), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "FlagSummary"]
    with pytest.raises(Conflict):
        await create_flag(cast, key)


# ── rules ────────────────────────────────────────────────────────────────────────────────────────────────────────

NOON, LATER = "2026-12-01T12:00:00+00:00", "2026-12-02T12:00:00+00:00"


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "everyone"},
        {"kind": "internal"},
        {"kind": "beta", "starts_at": NOON},
        {"kind": "allowed", "ends_at": NOON},
        {"kind": "plan", "values": ["free", "pro"]},
        {"kind": "cohort", "values": ["small"]},
        {"kind": "industry", "values": ["finance"], "starts_at": NOON, "ends_at": LATER},
        {"kind": "region", "values": ["eu", "us"]},
        {"kind": "percentage", "percent": 0.0},
        {"kind": "percentage", "percent": 100},
        {"kind": "percentage", "percent": 0.01},
    ],
)
def test_valid_rule_is_parsed_and_described(rule: dict[str, Any]) -> None:
    (parsed,) = flag_rules.parse_rules([rule], PLANS)
    assert parsed.keys() == rule.keys()
    assert flag_rules.parse_rules([parsed], PLANS) == [parsed]  # what is stored can be read again
    assert flag_rules.describe_rule(parsed)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"kind": "nobody"},
        {"kind": "everyone", "values": ["x"]},
        {"kind": "everyone", "percent": 5.0},
        {"kind": "everyone", "tenant_id": "ten_x"},
        {"kind": "plan"},
        {"kind": "plan", "values": []},
        {"kind": "plan", "values": ["gold"]},
        {"kind": "plan", "values": "pro"},
        {"kind": "cohort", "values": ["tiny"]},
        {"kind": "region", "values": ["eu", "moon"]},
        {"kind": "percentage"},
        {"kind": "percentage", "percent": -0.01},
        {"kind": "percentage", "percent": 100.01},
        {"kind": "percentage", "percent": 0.001},
        {"kind": "percentage", "percent": float("nan")},
        {"kind": "percentage", "percent": float("inf")},
        {"kind": "percentage", "percent": "15"},
        {"kind": "percentage", "percent": True},
        {"kind": "everyone", "starts_at": LATER, "ends_at": NOON},
        {"kind": "everyone", "starts_at": NOON, "ends_at": NOON},
        {"kind": "everyone", "starts_at": "2026-12-01T12:00:00"},
        {"kind": "everyone", "starts_at": "tomorrow"},
        {"kind": "everyone", "starts_at": 1},
        "everyone",
        None,
    ],
)
def test_invalid_rule_is_refused_with_its_number(rule: Any) -> None:
    with pytest.raises(Invalid, match="Rule 2") as caught:
        flag_rules.parse_rules([{"kind": "internal"}, rule], PLANS)
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("raw_rules", [None, "everyone", {"kind": "everyone"}, EVERYONE * 2, EVERYONE * 51])
def test_invalid_list_of_rules_is_refused(raw_rules: Any) -> None:
    with pytest.raises(Invalid):
        flag_rules.parse_rules(raw_rules, PLANS)


def test_rules_split_by_value_merge_into_the_same_rules() -> None:
    stored = [
        {"kind": "region", "values": ["eu", "us"], "starts_at": NOON},
        {"kind": "everyone"},
        {"kind": "region", "values": ["ap"]},
    ]
    apart = flag_rules.split_rules(stored)
    assert [rule.get("values") for rule in apart] == [["eu"], ["us"], None, ["ap"]]
    assert flag_rules.merge_rules(apart) == stored


# ── changing, killing, cleaning up ───────────────────────────────────────────────────────────────────────────────


async def test_rule_change_adds_a_version(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    async with cast.olga.octx() as octx:
        await flag_admin.change_rules(
            octx, key, 2, [{"kind": "beta"}], state_reason(octx, "Too early for everyone")
        )
    async with cast.olga.octx() as octx:
        details = await flag_admin.get_flag(octx, key)
    assert [(version.number, version.rules) for version in details.versions] == [
        (3, [{"kind": "beta"}]),
        (2, EVERYONE),
        (1, []),
    ]
    assert (details.versions[0].created_by, details.versions[0].reason) == ("Olga", "Too early for everyone")
    line = await get_last_event(cast, key)
    assert line.action == "flag.rules_changed"
    assert line.details == {
        "version": 3,
        "before": {"on_for": "everyone"},
        "after": {"on_for": "beta tenants"},
    }


async def test_rule_change_from_an_older_version_is_refused(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    for number in (1, 3, 0):
        with pytest.raises(ChangedMeanwhile, match="Olga changed") as conflict:
            async with cast.olga.octx() as octx:
                await flag_admin.change_rules(
                    octx, key, number, [{"kind": "beta"}], state_reason(octx, "Stale, ticket 4471")
                )
        assert conflict.value.differences == (
            FieldDifference(label="On for", current="everyone", submitted="beta tenants"),
        )
        assert conflict.value.version == 2
    assert (await get_newest(cast, key)).version.number == 2


async def test_concurrent_rule_changes_succeed_once(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)

    async def change_rules(kind: str) -> object:
        async with cast.olga.octx() as octx:
            return await flag_admin.change_rules(
                octx, key, 2, [{"kind": kind}], state_reason(octx, f"For {kind}")
            )

    outcomes = await asyncio.gather(
        *(change_rules(kind) for kind in ("beta", "internal")), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ChangedMeanwhile", "FlagVersion"]
    async with cast.olga.octx() as octx:
        versions = (await flag_admin.get_flag(octx, key)).versions
    assert [version.number for version in versions] == [3, 2, 1]
    assert versions[0] in outcomes


async def test_rule_change_is_refused_for_invalid_or_equal_rules(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    for new_rules, kind in (([{"kind": "plan", "values": ["gold"]}], Invalid), (EVERYONE, Conflict)):
        with pytest.raises(kind):
            async with cast.olga.octx() as octx:
                await flag_admin.change_rules(octx, key, 2, new_rules, state_reason(octx, "Try, ticket 4471"))
    with pytest.raises(Invalid, match="reason"):
        async with cast.olga.octx() as octx:
            await flag_admin.change_rules(octx, key, 2, [{"kind": "beta"}], state_reason(octx, "  "))
    assert (await get_newest(cast, key)).version.number == 2


async def test_killed_flag_keeps_its_rules_for_revival(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    async with flag_fixtures.flag_killed(cast, key):
        assert not await flag_fixtures.has_flag(cast.ann, key)
        killed = await get_newest(cast, key)
        assert (killed.version.killed, killed.version.rules) == (True, EVERYONE)
        line = await get_last_event(cast, key)
        assert (line.action, line.reason) == ("flag.killed", "It breaks things")
        with pytest.raises(Conflict, match="already killed"):
            async with cast.olga.octx() as octx:
                await flag_admin.kill_flag(octx, key, state_reason(octx, "Once more"))
        # New rules do not open it again behind the back of whoever killed it.
        await flag_fixtures.change_rules(cast, key, [{"kind": "everyone"}, {"kind": "beta"}])
        assert not await flag_fixtures.has_flag(cast.ann, key)
    assert await flag_fixtures.has_flag(cast.ann, key)
    assert (await get_last_event(cast, key)).action == "flag.revived"


async def test_kill_succeeds_beside_a_concurrent_rule_change(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)

    async def change_rules() -> None:
        await flag_fixtures.change_rules(cast, key, [{"kind": "beta"}])

    async def kill_flag() -> None:
        async with cast.olga.octx() as octx:
            await flag_admin.kill_flag(octx, key, state_reason(octx, "It breaks things"))

    outcomes = await asyncio.gather(change_rules(), kill_flag(), return_exceptions=True)
    assert outcomes[1] is None
    assert isinstance(outcomes[0], Conflict | None)
    assert (await get_newest(cast, key)).version.killed


async def test_revival_from_an_older_version_is_refused(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    with pytest.raises(Conflict, match="isn’t killed"):
        async with cast.olga.octx() as octx:
            await flag_admin.revive_flag(octx, key, 2, state_reason(octx, "Not needed"))
    async with flag_fixtures.flag_killed(cast, key):
        with pytest.raises(ChangedMeanwhile, match="Olga changed"):
            async with cast.olga.octx() as octx:
                await flag_admin.revive_flag(octx, key, 2, state_reason(octx, "From an old page"))
        assert (await get_newest(cast, key)).version.killed


async def test_cleanup_date_moves_only_ahead_and_with_a_reason(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    was = (await get_newest(cast, key)).row.cleanup_by
    new_date = was + timedelta(days=30)

    async def move_date(version: int, to: date | None, reason: str = "Needs another month") -> None:
        async with cast.olga.octx() as octx:
            await flag_admin.change_cleanup_date(octx, key, version, to, state_reason(octx, reason))

    for day in (None, TODAY, TODAY - timedelta(days=1)):
        with pytest.raises(Invalid, match="in the future"):
            await move_date(1, day)
    with pytest.raises(Invalid, match="reason"):
        await move_date(1, new_date, "")
    await move_date(1, new_date)
    line = await get_last_event(cast, key)
    days = {"before": {"clean_up_by": was.isoformat()}, "after": {"clean_up_by": new_date.isoformat()}}
    assert line.details == days
    with pytest.raises(ChangedMeanwhile, match="Olga changed the removal date") as conflict:
        await move_date(1, new_date + timedelta(days=1))
    later = str(new_date + timedelta(days=1))
    assert conflict.value.differences == (
        FieldDifference(label="Remove by", current=str(new_date), submitted=later),
    )
    assert (await get_newest(cast, key)).row.cleanup_by == new_date


async def test_flag_cannot_be_retired_while_the_code_uses_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    monkeypatch.setitem(flags.FLAGS, key, flags.Flag(key, "T", "S", "O", AHEAD))
    with pytest.raises(Conflict, match="code still uses"):
        async with cast.olga.octx() as octx:
            await flag_admin.retire_flag(octx, key, state_reason(octx, "Done, ticket 4471"))
    monkeypatch.undo()
    async with cast.olga.octx() as octx:
        await flag_admin.retire_flag(octx, key, state_reason(octx, "Done, ticket 4471"))
    assert not await flag_fixtures.has_flag(cast.ann, key)
    assert (await get_last_event(cast, key)).action == "flag.retired"
    for again in (
        lambda octx: flag_admin.change_rules(
            octx, key, 2, [{"kind": "beta"}], state_reason(octx, "Late, ticket 4471")
        ),
        lambda octx: flag_admin.kill_flag(octx, key, state_reason(octx, "Late, ticket 4471")),
        lambda octx: flag_admin.revive_flag(octx, key, 2, state_reason(octx, "Late, ticket 4471")),
        lambda octx: flag_admin.change_cleanup_date(
            octx, key, 1, AHEAD + timedelta(days=1), state_reason(octx, "Late, ticket 4471")
        ),
        lambda octx: flag_admin.retire_flag(octx, key, state_reason(octx, "Late, ticket 4471")),
    ):
        with pytest.raises(Conflict, match="is retired"):
            async with cast.olga.octx() as octx:
                await again(octx)
    with pytest.raises(Conflict, match="already"):
        await create_flag(cast, key)


async def test_flags_are_listed_overdue_first_and_retired_last(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_, gone, late = [await flag_fixtures.create_flag(cast) for _ in range(3)]
    async with cast.olga.octx() as octx:
        await flag_admin.retire_flag(octx, gone, state_reason(octx, "Done, ticket 4471"))
        await flag_admin.change_cleanup_date(
            octx, open_, 1, AHEAD + timedelta(days=9), state_reason(octx, "Later, ticket 4471")
        )
    monkeypatch.setattr(flag_admin, "now", lambda: now() + timedelta(days=33))
    async with cast.olga.octx() as octx:
        listed = [(summary.key, summary.is_overdue) for summary in await flag_admin.list_flags(octx)]
    assert (late, True) in listed
    assert (open_, False) in listed
    assert (gone, False) in listed
    assert listed.index((late, True)) < listed.index((open_, False)) < listed.index((gone, False))


async def test_support_reads_flags_and_cannot_change_them(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, *EVERYONE)
    async with cast.sam.octx() as octx:
        assert key in {summary.key for summary in await flag_admin.list_flags(octx)}
        assert (await flag_admin.get_flag(octx, key)).flag.key == key
    for change in (
        lambda octx: flag_admin.create_flag(
            octx, new_key(), "T", "S", "O", AHEAD, state_reason(octx, "R, ticket 4471")
        ),
        lambda octx: flag_admin.change_rules(
            octx, key, 2, [{"kind": "beta"}], state_reason(octx, "R, ticket 4471")
        ),
        lambda octx: flag_admin.kill_flag(octx, key, state_reason(octx, "R, ticket 4471")),
        lambda octx: flag_admin.revive_flag(octx, key, 2, state_reason(octx, "R, ticket 4471")),
        lambda octx: flag_admin.change_cleanup_date(
            octx, key, 1, AHEAD + timedelta(days=1), state_reason(octx, "R, ticket 4471")
        ),
        lambda octx: flag_admin.retire_flag(octx, key, state_reason(octx, "R, ticket 4471")),
    ):
        with pytest.raises(Refused, match="change flags"):
            async with cast.sam.octx() as octx:
                await change(octx)
    assert (await get_newest(cast, key)).version.number == 2


async def test_unknown_flag_is_not_found(cast: Cast) -> None:
    for ask in (
        lambda octx: flag_admin.get_flag(octx, "nothing"),
        lambda octx: flag_admin.kill_flag(octx, "nothing", state_reason(octx, "R, ticket 4471")),
        lambda octx: flag_admin.change_rules(
            octx, "nothing", 1, EVERYONE, state_reason(octx, "R, ticket 4471")
        ),
    ):
        with pytest.raises(DomainError, match="not_found"):
            async with cast.olga.octx() as octx:
                await ask(octx)
