"""The access pages of operators: forms, addresses and unknown rows."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter

from admin_app.pages.access.state import AccessState
from admin_app.pages.tenant_rights.state import TenantRightsState
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.core.errors import Invalid, NotFound, Refused
from shared.ui.decision_trace import TraceRow
from tests.conftest import Cast, opens

REASON = "Ticket 4471, as agreed"


def get_handler(page: type[Any], name: str) -> Any:
    return page.event_handlers[name].fn


async def send_event(page: Any, name: str, *payload: Any) -> Any:
    return await get_handler(type(page), name)(page, *payload)


async def open_access_tab(cast: Cast, tenant: str = "") -> Any:
    page = cast.olga.opens(TenantRightsState, path=f"/tenants/{tenant or cast.acme}")
    await send_event(page, "load")
    return page


def open_access_page(cast: Cast, query: str) -> Any:
    return cast.olga.opens(AccessState, path=f"/access?{query}")


def format_time_in(days: int) -> str:
    return (now() + timedelta(days=days)).isoformat()


async def test_access_tab_shows_overrides_and_updates_after_a_change(cast: Cast) -> None:
    page = await open_access_tab(cast)
    assert (page.name, page.summary.plan, page.summary.billing) == ("Acme", "Business version 1", "Active")
    form = {"name": "members", "kind": "soft", "amount": "2", "until": format_time_in(3), "reason": REASON}
    await send_event(page, "override_limit", form)
    (override,) = page.overrides
    assert (override.title, override.value) == ("Members", "2, warns only")
    members = next(limit for limit in page.limits if limit.key == "members")
    assert (members.value, members.used_text, members.tone) == ("2 seats", "3 in use", "bad")
    await send_event(page, "open_dialog", "end", override.id)
    await send_event(page, "end_exception", {"reason": REASON})
    assert (page.overrides, page.dialog) == ([], "")


async def test_plan_change_requires_the_name_of_the_tenant(cast: Cast) -> None:
    page = await open_access_tab(cast)
    form = {"version": "plv_pro_1", "trial_days": "0", "reason": REASON, "confirm": "Globex"}
    with pytest.raises(Invalid) as caught:
        await send_event(page, "change_plan", form)
    assert "confirm" in caught.value.fields
    await send_event(page, "change_plan", form | {"confirm": "Acme"})
    assert page.summary.plan == "Pro version 1"
    with pytest.raises(Invalid):
        await send_event(page, "set_billing_status", {"status": "none", "reason": REASON, "confirm": ""})


@pytest.mark.parametrize(
    ("name", "form", "field"),
    [
        ("override_feature", {"name": "sso", "on": "on", "reason": REASON, "until": ""}, "until"),
        ("override_feature", {"name": "sso", "on": "on", "reason": REASON, "until": "tomorrow"}, "until"),
        ("override_feature", {"name": "sso", "on": "on", "reason": REASON, "until": "2030-01-01T10:00"}, "until"),
        ("override_feature", {"name": "sso", "on": "on", "reason": "", "until": "2030-01-01T10:00Z"}, "reason"),
        ("override_feature", {"name": "sso", "on": "maybe", "reason": REASON, "until": ""}, "on"),
        ("override_feature", {"name": "sso", "on": "on", "reason": REASON, "tenant_id": "ten_x"}, "tenant_id"),
        ("override_limit", {"name": "members", "kind": "hard", "amount": "-1", "reason": REASON,
                            "until": "2030-01-01T10:00Z"}, "amount"),
        ("override_limit", {"name": "members", "kind": "hard", "amount": "", "reason": REASON,
                            "until": "2030-01-01T10:00Z"}, "amount"),
        ("override_limit", {"name": "members", "kind": "hard", "amount": "1e9", "reason": REASON,
                            "until": "2030-01-01T10:00Z"}, "amount"),
        ("add_addon", {"version": "plv_support_1", "quantity": "0", "reason": REASON}, "quantity"),
        ("change_plan", {"version": "plv_pro_1", "trial_days": "٣", "reason": REASON, "confirm": "Acme"},
         "trial_days"),
    ],
)  # fmt: skip
async def test_invalid_form_names_its_field(cast: Cast, name: str, form: dict[str, str], field: str) -> None:
    page = await open_access_tab(cast)
    with pytest.raises(Invalid) as caught:
        await send_event(page, name, form)
    assert field in caught.value.fields
    assert page.overrides == page.addons == []


async def test_dialog_for_an_unknown_row_is_refused(cast: Cast) -> None:
    page = await open_access_tab(cast)
    for dialog, about in (("end", "ovr_other"), ("flag", "nothing"), ("trait", "mood"), ("fly", ""), (7, "")):
        with pytest.raises(Invalid):
            await send_event(page, "open_dialog", dialog, about)
    assert page.dialog == ""


async def test_access_tab_is_read_only_for_support(cast: Cast) -> None:
    page = opens(TenantRightsState, cast.sam.cookie, f"/tenants/{cast.acme}")
    await send_event(page, "load")
    assert page.features
    with pytest.raises(Refused):
        await send_event(page, "add_addon", {"version": "plv_support_1", "quantity": "1", "reason": REASON})
    await send_event(page, "open_dialog", "trait", "region")
    with pytest.raises(Refused):
        await send_event(page, "set_trait", {"value": "eu", "reason": REASON})


async def test_explanation_link_answers_at_once_and_offers_a_permalink(cast: Cast) -> None:
    page = open_access_page(
        cast, f"tenant={cast.acme}&person={cast.max.user_id}&action=audit:read&utm_source=mail"
    )
    await send_event(page, "load")
    assert (page.problem, page.title) == ("", "Max: view the audit log")
    assert page.answer.outcome.tone == "no"
    decides = [row for row in page.answer.rows if row.decides]
    assert [row.layer for row in decides] == ["permission"]
    assert TypeAdapter(list[TraceRow]).validate_python(page.answer.rows) == page.answer.rows
    again = open_access_page(cast, page.permalink.partition("?")[2])
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, cast.acme, "none", state_reason(octx, REASON, tenant_id=cast.acme)
        )
    await send_event(again, "load")
    assert again.answer == page.answer


async def test_explanation_link_with_two_times_compares_them(cast: Cast) -> None:
    before = now().isoformat().replace("+", "%2B")
    async with cast.olga.octx() as octx:
        await tenant_access.set_billing_status(
            octx, cast.acme, "read_only", state_reason(octx, REASON, tenant_id=cast.acme)
        )
    question = f"tenant={cast.acme}&person={cast.ann.user_id}&action=member:invite&before={before}"
    page = open_access_page(cast, question)
    await send_event(page, "load")
    assert page.comparing
    (changed,) = page.changed_layers
    assert (changed.before.answer, changed.after.answer) == ("Yes", "No")
    assert changed.causes[0].reason == REASON
    assert f"/tenants/{cast.acme}?tab=audit&request=req_" in changed.causes[0].href


@pytest.mark.parametrize(
    "query",
    [
        "tenant=%00",
        "tenant=ten_nobody",
        "tenant=usr_x",
        "tenant={acme}&person=nobody",
        "tenant={acme}&person={gil}&action=home:read",
        "tenant={acme}&action=home:burn",
        "tenant={acme}&action=home:read&at=soon",
        "tenant={acme}&action=home:read&at=2026-01-01T10:00",
        "tenant={acme}&action=home:read&at=2999-01-01T10:00Z",
        "tenant={acme}&action=home:read&at=0001-01-01T00:00:00Z",
        "tenant={acme}&action=home:read&plan=gold",
        "tenant={acme}&action=home:read&before=2999-01-01T10:00Z",
        "plan=" + "x" * 2_000,
    ],
)
async def test_invalid_explanation_link_shows_the_problem(cast: Cast, query: str) -> None:
    page = open_access_page(cast, query.replace("{acme}", cast.acme).replace("{gil}", cast.gil.user_id))
    await send_event(page, "load")
    assert page.loaded
    assert page.problem
    assert page.problem_step
    assert not page.has_answer


async def test_explanation_form_becomes_part_of_the_address(cast: Cast) -> None:
    page = open_access_page(cast, f"tenant={cast.acme}")
    await send_event(page, "load")
    form = {"person": cast.ann.user_id, "action": "member:invite", "at": "", "plan": "free"}
    moved = str(await send_event(page, "ask_question", form))
    assert f"person={cast.ann.user_id}&action=member%3Ainvite&plan=free" in moved
    for wrong in ({"action": "fly"}, {"person": "ten_x"}, {"at": "now"}, {"tenant": cast.globex}):
        with pytest.raises(Invalid):
            await send_event(page, "ask_question", form | wrong)
    await send_event(page, "choose_comparison", True)
    with pytest.raises(Invalid, match="Choose an earlier time to compare"):
        await send_event(page, "ask_question", form)


async def test_people_and_requests_are_searched_in_one_tenant(cast: Cast) -> None:
    page = open_access_page(cast, f"tenant={cast.acme}")
    await send_event(page, "load")
    await send_event(page, "search_people", cast.max.email)
    assert [label for _, label in page.people[1:]] == [f"Max · {cast.max.email}"]
    await send_event(page, "search_people", "Gil")
    assert len(page.people) == 1
    await send_event(page, "search_refusals", "req_nothing")
    assert (page.refusal_rows, page.request) == ([], "req_nothing")
    page.tenant_id = "ten_nobody"
    with pytest.raises(NotFound):
        await send_event(page, "search_refusals", "req_nothing")
