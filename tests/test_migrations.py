"""Migrations up, down and up again, on an empty database and with demo data."""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from procrastinate.schema import SchemaManager
from sqlalchemy.engine import make_url

from shared import cli
from shared.cli import database as cli_database
from shared.core import db, row_security
from shared.core.config import ConfigurationError
from shared.core.schema_fingerprint import require_published
from tests.support import database, database_catalog, forked, landed_data, landed_migrations

WHAT_TO_DO = """
What has landed is never edited: restore it as it was, and write a new migration for what has to change
(alembic/frozen/README.md)."""
NEW_QUEUE_SCHEMA = """
The installed procrastinate has another schema than the migrations make. Write a migration with the SQL of its release
(procrastinate/sql/migrations), then run python -m tests.support.landed_migrations."""

ROOT = Path(__file__).parents[1]
LEFT = """
    select c.relname::text from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind <> 'i'
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    union all select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace
    union all select t.typname from pg_type t where t.typnamespace = 'public'::regnamespace and t.typtype <> 'b'
    union all select s.nspname from pg_namespace s where s.nspname !~ '^(pg_|information_schema$|public$)'
"""
SHAPE = """
    select 'column', table_name || '.' || column_name, data_type || is_nullable || coalesce(column_default, '')
    from information_schema.columns where table_schema = 'public'
    union all select 'constraint', conrelid::regclass::text || ' ' || conname, pg_get_constraintdef(oid)
    from pg_constraint where connamespace = 'public'::regnamespace
    union all select 'index', indexname, indexdef from pg_indexes where schemaname = 'public'
    union all select 'policy', tablename || ' ' || policyname, concat(cmd, roles, qual, with_check) from pg_policies
    union all select 'function', p.oid::regprocedure::text, md5(prosrc) from pg_proc p
    where pronamespace = 'public'::regnamespace
    union all select 'grant', table_name || ' ' || grantee, string_agg(privilege_type, ',' order by privilege_type)
    from information_schema.role_table_grants where table_schema = 'public' group by 2
    union all select 'trigger', tgrelid::regclass::text || ' ' || tgname, pg_get_triggerdef(oid)
    from pg_trigger where not tgisinternal
    order by 1, 2, 3
"""


@pytest.fixture
def name() -> Iterator[str]:
    """A database of its own for one test: without a schema."""
    made = f"{database.MINE}{os.getpid()}_migrations"
    database.empty(made)
    yield made
    database.drop(made)


@pytest.fixture
def migrated(schema: str) -> Iterator[str]:
    """A database of its own that the migrations of this tree made, empty otherwise: a copy of the template."""
    made = f"{database.MINE}{os.getpid()}_migrated"
    with database.building() as (connection, template):
        database.clone(connection, template, made)
    yield made
    database.drop(made)


@pytest.fixture(scope="module")
def demo_database(schema: str) -> Iterator[str]:
    """As `migrated`, with demo data, for all tests: making the data takes longer than most of them."""
    made = f"{database.MINE}{os.getpid()}_demo"
    with database.building() as (connection, template):
        database.clone(connection, template, made)
    run_forked(made, run_cli, "seed")
    yield made
    database.drop(made)


@pytest.fixture
def with_demo_data(demo_database: str) -> Iterator[str]:
    """A database of its own for one test: a copy of `demo_database`."""
    made = f"{database.MINE}{os.getpid()}_migrated"
    with database.building() as (connection, _):
        database.clone(connection, demo_database, made)
    yield made
    database.drop(made)


# The verification of the version before the seals: events, and those that are wrong.
FORMER_CHECK = """
    with links as (
        select seq, prev, hash, audit_hash(e) as right_hash, count(*) over (partition by tenant_id) as length,
               lag(hash, 1, '\\x00'::bytea) over link as before, row_number() over link as place,
               (select h.seq from audit_head h where h.tenant_id = e.tenant_id) as head
        from audit_event e window link as (partition by tenant_id order by seq))
    select count(*), count(*) filter (where hash <> right_hash or prev <> before or seq <> place or head <> length)
    from links
"""


