"""The flag pages with forged arguments and outdated tabs."""

from typing import Any

import pytest

from admin_app.pages.audit.state import OperatorEventsState
from admin_app.pages.flag.state import FlagPageState
from admin_app.pages.flags import FlagsState
from shared.backoffice import flag_admin
from shared.backoffice.reasons import state_reason
from shared.core.errors import Conflict, Invalid, NotFound, Refused
from shared.ui.edit_conflict import EditConflict
from tests.conftest import Cast, Operating
from tests.support.entitlements import flag_fixtures

PLAIN = {"kind": "everyone", "value": "", "percent": "", "starts_at": "", "ends_at": ""}


async def send_event(state: Any, name: str, *args: Any) -> Any:
    handler: Any = type(state).event_handlers[name].fn
    return await handler(state, *args)


async def open_flag_page(operator: Operating, key: str) -> Any:
    state = operator.opens(FlagPageState, path=f"/flags/{key}")
    await send_event(state, "load")
    return state


async def get_version_number(cast: Cast, key: str) -> int:
    async with cast.olga.octx() as octx:
        return (await flag_admin.get_flag(octx, key)).flag.version.number


async def test_rules_are_drafted_simulated_and_saved(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "region", "values": ["eu", "us"]})
    page = await open_flag_page(cast.olga, key)
    await send_event(page, "edit_rules")
    assert [rule.text for rule in page.draft_rules] == ["the region eu", "the region us"]
    await send_event(page, "remove_rule", "0")
    await send_event(page, "add_rule", {**PLAIN, "kind": "region", "value": "ap"})
    for percent in ("10", "15"):  # the second one replaces the first
        await send_event(page, "add_rule", {**PLAIN, "kind": "percentage", "percent": percent})
    await send_event(page, "add_rule", {**PLAIN, "kind": "beta", "starts_at": "2026-12-01T09:00"})
    await send_event(page, "preview_rules")
    assert page.dialog == "save"
    await send_event(page, "save_rules", {"reason": "Step by step", "row_version": str(page.draft_version)})
    assert (page.dialog, page.is_editing) == ("", False)
    assert [rule.text for rule in page.rules] == [
        "the regions ap, us",
        "15 % of all tenants",
        "beta tenants, from 1 December 2026, 09:00 UTC",
    ]
    assert page.versions[0].reason == "Step by step"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "nobody"},
        {"kind": "plan", "value": "gold"},
        {"kind": "plan", "value": ""},
        {"kind": "percentage", "percent": ""},
        {"kind": "percentage", "percent": "half"},
        {"kind": "percentage", "percent": "101"},
        {"kind": "percentage", "percent": "nan"},
        {"starts_at": "soon"},
        {"starts_at": "2026-12-02T09:00", "ends_at": "2026-12-01T09:00"},
        {"tenant_id": "ten_x"},
        {"percent": 5},
    ],
)
async def test_invalid_rule_leaves_the_draft_unchanged(cast: Cast, wrong: dict[str, Any]) -> None:
    page = await open_flag_page(cast.olga, await flag_fixtures.create_flag(cast))
    await send_event(page, "edit_rules")
    with pytest.raises(Invalid):
        await send_event(page, "add_rule", PLAIN | wrong)
    assert page.draft_rules == []


@pytest.mark.parametrize("place", ["1", "-1", "x", "", 0, None, [0]])
async def test_removing_a_rule_outside_the_draft_is_refused(cast: Cast, place: Any) -> None:
    page = await open_flag_page(cast.olga, await flag_fixtures.create_flag(cast, {"kind": "everyone"}))
    await send_event(page, "edit_rules")
    with pytest.raises(Invalid):
        await send_event(page, "remove_rule", place)
    assert len(page.draft_rules) == 1


