"""Each test gets a copy of one cast; a copy is in no way different from a cast that the services made."""

import json
import re
from collections import defaultdict
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import inspect
from sqlmodel import select

from shared.audit import audit_log
from shared.core import crypto
from shared.core.db import now
from shared.jobs import signatures
from shared.tenancy import provisioning
from shared.tenancy.models import TenantKey
from tests.conftest import Cast, own_database
from tests.support import audit_chains, casts, session_rows
from tests.support.database import admin_url

EXPECTED_TASKS = [*["tenancy.provision"] * 2, *["tenancy.send_invitation"] * 2]
ROWS = "select to_jsonb(t)::text from {} t where to_jsonb(t)::text like any (%s)"
UNCOMPARED_TABLES = {
    "decision_count",
    "decision_record",
}  # of decisions: the first is written from time to time
NUMBERS = {"id", "rights_version", "seq", "transaction_id"}  # counted on for every row of the database
ROW_ID = re.compile(r"\b[a-z]{2,6}_[0-9a-z]{26}\b")
RANDOM_ID = re.compile(r"\b(mbc|rlc|tsc)_[0-9a-f]{32}\b")  # of triggers, in no order


def list_rows(name: str, record: casts.CastRecord) -> dict[str, list[str]]:
    """Each row of the cast, by table; what differs between two casts is replaced by its kind and place in the order."""
    patterns = [f"%{owner_id}%" for owner_id in record.list_ids()]
    texts_by_table = {}
    with psycopg.connect(admin_url(name)) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
        for (table,) in tables:
            rows = connection.execute(sql.SQL(ROWS).format(sql.Identifier(table)), [patterns]).fetchall()
            texts_by_table[table] = [text for (text,) in rows]
    labels = build_labels(record, " ".join(text for texts in texts_by_table.values() for text in texts))
    return {
        table: sorted(json.dumps(neutralise(json.loads(text), labels), sort_keys=True) for text in texts)
        for table, texts in texts_by_table.items()
        if texts and table not in UNCOMPARED_TABLES
    }


def build_labels(record: casts.CastRecord, text: str) -> dict[str, str]:
    """By id, slug, address and hash of a token: what is equal in every cast."""
    ids_by_prefix = defaultdict[str, list[str]](list)
    for row_id in sorted(set(ROW_ID.findall(text))):
        ids_by_prefix[row_id.partition("_")[0]].append(row_id)
    labels = {
        row_id: f"{prefix} {place}"
        for prefix, ids in ids_by_prefix.items()
        for place, row_id in enumerate(ids)
    }
    labels |= {record.acme.slug: "slug of acme", record.globex.slug: "slug of globex"}
    for name, account in record.accounts.items():
        labels[account.user.email] = f"address of {name}"
        labels[f"{name} {account.user.email}"] = f"search text of {name}"
        labels[crypto.hash_token(account.cookie.partition("=")[2])] = f"hash of {name}'s token"
    return labels


def neutralise(value: Any, labels: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: "number" if key in NUMBERS and isinstance(field, int) else neutralise(field, labels)
            for key, field in value.items()
            if key not in (signatures.ARGUMENT, "proof")  # of values that name other ids
        }
    if isinstance(value, list):
        return [neutralise(item, labels) for item in value]
    if isinstance(value, str) and value.startswith("{"):  # the body of an event
        return neutralise(json.loads(value), labels)
    if isinstance(value, str):
        text = re.sub(casts.TIME, "time", RANDOM_ID.sub(r"\1", labels.get(value, value)))
        text = ROW_ID.sub(lambda match: labels.get(match[0], match[0]), text)
        return re.sub(r"\\x[0-9a-f]{64}", "hash", text)
    return value


async def test_copied_cast_has_the_rows_of_a_made_one(schema: str, original_cast: casts.Original) -> None:
    made, copied = await casts.create(), original_cast.copy()
    rows = list_rows(schema, copied)
    assert rows == list_rows(schema, made)
    assert {*casts.TABLES, "audit_event", "procrastinate_jobs", "user_tenant"} <= rows.keys()


async def test_copies_share_no_id_address_slug_or_session(original_cast: casts.Original) -> None:
    first, second = original_cast.copy(), original_cast.copy()
    assert not {*first.list_ids()} & {*second.list_ids()}
    assert not {first.acme.slug, first.globex.slug} & {second.acme.slug, second.globex.slug}
    for name, account in first.accounts.items():
        assert account.user.email != second.accounts[name].user.email
        assert account.cookie != second.accounts[name].cookie


async def test_person_of_a_copy_is_as_the_factory_returns_it(original_cast: casts.Original) -> None:
    made, copied = await casts.create(), original_cast.copy()
    for name, account in made.accounts.items():
        person = copied.accounts[name].user
        assert inspect(person).detached
        assert (person.name, type(person.created_at)) == (account.user.name, type(account.user.created_at))
        assert person.model_dump().keys() == account.user.model_dump().keys()


async def test_copy_is_made_in_the_database_that_is_used_now(
    schema: str, original_cast: casts.Original
) -> None:
    async with own_database(schema, "casts"):
        elsewhere = original_cast.copy()
        assert "membership" in list_rows(f"{schema}_casts", elsewhere)
    assert list_rows(schema, elsewhere) == {}
    assert "membership" in list_rows(schema, original_cast.copy())


async def test_cast_comes_with_the_jobs_of_its_tenants(schema: str, cast: Cast) -> None:
    query = "select task_name from procrastinate_jobs where args->>'tenant_id' = any(%s) order by id"
    with psycopg.connect(admin_url(schema)) as connection:
        tasks = connection.execute(query, [[cast.acme, cast.globex]]).fetchall()
    assert [task for (task,) in tasks] == EXPECTED_TASKS


async def test_people_of_a_cast_enter_their_own_tenant(cast: Cast) -> None:
    entered = {}
    for name in ("ann", "adam", "max", "gil"):
        async with getattr(cast, name).ctx() as ctx:
            entered[name] = (ctx.tenant_id, ctx.rights is not None)
    assert entered == {
        "ann": (cast.acme, True),
        "adam": (cast.acme, True),
        "max": (cast.acme, True),
        "gil": (cast.globex, True),
    }


async def test_audit_chains_of_a_cast_are_intact_and_continue(cast: Cast) -> None:
    for person in (cast.ann, cast.gil):
        before = await audit_chains.verify(person)
        async with person.ctx() as ctx:
            audit_log.record(ctx, "provisioning.step_done", "more")
        after = await audit_chains.verify(person)
        assert (before.is_intact, after.is_intact) == (True, True)
        assert after.checked_count == before.checked_count + 1 > 1


async def test_provisioning_gives_a_cast_a_data_key_that_opens(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        assert await provisioning.run_next_step(ctx) == "settings"
        key = (await ctx.session.exec(select(TenantKey))).one()
    dek = crypto.unwrap_dek(crypto.WrappedKey(key.kek_id, key.wrapped))
    sealed = crypto.seal(dek, b"secret", cast.acme, "table.column", "row")
    assert crypto.open_sealed(dek, sealed, cast.acme, "table.column", "row") == b"secret"


async def test_sessions_of_a_cast_are_new(cast: Cast) -> None:
    times = session_rows.read_times(cast.ann.cookie)
    assert now() - times.last_seen_at < timedelta(minutes=1)
    assert timedelta(hours=23, minutes=59) < times.idle_expires_at - now() <= timedelta(hours=24)