def run_forked(name: str, function: Callable[..., object], *arguments: str) -> None:
    """In a process of its own: settings and engines of this one stay where they are."""
    child = forked.run(function, *arguments, environment={"DATABASE_URL": database.admin_url(name)})
    assert child.returncode == 0, child.output[-2000:]


def migrate_up(name: str) -> None:
    run_forked(name, run_cli, "migrate")


def migrate_down(name: str) -> None:
    run_forked(name, downgrade)


def run_cli(command: str) -> None:
    """Runs in the child."""
    cli.app([command], standalone_mode=False)


def migrate_without_live_code() -> None:
    """Runs in the child: live code that landed migrations import is replaced by what they must not execute."""
    row_security.protect = SchemaManager.get_schema = None  # type: ignore[assignment,method-assign]
    cli_database.prepare_database()
    assert row_security.protect is None
    assert SchemaManager.get_schema is None


def downgrade(target: str = "base") -> None:
    """Runs in the child."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    command.downgrade(config, target)


def upgrade(target: str) -> None:
    """Runs in the child."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    command.upgrade(config, target)


def execute(statement: LiteralString, *, name: str) -> None:
    """As a superuser, in the database of that name."""
    with psycopg.connect(database.admin_url(name)) as connection:
        connection.execute(statement)


def list_leftovers(name: str) -> set[str]:
    return {row[0] for row in database_catalog.run_query(LEFT, name=name)} - {
        "alembic_version",
        "alembic_version_pkc",
    }


def test_migrations_run_up_down_and_up_on_an_empty_database(name: str) -> None:
    migrate_up(name)
    before = database_catalog.run_query(SHAPE, name=name)
    migrate_down(name)
    assert list_leftovers(name) == set()
    for _ in range(2):  # up again changes nothing
        migrate_up(name)
        assert database_catalog.run_query(SHAPE, name=name) == before


def test_migrations_run_down_and_up_with_demo_data(with_demo_data: str) -> None:
    name = with_demo_data
    for is_seeded_again in (False, True):  # who is there is not made again
        if is_seeded_again:
            run_forked(name, run_cli, "seed")
        active = database_catalog.run_query("select 1 from membership where state = 'active'", name=name)
        assert len(active) == 6
    migrate_down(name)
    assert list_leftovers(name) == set()
    migrate_up(name)
    assert database_catalog.list_tenant_tables(name) == database_catalog.list_registered_tables()


FORMER_SESSION = """
    insert into "user" (id, email, name, created_at) values ('usr_former', 'ann@former.test', 'Ann', now());
    insert into user_session (id, user_id, token_hash, idle_expires_at, expires_at, factors)
    values ('ses_former', 'usr_former', 'hash', now() + interval '1 day', now() + interval '1 day', 'password');
"""


def test_sessions_of_the_former_version_go_on_and_its_processes_for_an_hour(migrated: str) -> None:
    run_forked(migrated, downgrade, "0010")
    execute(FORMER_SESSION, name=migrated)
    run_forked(migrated, upgrade, "head")
    assert database_catalog.run_query("select is_former_version_allowed()", name=migrated) == [(True,)]
    assert database_catalog.run_query("select id from find_user_session('hash')", name=migrated) == [
        ("ses_former",)
    ]


def test_new_installation_has_no_former_version(migrated: str) -> None:
    assert database_catalog.run_query("select is_former_version_allowed()", name=migrated) == [(False,)]


def test_events_are_in_the_former_chain_again_after_a_downgrade(with_demo_data: str) -> None:
    """Those that were sealed and those that were not."""
    migrated = with_demo_data
    execute("select seal_audit_logs(7)", name=migrated)
    ids = "select tenant_id, id from audit_event order by 1, 2"
    before = database_catalog.run_query(ids, name=migrated)
    run_forked(migrated, downgrade, "0008")
    assert database_catalog.run_query(ids, name=migrated) == before
    assert database_catalog.run_query(FORMER_CHECK, name=migrated) == [(len(before), 0)]


