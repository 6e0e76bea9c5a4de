"""CSV exports: contents and permission of the page, without formulas."""

import csv
import io
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.billing.models import PLATFORM, BillingCustomer, BillingInvoice
from shared.core import db
from shared.core.db import now
from shared.identity.models import User
from shared.tenancy import audit_reader, exports, members, roles
from shared.tenancy.models import Membership
from shared.web import exports as route
from tests.conftest import Cast, Person
from tests.support import audit_chains, factories
from tests.support.http_visitor import browser

JSON = {"accept": "application/json"}


async def request_export(
    person: Person, name: str, *, slug: str = "", headers: dict[str, str] | None = None, **fields: str
) -> httpx.Response:
    async with browser(cookie=person.cookie) as client:
        return await client.post(f"/t/{slug or person.slug}/{name}.csv", data=fields, headers=headers or {})


def read_rows(answer: httpx.Response) -> list[list[str]]:
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"), newline="")))


async def rename_person(person: Person, name: str) -> None:
    async with db.transaction() as session:
        user = await session.get(User, person.user_id)
        assert user is not None
        user.name = name
        session.add(user)


async def test_audit_export_reaches_back_as_far_as_the_page(cast: Cast) -> None:
    until = now() + timedelta(days=1)
    assert len(read_rows(await request_export(cast.ann, "audit"))) > 1
    async with cast.olga.octx() as octx:
        await tenant_access.override_limit(
            octx,
            cast.acme,
            "retention_days",
            0,
            state_reason(octx, "Trying it", tenant_id=cast.acme),
            ends_at=until,
        )
    _, *shown = read_rows(await request_export(cast.ann, "audit"))
    assert len(shown) <= 1, "of this very export"
    async with cast.olga.octx() as octx:
        await tenant_access.override_feature(
            octx,
            cast.acme,
            "audit_log",
            False,
            state_reason(octx, "Trying it", tenant_id=cast.acme),
            ends_at=until,
        )
    answer = await request_export(cast.ann, "audit", headers=JSON)
    assert (answer.status_code, answer.json()["reason"]) == (402, "not_in_plan")


async def test_invoice_export_tells_the_tax_and_is_for_those_who_see_invoices(cast: Cast) -> None:
    at = datetime(2027, 1, 1, tzinfo=UTC)
    shared = {"tenant_id": cast.acme, "account_id": PLATFORM, "customer_id": "cus_export", "status": "paid"}
    async with cast.ann.ctx() as ctx:
        ctx.session.add(BillingCustomer(tenant_id=cast.acme, id="cus_export"))
        await ctx.session.flush()
        for number, parts in (
            ("A-2", {"subtotal": 11_900, "discount": 0, "tax": 1_900, "included_tax": 1_900}),
            ("A-1", {}),
        ):
            ctx.session.add(
                BillingInvoice(
                    **shared,
                    **parts,
                    **{"id": f"in_{number}", "number": number, "currency": "eur", "total": 11_900, "due": 0},
                    **{"paid": 11_900, "created_at": at + timedelta(days=int(number[-1])), "ticket": 1},
                )
            )
    head, *lines = read_rows(await request_export(cast.ann, "invoices"))
    assert tuple(head) == route.INVOICE_COLUMNS
    assert [line[0] for line in lines] == ["A-2", "A-1"]
    assert lines[0][5:] == [
        "EUR",
        *("119.00", "0.00", "19.00", "19.00"),
        *("119.00", "119.00", "0.00", "0.00"),
    ]
    assert lines[1][6:11] == ["", "", "", "", "119.00"]
    assert (await request_export(cast.max, "invoices", headers=JSON)).status_code == 403


