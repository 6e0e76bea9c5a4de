"""One cast, made by the factories, and copies of it: each test gets one, in milliseconds.

A copy has ids, addresses, slugs and sessions of its own, and is as recent as a new cast. The database checks, numbers
and hashes its rows like any others, by constraints and triggers.
"""

import json
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.orm import make_transient_to_detached

from shared.core import crypto
from shared.core.db import now
from shared.core.ids import new_id
from shared.identity import session_proofs
from shared.identity.models import User, UserSession
from shared.identity.realms import USER
from shared.jobs import signatures
from tests.support import database, factories
from tests.support.factories import SignedInUser

NAMES = ("Ann", "Adam", "Max", "Gil", "Carl")
# Tables that the services fill, in the order in which they are copied, and the order of their rows. Triggers fill others.
TABLES = {
    "user": "id",
    "user_credential": "user_id",
    "user_session": "id",
    "tenant": "id",
    "role": "id",
    "membership": "id",
    "invitation": "id",
    "provisioning_step": "id",
    "tenant_plan": "id",
    "tenant_flag": "id",
    "event_outbox": "id",
}
SELECT = "select coalesce(jsonb_agg(to_jsonb(t) order by {order}), '[]')::text from {table} t where to_jsonb(t)::text like any (%s)"
INSERT = "insert into {table} select * from jsonb_populate_recordset(null::{table}, %s)"
TAKE_JOBS = """
with taken as (delete from procrastinate_jobs t where to_jsonb(t)::text like any (%s) returning *)
select coalesce(jsonb_agg(to_jsonb(taken) order by id), '[]')::text from taken
"""
# One tenant at a time, as the services write.
INSERT_AUDIT_EVENTS = """
with tenant as materialized (select set_config('app.tenant_id', %s, true) as id)
insert into audit_event select event.*
from jsonb_populate_recordset(null::audit_event, %s) event join tenant on event.tenant_id = tenant.id
"""
INSERT_JOBS = """
insert into procrastinate_jobs (queue_name, task_name, priority, lock, args)
select queue_name, task_name, priority, lock, args from jsonb_populate_recordset(null::procrastinate_jobs, %s) order by id
"""
TIME = r"\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d"
PARTS = re.compile(rf"({TIME}|[\w-]+)")  # what may differ between two casts is one part
ID = re.compile(r"[a-z]{2,6}_[0-9a-z]{26}")


@dataclass(frozen=True, slots=True)
class TenantRecord:
    id: str
    slug: str


@dataclass(frozen=True, slots=True)
class CastRecord:
    """Acme: Ann owns it, Adam is its admin, Max a member. Globex: Gil owns it. Carl has no tenant."""

    accounts: Mapping[str, SignedInUser]  # by name in lower case
    acme: TenantRecord
    globex: TenantRecord

    def list_ids(self) -> list[str]:
        """Of its tenants and people. Each row of the cast contains one of them."""
        return [self.acme.id, self.globex.id, *(account.user.id for account in self.accounts.values())]


async def create() -> CastRecord:
    accounts = {name.lower(): await factories.create_account(name) for name in NAMES}
    ann = accounts["ann"]
    acme = await factories.create_tenant(ann, "Acme")
    globex = await factories.create_tenant(accounts["gil"], "Globex")
    await factories.join_tenant(ann, acme.slug, accounts["adam"], "admin")
    await factories.join_tenant(ann, acme.slug, accounts["max"], "member")
    return CastRecord(accounts, TenantRecord(acme.id, acme.slug), TenantRecord(globex.id, globex.slug))


