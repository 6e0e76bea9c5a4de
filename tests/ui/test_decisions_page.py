"""The page Why? of a tenant: a decision by its id, its request and others of it; and the ids that a refusal shows."""

from typing import Any

import pytest

from admin_app.pages.access.state import AccessState
from shared.core import request_ids
from shared.core.errors import Invalid, NotFound, Refused
from shared.core.ids import new_id
from shared.tenancy import invitations
from shared.ui.admission import Admission
from shared.ui.states import refusal_toast
from tenant_app.pages.audit import AuditState
from tenant_app.pages.decisions import DecisionsState
from tests.conftest import Cast, Person


async def call(page: Any, name: str, *arguments: Any) -> Any:
    return await type(page).event_handlers[name].fn(page, *arguments)


async def open_page(person: Person, searched: str = "") -> Any:
    page: Any = person.opens(DecisionsState, path=f"decisions?id={searched}")
    await call(page, "load")
    return page


async def refuse(cast: Cast) -> Refused:
    """The refusal of an invitation to Max."""
    with pytest.raises(Refused) as caught:
        async with cast.max.ctx() as ctx:
            await invitations.invite(ctx, "zoe@acme.test", "viewer")
    return caught.value


async def test_decision_is_shown_with_its_layers(cast: Cast) -> None:
    request_id = request_ids.begin()
    refusal = await refuse(cast)
    for searched in (refusal.decision_id, request_id):
        page = await open_page(cast.ann, searched)
        assert (page.decision.id, page.decision.request_id) == (refusal.decision_id, request_id)
        assert page.decision.title == "Max: invite people"
        assert page.decision.outcome.text == f"Refused. {refusal.detail}"
        assert [row.layer for row in page.decision.rows if row.decides] == ["permission"]


async def test_decision_of_another_organisation_is_unknown(cast: Cast) -> None:
    request_id = request_ids.begin()
    refusal = await refuse(cast)
    for searched, unknown in ((refusal.decision_id, new_id("dcn")), (request_id, new_id("req"))):
        page, unknown_page = await open_page(cast.gil, searched), await open_page(cast.gil, unknown)
        assert page.decision.id == ""
        assert page.problem == unknown_page.problem != ""


@pytest.mark.parametrize("searched", ["dcn_01m8q4kjp4eh5sfkrwg4s90ma7", "x' or 1=1"])
async def test_unknown_decision_says_so(cast: Cast, searched: str) -> None:
    page = await open_page(cast.ann, searched)
    assert (page.decision.id, page.problem != "", page.problem_step != "") == ("", True, True)


async def test_search_goes_to_the_address_of_the_decision(cast: Cast) -> None:
    page, decision_id = await open_page(cast.ann), new_id("dcn")
    answer = await call(page, "search_decision", {"searched_id": f" {decision_id} "})
    assert f"/t/{cast.ann.slug}/decisions?id={decision_id}" in str(answer)
    with pytest.raises(Invalid):
        await call(page, "search_decision", {"searched_id": "mine"})


async def test_refusal_shows_the_ids_of_decision_and_request(cast: Cast) -> None:
    request_id = request_ids.begin()
    refusal = await refuse(cast)
    toast = str(refusal_toast(refusal))
    assert f"Decision: {refusal.decision_id}. Reference: {request_id}" in toast
    assert "Decision" not in str(refusal_toast(NotFound("It is gone.")))
    admission: Any = await cast.max.opens(DecisionsState).get_state(Admission)
    admission._set_message(refusal)
    assert (admission.decision_id, admission.request_id) == (refusal.decision_id, request_id)
    admission._set_message()
    assert (admission.decision_id, admission.request_id) == ("", "")


async def test_audit_log_links_a_write_to_its_decision(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        await invitations.invite(ctx, "zoe@acme.test", "viewer")
    page: Any = cast.ann.opens(AuditState, path="audit")
    await call(page, "load")
    row = page.rows[0]
    assert row.decision_url == f"/t/{cast.ann.slug}/decisions?id={row.decision_id}"
    assert (await open_page(cast.ann, row.decision_id)).decision.outcome.text == "Allowed"


async def test_operators_find_a_decision_of_a_tenant_by_its_id(cast: Cast) -> None:
    refusal = await refuse(cast)
    path = f"/access?tenant={cast.acme}&decision={refusal.decision_id}"
    page: Any = cast.olga.opens(AccessState, path=path)
    await call(page, "load")
    assert (page.decision.id, page.problem) == (refusal.decision_id, "")
    await call(page, "search_refusals", refusal.decision_id)
    (row,) = page.refusal_rows
    assert row.explain_url == path
