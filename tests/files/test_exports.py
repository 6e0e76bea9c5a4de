"""Exports: contents and permission of the page, in every format; started, cancelled and refused."""

import csv
import io
import json
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet
import pytest

from shared.access.file_kinds import EXPORT_KINDS
from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.billing.models import PLATFORM, BillingCustomer, BillingInvoice
from shared.core import db
from shared.core.db import now
from shared.core.errors import Conflict, DomainError, Invalid, NotFound, Refused
from shared.files import export_writers, exports
from shared.files.models import ExportState
from shared.identity.models import User
from shared.tenancy import audit_reader, members, notifications, roles
from tests.conftest import Cast, Person
from tests.support import audit_chains, database
from tests.support.exports import download, export, export_rows, read, start
from tests.support.notices import recorded_notices


async def rename_person(person: Person, name: str) -> None:
    async with db.transaction() as session:
        user = await session.get(User, person.user_id)
        assert user is not None
        user.name = name
        session.add(user)


def titles(kind: str) -> list[str]:
    return [column.title for column in EXPORT_KINDS[kind].source.columns]


async def override(cast: Cast, change: Any, key: str, value: Any) -> None:
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Trying it", tenant_id=cast.acme)
        await change(octx, cast.acme, key, value, reason, ends_at=now() + timedelta(days=1))