class Original:
    """A cast that no test uses, and of which there can be any number of copies."""

    def __init__(self, record: CastRecord, rows: Mapping[str, str], jobs: str, recorded_at: datetime) -> None:
        """`rows`: by table, and like `jobs` as JSON."""
        self._record = record
        self._recorded_at = recorded_at
        parts_by_table = {table: PARTS.split(text) for table, text in {**rows, "jobs": jobs}.items()}
        words = {part for parts in parts_by_table.values() for part in parts[1::2]}
        self._ids = sorted(word for word in words if ID.fullmatch(word))
        self._times = sorted(word for word in words if re.fullmatch(TIME, word))
        replaced = {*self._ids, *self._times, *self._replace_names(dict.fromkeys(record.accounts, ""))}
        self._parts = {table: _join_kept(parts, replaced) for table, parts in parts_by_table.items()}

    @classmethod
    async def create(cls) -> "Original":
        """In the database that this process uses now."""
        record = await create()
        patterns = [f"%{owner_id}%" for owner_id in record.list_ids()]
        connection = database.connect()
        rows = {
            table: _fetch(connection, _compose(SELECT, table, order=order), patterns)
            for table, order in {**TABLES, "audit_event": "tenant_id, transaction_id, at, id"}.items()
        }
        jobs = _fetch(connection, sql.SQL(TAKE_JOBS), patterns)
        return cls(record, rows, jobs, now())

    def copy(self) -> CastRecord:
        """In the database that this process uses now: the one of the original, or another with the same catalog."""
        tokens = {name: crypto.new_token() for name in self._record.accounts}
        replacements = {**self._replace_ids(), **self._replace_times(), **self._replace_names(tokens)}
        rows = {table: _replace(parts, replacements) for table, parts in self._parts.items()}
        rows["user_session"] = _prove_sessions(rows["user_session"])
        acme, globex = (
            TenantRecord(replacements[tenant.id], replacements[tenant.slug])
            for tenant in (self._record.acme, self._record.globex)
        )
        connection = database.connect()
        with connection.transaction(), connection.pipeline():
            for table in TABLES:
                connection.execute(_compose(INSERT, table), [rows[table]])
            for tenant in (acme, globex):
                connection.execute(INSERT_AUDIT_EVENTS, [tenant.id, rows["audit_event"]])
            connection.execute(INSERT_JOBS, [_sign_jobs(rows["jobs"])])
        users = {each["name"].lower(): _build_user(each) for each in json.loads(rows["user"])}
        accounts = {
            name: SignedInUser(users[name], f"{USER.session_cookie}={token}")
            for name, token in tokens.items()
        }
        return CastRecord(accounts, acme, globex)

    def _replace_ids(self) -> dict[str, str]:
        """In the same order."""
        return {old: new_id(old.partition("_")[0]) for old in self._ids}

    def _replace_times(self) -> dict[str, str]:
        """As if the original had been made a moment ago."""
        age = now() - self._recorded_at
        return {text: (datetime.fromisoformat(text) + age).isoformat() for text in self._times}

    def _replace_names(self, tokens: Mapping[str, str]) -> dict[str, str]:
        """Slugs, and what makes addresses and sessions different."""
        replacements = {}
        for name, account in self._record.accounts.items():
            replacements[_get_suffix(account.user.email)] = new_id("x")[-8:]
            old_token = account.cookie.partition("=")[2]
            replacements[crypto.hash_token(old_token)] = crypto.hash_token(tokens[name])
        for tenant, name in ((self._record.acme, "acme"), (self._record.globex, "globex")):
            replacements[tenant.slug] = f"{name}-{new_id('x')[-8:]}"
        return replacements


def _compose(statement: str, table: str, *, order: str = "") -> sql.Composed:
    return sql.SQL(statement).format(table=sql.Identifier(table), order=sql.SQL(order))


def _fetch(connection: psycopg.Connection, statement: sql.Composable, patterns: list[str]) -> str:
    row = connection.execute(statement, [patterns]).fetchone()
    assert row is not None
    return str(row[0])


def _join_kept(parts: Iterable[str], replaced: Container[str]) -> list[str]:
    """The same text in fewer parts: what every copy keeps is not looked at again."""
    joined = [""]
    for part in parts:
        if part in replaced:
            joined += [part, ""]
        else:
            joined[-1] += part
    return joined


def _replace(parts: Iterable[str], replacements: Mapping[str, str]) -> str:
    return "".join(replacements.get(part, part) for part in parts)


def _sign_jobs(jobs: str) -> str:
    """The jobs of a copy name other ids than those that were signed."""
    rows = json.loads(jobs)
    for row in rows:
        arguments = {name: value for name, value in row["args"].items() if name != signatures.ARGUMENT}
        row["args"] = signatures.sign(row["task_name"], arguments)
    return json.dumps(rows)


def _prove_sessions(sessions: str) -> str:
    """The sessions of a copy have other people and hashes than those that were proved."""
    rows = json.loads(sessions)
    for row in rows:
        row["proof"] = session_proofs.compute_proof(USER, UserSession.model_construct(**row))
    return json.dumps(rows)


def _get_suffix(email: str) -> str:
    """What `factories.create_account` puts into it: ann.<suffix>@ann.test."""
    return email.partition("@")[0].rpartition(".")[2]


def _build_user(fields: dict[str, Any]) -> User:
    """As the factory returns it: an object of a session that has ended."""
    user = User.model_validate(fields)
    make_transient_to_detached(user)
    return user
