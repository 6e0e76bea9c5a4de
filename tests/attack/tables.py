"""Straight at the database, as the apps' own roles: every tenant table, every kind of statement."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from shared.core import db
from tests.attack.report import Report
from tests.attack.world import World, connect

KIND = "tables"
PUBLIC_KEYS = {("tenant", "slug")}  # an address is a public name: that it is taken may be known
NO_RIGHT = "42501"  # what row security answers to a row that it does not let in, too
BOTH: tuple[db.DatabaseRole, ...] = ("app", "operator")
WITHOUT_TENANT = ("inbound_webhook", "customer_sync", "price", "provider_account", "billing_customer")
READING = ("select", "select without a filter")  # what a reason is for
Row = dict[str, Any]


@contextmanager
def transaction(role: db.DatabaseRole, tenant_id: str = "", reason: str = "") -> Iterator[psycopg.Connection]:
    """Always rolled back. `connect` keeps the connection: this is done some thousand times."""
    connection = connect(db.login_url(role), prepare_threshold=db.prepare_threshold())
    try:
        connection.execute(
            "select set_config('app.tenant_id', %s, true), set_config('app.cross_tenant_reason', %s, true)",
            [tenant_id, reason],
        )
        yield connection
    finally:
        connection.rollback()


def refused(
    role: db.DatabaseRole, statement: sql.Composed, values: list[Any], tenant_id: str = "", reason: str = ""
) -> bool:
    """True when nothing was read or written: no row, or an error."""
    try:
        with transaction(role, tenant_id, reason) as connection:
            result = connection.execute(statement, values)
            return result.rowcount == 0
    except psycopg.Error:
        return True


def attack(world: World, report: Report) -> None:
    views(world, report)
    of_nobody(world, report)
    for table, key in world.tables().items():
        report.covers(KIND, table)
        globex_rows, acme_rows = world.rows(table, key, world.globex), world.rows(table, key, world.acme)
        seen = select(table, key)
        report.control(
            KIND, f"{table}: rows of both tenants to attack", works=bool(globex_rows and acme_rows)
        )
        if not globex_rows or not acme_rows:
            continue
        works = not refused("app", seen, [world.globex], world.globex)
        report.control(KIND, f"{table}: its own tenant reads it", works=works)
        connections: list[tuple[str, db.DatabaseRole, str, str]] = [
            ("app without tenant", "app", "", ""),
            ("app of Acme", "app", world.acme, ""),
            ("app of Acme with a reason", "app", world.acme, "curious"),
            ("operator without reason", "operator", "", ""),
            ("operator in Acme", "operator", world.acme, ""),
            ("owner of the tables without tenant", "owner", "", ""),
            ("owner of the tables in Acme", "owner", world.acme, ""),
        ]
        for name, role, tenant_id, reason in connections:
            for description, statement, values in statements(table, key, globex_rows[0], world):
                ok = refused(role, statement, values, tenant_id, reason)
                report.attempt(KIND, f"{table}: {name}: {description}", refused=ok)
        for description, statement, values in statements(table, key, globex_rows[0], world):
            if description in READING:
                continue
            ok = refused("operator", statement, values, "", "reading across")
            report.attempt(KIND, f"{table}: operator with a reason: {description}", refused=ok)
        arrive(table, key, acme_rows[0], globex_rows[0], world, report)
        references(table, key, acme_rows, globex_rows, world, report)
        unique_keys(table, key, acme_rows[0], globex_rows[0], world, report)


def views(world: World, report: Report) -> None:
    """A view reads with its owner's rights unless it says otherwise, and row security asks the owner's."""
    with world.superuser() as superuser:
        views = superuser.execute(
            "select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid"
            " where a.attname = 'tenant_id' and c.relkind in ('v', 'm') and c.relnamespace = 'public'::regnamespace"
        ).fetchall()
    for name in (row["name"] for row in views):
        report.covers(KIND, name)
        for role in ("app", "operator"):
            ok = refused(role, select(name, "tenant_id"), [world.globex], world.acme)
            report.attempt(KIND, f"{name}: {role} of Acme reads the view", refused=ok)


def of_nobody(world: World, report: Report) -> None:
    """What belongs to no tenant and knows of some: what a webhook carried, whose a customer is, a price for one."""
    customer = world.claims("customer_id", world.globex)[0]
    with world.superuser() as superuser:
        carried = superuser.execute(
            "select 1 from inbound_webhook where customer_id = %s", [customer]
        ).fetchall()
        priced = superuser.execute("select id from price where for_tenant = %s", [world.globex]).fetchall()
    report.control(KIND, "inbound_webhook: something of Globex came", works=bool(carried))
    sees = refused("app", sql.SQL("select 1 from price where for_tenant = %s"), [world.globex], world.globex)
    report.control(KIND, "price: Globex sees its own", works=bool(priced) and not sees)
    price = priced[0]["id"]
    tries: list[tuple[str, str, list[Any], tuple[db.DatabaseRole, ...]]] = [
        ("select payload from inbound_webhook where customer_id = %s", "read", [customer], ("app",)),
        ("select * from inbound_webhook where customer_id = %s", "read whole", [customer], ("app",)),
        ("update inbound_webhook set payload = '' where customer_id = %s", "forge", [customer], BOTH),
        ("update inbound_webhook set customer_id = '' where customer_id = %s", "turn away", [customer], BOTH),
        ("delete from inbound_webhook where customer_id = %s", "lose", [customer], BOTH),
        ("select owning_tenant_id from customer_sync where customer_id = %s", "whose", [customer], BOTH),
        ("select 1 from customer_sync where owning_tenant_id = %s", "which", [world.globex], BOTH),
        (
            "update customer_sync set owning_tenant_id = %s where customer_id = %s",
            "take",
            [world.acme, customer],
            BOTH,
        ),
        ("delete from customer_sync where customer_id = %s", "forget", [customer], BOTH),
        ("select 1 from price where for_tenant = %s", "look at", [world.globex], ("app",)),
        ("select 1 from price where id = %s", "look at by name", [price], ("app",)),
        ("update price set amount = 0 where id = %s", "cheapen", [price], BOTH),
        ("delete from price where id = %s", "take off sale", [price], BOTH),
        ("update provider_account set sealed = '', token_hash = %s", "another address", ["x"], ("app",)),
        (
            "insert into billing_customer (tenant_id, id, account_id) values (%s, %s, 'platform')",
            "be the customer",
            [world.acme, customer],
            BOTH,
        ),
    ]
    for statement, description, values, roles in tries:
        table = next(name for name in WITHOUT_TENANT if name in statement)
        for role in roles:
            for tenant_id in ("", world.acme):
                ok = refused(role, sql.SQL(statement), values, tenant_id, "" if tenant_id else "curious")  # type: ignore[arg-type]
                where = "in Acme" if tenant_id else "without tenant"
                report.attempt(KIND, f"{table}: {role} {where}: {description}", refused=ok)


def select(table: str, key: str) -> sql.Composed:
    return sql.SQL("select 1 from {} where {} = %s").format(sql.Identifier(table), sql.Identifier(key))


def statements(table: str, key: str, row: Row, world: World) -> Iterator[tuple[str, sql.Composed, list[Any]]]:
    """(name, statement, values): what reaches a row of Globex, where nothing stops it. Reading is the first."""
    name, column = sql.Identifier(table), sql.Identifier(key)
    yield "select", select(table, key), [world.globex]
    yield (
        "select without a filter",
        sql.SQL("select 1 from {} where {} <> %s").format(name, column),
        [world.acme],
    )
    touch = sql.SQL("update {t} set {c} = {c} where {k} = %s")
    last = sql.Identifier(list(row)[-1])
    yield "update", touch.format(t=name, c=last, k=column), [world.globex]
    yield "delete", sql.SQL("delete from {} where {} = %s").format(name, column), [world.globex]
    yield "lock", sql.SQL("select 1 from {} where {} = %s for update").format(name, column), [world.globex]


def insert(table: str, row: Row) -> sql.Composed:
    return sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join(sql.Placeholder() * len(row)),
    )


def plain(row: Row) -> list[Any]:
    def is_json(value: Any) -> bool:
        return isinstance(value, dict) or (isinstance(value, list) and any(map(is_json, value)))

    return [Jsonb(value) if is_json(value) else value for value in row.values()]


def arrive(table: str, key: str, acme_row: Row, globex_row: Row, world: World, report: Report) -> None:
    """A row that is Globex's, added and moved by Acme, with nothing in its way but the policy."""
    name, column = sql.Identifier(table), sql.Identifier(key)
    own_outcome = in_the_free(table, key, world.globex, insert(table, globex_row), plain(globex_row), world)
    report.control(
        KIND, f"{table}: its own tenant adds the row {own_outcome}", works=own_outcome in ("", NO_RIGHT)
    )
    added = in_the_free(table, key, world.acme, insert(table, globex_row), plain(globex_row), world)
    report.attempt(KIND, f"{table}: Acme adds a row of Globex {added}", refused=added == NO_RIGHT)
    give = sql.SQL("update {} set {} = %s where {} = %s and id = %s").format(name, column, column)
    moved = in_the_free(table, key, world.acme, give, [world.globex, world.acme, acme_row["id"]], world)
    report.attempt(KIND, f"{table}: Acme gives a row to Globex {moved}", refused=moved == NO_RIGHT)