async def test_member_export_equals_the_page_and_names_every_role(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Recruiter", "", set())
        (max_,) = (await members.list_members(ctx, query="max")).rows
        await members.set_role(ctx, max_.id, role.key, version=None)
    answer = await request_export(cast.ann, "members", sort="name", descending="yes")
    head, *lines = read_rows(answer)
    assert tuple(head) == route.MEMBER_COLUMNS
    assert [(row[0], row[2], row[3]) for row in lines] == [
        ("Max", "Recruiter", "Active"),
        ("Ann", "Owner", "Active"),
        ("Adam", "Admin", "Active"),
    ]
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    _, *narrowed = read_rows(await request_export(cast.ann, "members", query="adam", role="admin"))
    assert [row[1] for row in narrowed] == [cast.adam.email]


async def test_export_is_audited_with_its_filters(cast: Cast) -> None:
    await request_export(cast.max, "members", query="adam", role="admin")
    await request_export(cast.adam, "audit", action="invitation.", since="2026-01-01")
    async with cast.ann.ctx() as ctx:
        audit, of_members = (await audit_reader.list_events(ctx, limit=2)).rows
    assert (of_members.action, of_members.actor_id) == ("member.exported", cast.max.user_id)
    assert of_members.details == {"search": "adam", "role_filter": "admin"}
    assert (audit.action, audit.actor_id) == ("audit.exported", cast.adam.user_id)
    assert audit.details == {"action_filter": "invitation.", "since_filter": "2026-01-01"}


async def test_audit_export_is_filtered_and_newest_first(cast: Cast) -> None:
    head, *lines = read_rows(
        await request_export(cast.ann, "audit", action="invitation.accepted", actor="adam")
    )
    assert tuple(head) == route.EVENT_COLUMNS
    assert [(row[2], row[4]) for row in lines] == [("Adam", "invitation.accepted")]
    assert cast.adam.email in lines[0][8]


async def test_audit_export_numbers_the_events_that_are_sealed(cast: Cast) -> None:
    """The event of the export itself is the newest, and not sealed yet."""
    await audit_chains.seal(cast.ann)
    newest, *others = read_rows(await request_export(cast.ann, "audit"))[1:]
    assert (newest[0], newest[4]) == ("", "audit.exported")
    assert [int(row[0]) for row in others] == list(range(len(others), 0, -1))


async def test_exported_cell_never_begins_like_a_formula(cast: Cast) -> None:
    for evil in ("=cmd|'/c calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "＝1+1"):
        await rename_person(cast.max, evil)
        _, *lines = read_rows(await request_export(cast.ann, "members", query=cast.max.email))
        assert lines[0][0] == f"'{evil}"


@pytest.mark.parametrize(
    "text",
    [
        "Eve;=cmd|'/C calc'!A1",
        "Eve; =1+1",
        "Eve\t@SUM(A1)",
        "Eve\n-2+3",
        "\u200b=1+1",
        "\ufeff=1+1",
        "\u202e\xad +1",
        "\x00=1",
        ';"=1+1"',
        "a;b;＝1",
    ],
)
def test_cell_holds_no_formula_for_any_separator_of_spreadsheets(text: str) -> None:
    line = route.to_csv([["first", text]])
    assert line.startswith('"first","')
    for separator in ",;\t":
        for row in csv.reader(io.StringIO(line, newline=""), delimiter=separator):
            for cell in row:
                shown = "".join(part for part in cell if part.isprintable() and part not in '" ')
                assert not shown.startswith(("=", "+", "-", "@", "＝")), (separator, cell)


@given(st.text())
def test_escaped_cell_keeps_its_text_and_is_no_formula(text: str) -> None:
    lines = route.escape_cell(text)
    assert lines.replace("'", "") == text.replace("'", "")
    assert not lines.startswith(route.FORMULA_PREFIXES)
    assert not lines.lstrip(" \n").startswith(route.FORMULA_PREFIXES)
    (row,) = csv.reader(io.StringIO(route.to_csv([[text, "next"]]), newline=""))
    assert row == [lines, "next"]


async def test_long_export_is_read_in_batches_up_to_the_limit(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [await factories.create_account("Crowd") for _ in range(9)]
    async with db.transaction(tenant_id=cast.acme) as session:
        session.add_all(
            Membership(tenant_id=cast.acme, user_id=account.user.id, role="viewer") for account in people
        )
    monkeypatch.setattr(exports, "BATCH_SIZE", 5)
    _, *lines = read_rows(await request_export(cast.ann, "members"))
    assert len({row[1] for row in lines}) == len(lines) == 12
    monkeypatch.setattr(exports, "MAX_ROWS", 10)
    _, *lines = read_rows(await request_export(cast.ann, "members"))
    assert len(lines) == 11
    assert lines[-1] == [route.TRUNCATED_TEXT]


async def test_export_stops_when_the_permission_is_lost(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file says that it is incomplete, instead of ending as if it were whole."""
    monkeypatch.setattr(exports, "BATCH_SIZE", 1)
    (max_id,) = await list_membership_ids(cast, "max")
    steps, removed = exports.list_member_batch, list[str]()

    async def list_then_remove_member(ctx: object, **arguments: object) -> object:
        if arguments["after"] and not removed:  # the first step has committed its line of the trail
            removed.append(max_id)
            async with cast.ann.ctx() as other:
                await members.remove(other, max_id)
        return await steps(ctx, **arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exports, "list_member_batch", list_then_remove_member)
    _, *lines = read_rows(await request_export(cast.max, "members", descending="yes"))
    assert [row[0] for row in lines[:-1]] == ["Max", "Ann"]
    assert lines[-1][0].startswith(f"{route.INCOMPLETE_TEXT} Your access to Acme was removed by Ann")


async def list_membership_ids(cast: Cast, query: str) -> list[str]:
    async with cast.ann.ctx() as ctx:
        return [row.id for row in (await members.list_members(ctx, query=query)).rows]


async def test_export_outside_the_plan_is_refused_as_page_and_as_problem(cast: Cast) -> None:
    await cast.ann.gets("starter")
    for name in ("members", "audit"):
        page = await request_export(cast.ann, name)
        assert page.status_code == 402
        assert "Starter doesn&#39;t include CSV export." in page.text
        assert f"/t/{cast.ann.slug}/{name}" in page.text
        problem = (await request_export(cast.ann, name, headers=JSON)).json()
        assert (problem["reason"], problem["status"]) == ("not_in_plan", 402)
        assert problem["next_step"] == "Pro, Business and Enterprise do. Choose a larger plan in Billing."
    async with cast.ann.ctx() as ctx:
        actions = [event.action for event in (await audit_reader.list_events(ctx)).rows]
    assert not {"member.exported", "audit.exported"} & set(actions)


async def test_member_may_export_members_and_not_the_audit_log(cast: Cast) -> None:
    assert (await request_export(cast.max, "members")).status_code == 200
    answer = await request_export(cast.max, "audit", headers=JSON)
    assert (answer.status_code, answer.json()["reason"]) == (403, "missing_permission")


async def test_export_of_another_tenant_gets_the_answer_for_an_unknown_one(cast: Cast) -> None:
    for name in ("members", "audit"):
        foreign_answer = await request_export(cast.gil, name, slug=cast.ann.slug, headers=JSON)
        unknown = await request_export(cast.gil, name, slug="nowhere-at-all", headers=JSON)
        assert foreign_answer.status_code == unknown.status_code == 404
        assert foreign_answer.json() | {"request_id": ""} == unknown.json() | {"request_id": ""}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("members", {"sort": "password"}),
        ("audit", {"action": "made.up"}),
        ("audit", {"since": "yesterday"}),
        ("audit", {"until": "9999-12-31"}),
        ("audit", {"since": "2026-02-02", "until": "2026-02-01"}),
        ("audit", {"actor": "x" * 121}),
    ],
)
async def test_export_with_an_invalid_filter_is_refused(
    cast: Cast, name: str, fields: dict[str, str]
) -> None:
    answer = await request_export(cast.ann, name, headers=JSON, **fields)
    assert (answer.status_code, answer.json()["reason"]) == (422, "invalid")


async def test_export_is_refused_for_a_link_and_a_foreign_origin(cast: Cast) -> None:
    async with browser(cookie=cast.ann.cookie) as client:
        assert (await client.get(f"/t/{cast.ann.slug}/members.csv", headers=JSON)).status_code == 405
    foreign = await request_export(cast.ann, "members", headers={"origin": "https://evil.test"})
    assert foreign.status_code == 403


async def test_export_is_rate_limited(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(60):
        await request_export(cast.ann, "members", query="nobody")
    answer = await request_export(cast.ann, "members", headers=JSON)
    assert (answer.status_code, answer.json()["reason"]) == (429, "rate_limited")