FORMER_TRIAL = """
    set session_replication_role = replica;  -- account and user are not needed
    insert into tenant (id, slug, name, state) values ('ten_acme', 'acme', 'Acme', 'active');
    insert into customer_sync (account_id, customer_id, owning_tenant_id) values ('platform', 'cus_1', 'ten_acme');
    insert into membership (tenant_id, id, user_id, role, state) values
        ('ten_acme', 'mem_1', 'usr_ann', 'owner', 'active'), ('ten_globex', 'mem_2', 'usr_gil', 'owner', 'active');
    insert into billing_subscription (tenant_id, id, account_id, customer_id, status, state, created_at, ticket, seen_at)
    values ('ten_acme', 'sub_1', 'platform', 'cus_1', 'active', '{"trial_ends_at": "2026-11-01T00:00:00Z"}', now(), 1, now());
"""


def test_owners_who_had_a_trial_before_are_remembered(migrated: str) -> None:
    run_forked(migrated, downgrade, "0020")
    execute(FORMER_TRIAL, name=migrated)
    run_forked(migrated, upgrade, "head")
    claims = database_catalog.run_query("select tenant, kind, holder from trial_claim", name=migrated)
    assert claims == [("ten_acme", "person", "usr_ann")]
    verdicts = database_catalog.run_query("select trial_verdict from billing_subscription", name=migrated)
    assert verdicts == [("accepted",)]


REPLACED_CUSTOMER = """
    set session_replication_role = replica;  -- its tenant is not needed
    insert into billing_customer (tenant_id, id, account_id, generation)
    values ('ten_acme', 'cus_deleted', 'platform', 0), ('ten_acme', 'cus_new', 'platform', 1);
"""


def test_downgrade_is_refused_where_a_customer_was_replaced(migrated: str) -> None:
    """Before anything is changed: subscriptions and invoices refer to either of the two."""
    execute(REPLACED_CUSTOMER, name=migrated)
    address = {"DATABASE_URL": database.admin_url(migrated)}
    assert forked.run(downgrade, "0016", environment=address).returncode == 0
    before = database_catalog.run_query(SHAPE, name=migrated)
    child = forked.run(downgrade, "0014", environment=address)
    assert child.returncode != 0
    assert "Customers were replaced, which the version before 0016 cannot store." in child.output
    assert "restore a backup" in child.output
    assert database_catalog.run_query(SHAPE, name=migrated) == before
    assert database_catalog.run_query("select version_num from alembic_version", name=migrated) == [("0016",)]


def test_landed_migrations_are_unchanged(name: str) -> None:
    landed = landed_migrations.read_landed()["migrations"]
    migrations = landed_migrations.describe_migrations(name)
    assert landed.keys() >= {"0001", "0002", "0003"}
    for revision, migration in landed.items():
        changed = [part for part, value in asdict(migrations[revision]).items() if value != migration[part]]
        assert not changed, f"migration {revision} has another {', '.join(changed)}.{WHAT_TO_DO}"


def test_migrations_since_0005_name_the_code_that_works_with_them(migrated: str) -> None:
    """Or processes of the former version are taken out of service when a new one has migrated."""
    scripts = landed_migrations.list_scripts()
    revisions = [script.revision for script in scripts]
    for position, script in enumerate(scripts):
        if script.revision >= "0005":
            assert getattr(script.module, "works_with", None) in revisions[: position + 1], script.path
    recorded = database_catalog.run_query(
        "select revision, works_with from schema_version order by 1", name=migrated
    )
    assert recorded == [
        (script.revision, script.module.works_with) for script in scripts if script.revision >= "0005"
    ]


def test_frozen_files_are_unchanged() -> None:
    frozen = landed_migrations.read_landed()["frozen"]
    digests = landed_migrations.digest_frozen_files()
    changed = [file for file in frozen if digests.get(file) != frozen[file]]
    assert not changed, f"alembic/frozen: {', '.join(changed)} changed.{WHAT_TO_DO}"
    assert digests.keys() == frozen.keys(), "run python -m tests.support.landed_migrations"


def test_migrations_create_the_schema_of_the_installed_procrastinate() -> None:
    recorded = landed_migrations.read_landed()["queue_schema"]
    assert landed_migrations.digest_queue_schema() == recorded, NEW_QUEUE_SCHEMA