def in_the_free(
    table: str, key: str, tenant_id: str, statement: sql.Composed, values: list[Any], world: World
) -> str:
    """The state of the error, "" for none. Rows of Globex are taken away first: they would be in the way by their keys.

    As the app in every respect but that its transaction was opened by somebody who can do that.
    """
    with world.superuser() as superuser, superuser.transaction(force_rollback=True):
        superuser.execute("set local session_replication_role = replica")  # no references, no triggers
        gone = sql.SQL("delete from {} where {} = %s").format(sql.Identifier(table), sql.Identifier(key))
        superuser.execute(gone, [world.globex])
        superuser.execute("set local session_replication_role = origin")
        superuser.execute("set local role bulkhead_app")
        superuser.execute("select set_config('app.tenant_id', %s, true)", [tenant_id])
        try:
            superuser.execute(statement, values)
        except psycopg.Error as problem:
            return problem.sqlstate or "?"
    return ""


def references(
    table: str, key: str, acme_rows: list[Row], globex_rows: list[Row], world: World, report: Report
) -> None:
    """Every foreign key to a tenant's table carries the tenant: a value of the other tenant cannot be stored."""
    tenant_tables = set(world.tables())
    for target, columns in foreign_keys(world, table):
        if target not in tenant_tables or target == "tenant":
            continue
        report.attempt(
            KIND, f"{table}: foreign key to {target} names the tenant", refused="tenant_id" in columns
        )
        column = next(name for name in columns if name != "tenant_id")
        values = {
            row["id" if column.endswith("_id") and column != "user_id" else column]
            for row in world.rows(target, "tenant_id", world.globex)
            if column in row or column.endswith("_id")
        }
        acme_values = {row.get("id") for row in world.rows(target, "tenant_id", world.acme)} | {
            row.get(column) for row in world.rows(target, "tenant_id", world.acme)
        }
        for value in sorted(str(globex_value) for globex_value in values - acme_values)[:2]:
            statement = sql.SQL("update {} set {} = %s where id = %s").format(
                sql.Identifier(table), sql.Identifier(column)
            )
            ok = refused("app", statement, [value, acme_rows[0]["id"]], world.acme)
            report.attempt(KIND, f"{table}.{column} = {value} of Globex", refused=ok)