async def test_member_export_equals_the_page_and_names_every_role(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        role = await roles.create(ctx, "Recruiter", "", set())
        (max_,) = (await members.list_members(ctx, query="max")).rows
        await members.set_role(ctx, max_.id, role.key, version=None)
    head, *lines = await export_rows(cast.ann, "members", sort="name", descending="yes")
    assert head == titles("members")
    assert [(row[0], row[2], row[3]) for row in lines] == [
        ("Max", "Recruiter", "Active"),
        ("Ann", "Owner", "Active"),
        ("Adam", "Admin", "Active"),
    ]
    _, *narrowed = await export_rows(cast.ann, "members", query="adam", role="admin")
    assert [row[1] for row in narrowed] == [cast.adam.email]


async def test_every_format_holds_the_same_rows(cast: Cast) -> None:
    _, *rows = await export_rows(cast.ann, "members")
    lines = await download(cast.ann, (await export(cast.ann, "members", "jsonl")).download_path)
    objects = [json.loads(line) for line in lines.text.splitlines()]
    assert lines.headers["content-type"] == "application/x-ndjson"
    parquet = await download(cast.ann, (await export(cast.ann, "members", "parquet")).download_path)
    table = pyarrow.parquet.read_table(io.BytesIO(parquet.content))
    assert table.column_names == list(objects[0])
    assert str(table.schema.field("joined").type) == "timestamp[us, tz=UTC]"
    assert [row[1] for row in rows] == [item["email"] for item in objects] == table["email"].to_pylist()
    joined = [datetime.fromisoformat(item["joined"]) for item in objects]
    assert joined == table["joined"].to_pylist()
    assert [row[5] for row in rows] == [f"{at:%Y-%m-%d %H:%M:%S}Z" for at in joined]


async def test_event_in_parquet_keeps_its_details(cast: Cast) -> None:
    await audit_chains.seal(cast.ann)  # gives the event its number
    answer = await download(cast.ann, (await export(cast.ann, "audit", "parquet")).download_path)
    (event,) = [
        row
        for row in pyarrow.parquet.read_table(io.BytesIO(answer.content)).to_pylist()
        if row["action"] == "tenant.created"
    ]
    assert event["number"] == 1
    assert json.loads(event["after"])["name"] == "Acme"


async def test_installation_without_pyarrow_refuses_parquet_with_the_next_step(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_writers.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Conflict, match="can’t write Parquet") as caught:
        await start(cast.ann, "members", "parquet")
    assert "Choose CSV or JSONL" in caught.value.next_step


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
    head, *lines = await export_rows(cast.ann, "invoices")
    assert head == titles("invoices")
    assert [line[0] for line in lines] == ["A-2", "A-1"]
    assert lines[0][5:] == [
        "EUR",
        *("119.00", "0.00", "19.00", "19.00"),
        *("119.00", "119.00", "0.00", "0.00"),
    ]
    assert lines[1][6:11] == ["", "", "", "", "119.00"]
    with pytest.raises(Refused, match="export the invoices"):
        await start(cast.max, "invoices")


async def test_export_is_audited_with_its_filters(cast: Cast) -> None:
    await start(cast.max, "members", query="adam", role="admin")
    await start(cast.adam, "audit", action="invitation.", since="2026-01-01")
    async with cast.ann.ctx() as ctx:
        audit, of_members = (await audit_reader.list_events(ctx, limit=2)).rows
    assert (of_members.action, of_members.actor_id) == ("member.exported", cast.max.user_id)
    assert of_members.details == {"search": "adam", "role_filter": "admin"}
    assert (audit.action, audit.actor_id) == ("audit.exported", cast.adam.user_id)
    assert audit.details == {"action_filter": "invitation.", "since_filter": "2026-01-01"}


async def test_audit_export_is_filtered_and_reaches_back_as_far_as_the_page(cast: Cast) -> None:
    head, *lines = await export_rows(cast.ann, "audit", action="invitation.accepted", actor="adam")
    assert head == titles("audit")
    assert [(row[2], row[4]) for row in lines] == [("Adam", "invitation.accepted")]
    assert cast.adam.email in lines[0][8]
    await override(cast, tenant_access.override_limit, "retention_days", 0)
    assert len(await export_rows(cast.ann, "audit")) <= 2, "of this very export"
    await override(cast, tenant_access.override_feature, "audit_log", False)
    with pytest.raises(Refused) as caught:
        await start(cast.ann, "audit")
    assert caught.value.reason == "not_in_plan"


async def test_audit_export_numbers_the_events_that_are_sealed(cast: Cast) -> None:
    """The event of the export itself is the newest, and not sealed yet."""
    await audit_chains.seal(cast.ann)
    newest, *others = (await export_rows(cast.ann, "audit"))[1:]
    assert (newest[0], newest[4]) == ("", "audit.exported")
    assert [int(row[0]) for row in others] == list(range(len(others), 0, -1))


async def test_exported_cell_never_begins_like_a_formula(cast: Cast) -> None:
    await rename_person(cast.max, "=cmd|'/c calc'!A0")
    _, *lines = await export_rows(cast.ann, "members", query=cast.max.email)
    assert lines[0][0] == "'=cmd|'/c calc'!A0"


async def test_export_outside_the_plan_is_refused_and_not_recorded(cast: Cast) -> None:
    await cast.ann.gets("starter")
    for kind in ("members", "audit"):
        with pytest.raises(Refused, match="Starter doesn’t include CSV export") as caught:
            await start(cast.ann, kind)
        assert caught.value.reason == "not_in_plan"
    async with cast.ann.ctx() as ctx:
        actions = [event.action for event in (await audit_reader.list_events(ctx)).rows]
    assert not {"member.exported", "audit.exported"} & set(actions)


async def test_member_may_export_members_and_not_the_audit_log(cast: Cast) -> None:
    assert (await start(cast.max, "members")).state is ExportState.WAITING
    with pytest.raises(Refused) as caught:
        await start(cast.max, "audit")
    assert caught.value.reason == "missing_permission"


@pytest.mark.parametrize(
    ("kind", "export_format", "fields"),
    [
        ("passwords", "csv", {}),
        ("members", "xlsx", {}),
        ("members", "csv", {"sort": "password"}),
        ("members", "csv", {"tenant_id": "ten_globex"}),
        ("members", "csv", {"query": "x" * 201}),
        ("members", "csv", {"role": "a\0b"}),
        ("audit", "csv", {"action": "made.up"}),
        ("audit", "csv", {"since": "yesterday"}),
        ("audit", "csv", {"since": "2026-02-02", "until": "2026-02-01"}),
        ("audit", "csv", {"actor": "x" * 121}),
        ("invoices", "csv", {"query": "x"}),
    ],
)
async def test_export_of_what_does_not_exist_is_refused(
    cast: Cast, kind: str, export_format: str, fields: dict[str, str]
) -> None:
    with pytest.raises(Invalid):
        await start(cast.ann, kind, export_format, **fields)


async def test_open_exports_of_an_organisation_are_bounded(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MAX_OPEN", 2)
    first = await start(cast.ann, "members")
    await start(cast.max, "members")
    with pytest.raises(Conflict, match="2 exports of this organisation"):
        await start(cast.adam, "members")
    async with cast.ann.ctx() as ctx:
        await exports.cancel(ctx, first.id)
    await start(cast.adam, "members")


async def test_export_that_never_ended_takes_its_place_for_a_day(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "MAX_OPEN", 1)
    lost = await start(cast.ann, "members")
    age = "update export_job set created_at = now() - %s::interval where id = %s"
    for hours, refused in (("23 hours", True), ("25 hours", False)):
        database.connect().execute(age, [hours, lost.id])
        with pytest.raises(Conflict) if refused else nullcontext():
            await start(cast.ann, "members")


async def test_export_belongs_to_whoever_started_it(cast: Cast) -> None:
    mine = await export(cast.ann, "members")
    for stranger in (cast.adam, cast.gil):
        async with stranger.ctx() as ctx:
            assert await exports.list_recent(ctx, "members") == []
        for call in (exports.get, exports.cancel):
            with pytest.raises(NotFound, match="doesn’t exist"):
                async with stranger.ctx() as ctx:
                    await call(ctx, mine.id)


async def test_export_that_has_ended_can_not_be_cancelled(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    with pytest.raises(Conflict, match="has ended already"):
        async with cast.ann.ctx() as ctx:
            await exports.cancel(ctx, ready.id)
    assert (await read(cast.ann, ready.id)).state is ExportState.READY


async def test_person_is_notified_with_the_link_and_only_their_pages_load(cast: Cast) -> None:
    from shared.files import files

    async with recorded_notices() as notices:
        ready = await export(cast.ann, "members")
    topics = {notice.split(" ")[2] for notice in notices if notice.startswith("page ")}
    assert topics == {f"exports:{cast.ann.user_id}", f"person:{cast.ann.user_id}"}
    async with cast.ann.ctx() as ctx:
        (notification,) = await notifications.list_my_notifications(ctx)
        path = files.build_referenced_path(ctx, notification.href, notification.created_at)
    assert notification.title == "Your export is ready: Members"
    assert ready.file_name in notification.body
    answer = await download(cast.ann, path)
    assert len(list(csv.reader(io.StringIO(answer.text)))) == 4


async def test_export_is_rate_limited(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = list[DomainError]()
    for _ in range(61):
        try:
            started = await start(cast.ann, "members", query="nobody")
        except Refused as refusal:
            refusals.append(refusal)
            continue
        async with cast.ann.ctx() as ctx:
            await exports.cancel(ctx, started.id)
    assert [refusal.reason for refusal in refusals] == ["rate_limited"]