def test_landed_migrations_execute_no_live_code(name: str) -> None:
    run_forked(name, migrate_without_live_code)
    assert database_catalog.list_tenant_tables(name) == database_catalog.list_registered_tables()


def test_migrate_refuses_data_of_an_unpublished_migration(name: str) -> None:
    landed_data.restore(name)
    execute("alter table mail_choice drop column changed_at", name=name)
    child = forked.run_command("migrate", environment={"DATABASE_URL": database.admin_url(name)})
    assert child.returncode == 2
    assert "made by an unpublished version of migration 0003" in child.output
    assert "differ from the published migration: table mail_choice." in child.output


def test_migrate_accepts_objects_that_no_migration_made(name: str) -> None:
    landed_data.restore(name)
    execute("create index of_an_administrator on membership (tenant_id, seen_at)", name=name)
    execute("create table notes_of_an_administrator (note text)", name=name)
    with landed_migrations.connect_as_owner(name) as connection:
        require_published(connection, "0003")


async def test_concurrent_migrations_wait_for_each_other(name: str) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate_up, name) for _ in range(2)))
    # An index that is cancelled while it is built concurrently stays behind, invalid.
    assert (
        database_catalog.run_query(
            "select indexrelid::regclass from pg_index where not indisvalid", name=name
        )
        == []
    )
    assert database_catalog.list_tenant_tables(name) == database_catalog.list_registered_tables()


def test_app_role_cannot_block_a_migration(migrated: str) -> None:
    """7233 is the advisory lock of earlier versions."""
    app_url = db.derive_login_url(make_url(database.admin_url(migrated)), "app")
    with psycopg.connect(app_url) as connection:
        connection.execute("select pg_advisory_lock(7233)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
            connection.execute("lock table alembic_version in share update exclusive mode")
        migrate_up(migrated)


def test_migration_that_waits_for_a_lock_gives_up_and_says_for_whom(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli_database, "MIGRATION_LOCK_TIMEOUT_S", 1)
    monkeypatch.setattr(cli_database, "MIGRATION_ATTEMPTS", 2)
    monkeypatch.setattr(cli_database, "MIGRATION_RETRY_DELAY_S", 0)
    cli_database.database_roles.make_roles_and_database(database.admin_url(name), reset_passwords=True)
    monkeypatch.setattr(
        db, "login_url", lambda _: db.derive_login_url(make_url(database.admin_url(name)), "owner")
    )
    cli_database.upgrade_schema("0004")
    with psycopg.connect(database.admin_url(name)) as holder:
        holder.execute("select * from operator_event for update")
        holder.execute("lock table operator_event in row exclusive mode")
        with pytest.raises(
            ConfigurationError,
            match=rf"waited 2 times 1 s for a lock.*{holder.info.user} \(session \d+\) on operator_event",
        ):
            cli_database.upgrade_schema()
        assert database_catalog.run_query("select version_num from alembic_version", name=name) == [("0004",)]
    assert cli_database.upgrade_schema() == landed_migrations.list_scripts()[-1].revision


def test_models_and_tables_have_the_same_columns(schema: str) -> None:
    """A column that only one of them has would otherwise be found when somebody first needs it."""
    import shared.audit.models
    import shared.billing.models
    import shared.identity.models
    import shared.tenancy.models  # noqa: F401
    from shared.core.db import SQLModel

    for table in SQLModel.metadata.tables.values():
        required_in_database = {
            column.name: column.required for column in database_catalog.list_columns(table.name, schema)
        }
        # What a trigger fills in may be missing in Python only.
        required_in_models = {
            column.name: not column.nullable or column.server_default is not None for column in table.columns
        }
        assert required_in_models == required_in_database, table.name


def test_seed_is_refused_in_production(name: str) -> None:
    variables = {"BULKHEAD_ENV": "prod", "DATABASE_URL": database.admin_url(name)}
    child = forked.run_command("seed", environment=variables)
    assert child.returncode == 2
    assert "not ready for production" in child.output