def foreign_keys(world: World, table: str) -> list[tuple[str, list[str]]]:
    with world.superuser() as superuser:
        rows = superuser.execute(
            "select confrelid::regclass::text as target, array(select attname::text from unnest(conkey) k"
            " join pg_attribute on attrelid = conrelid and attnum = k) as columns"
            " from pg_constraint where contype = 'f' and conrelid = %s::regclass",
            [table],
        ).fetchall()
    return [(row["target"].strip('"'), row["columns"]) for row in rows]


def unique_keys(table: str, key: str, acme_row: Row, globex_row: Row, world: World, report: Report) -> None:
    """A row of one's own with the other tenant's values: a duplicate would tell that they exist."""
    with world.superuser() as superuser:
        indexes = superuser.execute(
            "select array(select attname::text from unnest(indkey::int2[]) k join pg_attribute"
            " on attrelid = indrelid and attnum = k) as columns from pg_index where indrelid = %s::regclass and indisunique",
            [table],
        ).fetchall()
    for number, columns in enumerate(index["columns"] for index in indexes):
        if len(columns) == 1 and (table, columns[0]) in PUBLIC_KEYS:
            continue
        if table == "tenant":
            continue  # its primary key is the tenant itself
        fresh = (
            acme_row
            | {"id": f"{acme_row['id'][:4]}probe{number}"}
            | {name: globex_row[name] for name in columns if name != key}
        )
        try:
            with transaction("app", world.acme) as connection:
                connection.execute(insert(table, fresh), plain(fresh))
            leaked = False
        except psycopg.errors.UniqueViolation as problem:
            # Only a clash with the other tenant's row tells anything; one's own row may be in the way.
            leaked = world.globex in str(problem)
            leaked = leaked or "tenant_id" not in columns
        except psycopg.Error:
            leaked = False
        report.attempt(KIND, f"{table}: unique key {', '.join(columns)}", refused=not leaked)