async def test_draft_of_an_older_version_is_not_saved(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"})
    page = await open_flag_page(cast.olga, key)
    await send_event(page, "edit_rules")
    await flag_fixtures.change_rules(cast, key, [{"kind": "beta"}])
    await send_event(page, "load")  # as the page does when it is told of the change
    assert page.is_draft_outdated
    assert [rule.text for rule in page.draft_rules] == ["everyone"]
    row_version = str(page.draft_version)
    await send_event(page, "save_rules", {"reason": "Too late", "row_version": row_version})
    conflict = await page.get_state(EditConflict)
    assert [(row.label, row.current, row.submitted) for row in conflict.differences] == [
        ("On for", "beta tenants", "everyone")
    ]
    assert await get_version_number(cast, key) == 3
    await send_event(
        page, "save_rules", {"reason": "Mine, ticket 4471", "row_version": str(conflict.version)}
    )
    assert await get_version_number(cast, key) == 4


async def test_draft_for_one_flag_is_not_saved_for_another(cast: Cast) -> None:
    key, other = [await flag_fixtures.create_flag(cast, {"kind": "beta"}) for _ in range(2)]
    page = await open_flag_page(cast.olga, key)
    await send_event(page, "edit_rules")
    await send_event(page, "add_rule", PLAIN)
    moved = cast.olga.opens(FlagPageState, path=f"/flags/{other}")
    page.router = moved.router
    await send_event(page, "load")
    assert (page.header.key, page.is_editing, page.draft_rules) == (other, False, [])
    assert await get_version_number(cast, other) == 2


async def test_kill_revive_and_retire_require_the_exact_key(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"})
    page = await open_flag_page(cast.olga, key)
    for confirm in ("", key[:-1], key.upper(), "Trying it"):
        for switch in ("kill_flag", "revive_flag", "retire_flag"):
            versions = {"row_version": "2"} if switch == "revive_flag" else {}
            with pytest.raises(Invalid, match="doesn’t match"):
                await send_event(page, switch, {"reason": "It breaks things", "confirm": confirm, **versions})
    await send_event(page, "kill_flag", {"reason": "It breaks things", "confirm": key})
    assert page.header.killed
    assert page.header.killed_text == "By Olga: It breaks things"
    assert page.metrics.exposed.startswith("0 of ")
    assert page.exposed == []
    with pytest.raises(Conflict, match="already killed"):  # a second click
        await send_event(page, "kill_flag", {"reason": "It breaks things", "confirm": key})
    await send_event(page, "open_dialog", "revive")
    assert (page.impact.before, page.dialog) == ("0", "revive")
    await send_event(
        page,
        "revive_flag",
        {"reason": "Mended, ticket 4471", "confirm": key, "row_version": str(page.version_number)},
    )
    assert not page.header.killed


async def test_cleanup_date_is_moved_and_flag_retired(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast)
    page = await open_flag_page(cast.olga, key)
    for day in ("", "soon", "2020-01-01"):
        with pytest.raises(Invalid):
            await send_event(
                page, "move_cleanup", {"cleanup_by": day, "reason": "Longer, ticket 4471", "row_version": "1"}
            )
    await send_event(
        page,
        "move_cleanup",
        {"cleanup_by": "2030-01-01", "reason": "Longer, ticket 4471", "row_version": "1"},
    )
    assert page.header.cleanup_by == "1 January 2030"
    await send_event(page, "retire_flag", {"reason": "Done, ticket 4471", "confirm": key})
    assert page.header.retired
    listed = cast.olga.opens(FlagsState, path="/flags")
    await send_event(listed, "load")
    row = next(row for row in listed.rows if row.key == key)
    assert (row.state, row.exposed) == ("Retired", "0")


async def test_operator_audit_log_shows_every_change_of_a_flag(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"})
    async with flag_fixtures.flag_killed(cast, key):
        pass
    async with cast.olga.octx() as octx:
        was = (await flag_admin.get_flag(octx, key)).flag.row.cleanup_by
        await flag_admin.change_cleanup_date(
            octx, key, 1, was.replace(year=2030), state_reason(octx, "Longer, ticket 4471")
        )
        await flag_admin.retire_flag(octx, key, state_reason(octx, "Done, ticket 4471"))
    page = cast.olga.opens(OperatorEventsState, path="/audit")
    await send_event(page, "load")
    rows = [row for row in page.rows if row.subject == key]
    assert [row.action_text for row in rows] == [
        "retired the flag",
        "changed the removal date of the flag",
        "revived the flag",
        "killed the flag",
        "changed the rules of the flag",
        "created the flag",
    ]
    assert [(change.before, change.after) for change in rows[3].changes] == [("everyone", "no one: killed")]


async def test_page_with_an_invalid_key_is_not_found(cast: Cast) -> None:
    for path in ("Not-a-key", "", "a/b", "x" * 41):
        page = cast.olga.opens(FlagPageState, path=f"/flags/{path}")
        await send_event(page, "load")  # says so on the page itself
        assert not page.loaded
        with pytest.raises(NotFound):
            await send_event(page, "kill_flag", {"reason": "It breaks things", "confirm": path})


async def test_flag_handlers_are_refused_for_support(cast: Cast) -> None:
    key = await flag_fixtures.create_flag(cast, {"kind": "everyone"})
    page = await open_flag_page(cast.sam, key)
    await send_event(page, "edit_rules")
    for name, args in (
        ("save_rules", ({"reason": "R, ticket 4471", "row_version": "2"},)),
        ("kill_flag", ({"reason": "R, ticket 4471", "confirm": key},)),
        (
            "move_cleanup",
            ({"reason": "R, ticket 4471", "cleanup_by": "2030-01-01", "row_version": "1"},),
        ),
        ("retire_flag", ({"reason": "R, ticket 4471", "confirm": key},)),
    ):
        with pytest.raises(Refused, match="change flags"):
            await send_event(page, name, *args)
    assert await get_version_number(cast, key) == 2
