"""New migrations run beside the former version: nothing that rewrites a growing table or locks it for long."""

import os
from collections.abc import Iterator

import pytest

from tests.support import database, landed_migrations
from tests.support.migration_lint import find_violations

REFUSED = {
    "type change": ("alter table membership alter column role type varchar(20)", "rewrites the table"),
    "volatile default": (
        "alter table task add column token text default gen_random_uuid()",
        "rewrites the table",
    ),
    "not null column": ("alter table membership add column note text not null", "fails where there are rows"),
    "set not null": ("alter table membership alter column note set not null", "reads every row"),
    "check": ("alter table membership add constraint c check (role <> '')", "checks every row"),
    "foreign key": (
        "alter table membership add constraint f foreign key (a) references b",
        "checks every row",
    ),
    "unique": ("alter table membership add constraint u unique (tenant_id, role)", "builds an index"),
    "index": ("create index membership_by_role on membership (tenant_id, role)", "blocks writes"),
    "index of audit": ("create unique index x on audit_event (tenant_id, at)", "blocks writes"),
    "rename": ("alter table membership rename column role to kind", "breaks the running version"),
    "update": ("update membership set role = 'x'", "in batches"),
    "second of two": (
        "select 1; -- a comment\nalter table only membership\n  alter role type text;",
        "rewrites",
    ),
}
ACCEPTED = {
    "column": "alter table membership add column note text",
    "constant default": "alter table membership add column note text not null default ''",
    "not valid": "alter table membership add constraint c check (role <> '') not valid",
    "validate": "alter table membership validate constraint c",
    "concurrently": "create index concurrently membership_by_role on membership (tenant_id, role)",
    "using index": "alter table membership add constraint u unique using index membership_by_role",
    "few rows": "update membership set role = 'x' where role = 'y'",
    "small table": "create index plan_by_key on plan (key)",
    "own table": "create table task (id text); create index on task (id); alter table task add constraint c check (true)",
    "function": "create function f() returns trigger language plpgsql as $$ begin update membership set a = 1; end $$",
    "proved not null": "alter table membership validate constraint c; alter table membership alter note set not null",
}


@pytest.fixture
def name() -> Iterator[str]:
    """A database of its own, without a schema."""
    made = f"{database.MINE}{os.getpid()}_lint"
    database.empty(made)
    yield made
    database.drop(made)


@pytest.mark.parametrize(("statement", "advice"), REFUSED.values(), ids=REFUSED)
def test_statement_is_refused_with_what_to_do_instead(statement: str, advice: str) -> None:
    (violation,) = find_violations([statement])
    assert advice in violation


@pytest.mark.parametrize("statement", ACCEPTED.values(), ids=ACCEPTED)
def test_statement_is_accepted(statement: str) -> None:
    assert find_violations([statement]) == []


def test_new_migrations_run_beside_the_former_version(name: str) -> None:
    """0001 to 0004 landed before this rule."""
    with landed_migrations.connect_as_owner(name) as connection:
        for script in landed_migrations.list_scripts():
            with landed_migrations.statements(connection) as executed:
                landed_migrations.upgrade(connection, script.revision)
            if script.revision > "0004":
                assert find_violations(executed) == [], script.path
