"""Roles of two installations on one server: each has logins of its own and leaves those of the other alone."""

import time
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from sqlalchemy.engine import make_url

from shared.cli import database as cli_database
from shared.cli import database_roles, login_checks
from shared.core import database_logins, db
from shared.core.config import ConfigurationError, Settings, settings
from shared.core.database_logins import ASIDE_ROLE, LOGIN_KINDS, ROLE_OF_LOGIN, LoginKind
from shared.dev.postgres import EmbeddedPostgres
from tests.support import database
from tests.support.postgres_server import run_own_server

OLD_PASSWORD = "of-an-earlier-version"


@pytest.fixture(scope="module")
def server(schema: str) -> Iterator[EmbeddedPostgres]:
    with run_own_server() as server:
        yield server


@pytest.fixture
def first_url(server: EmbeddedPostgres) -> Iterator[str]:
    """The administrator's URL of a new installation; the roles of the server are new as well."""
    url = server.url(database="first")
    database_roles.make_roles_and_database(url, reset_passwords=True)
    yield url
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for name in ("first", "second"):
            database._drop(connection, name)
        for group in database_roles.GROUPS:
            connection.execute(f"drop role {group}")


@pytest.fixture
def production(first_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Settings that say production, as far as logins are concerned."""
    monkeypatch.setattr(Settings, "is_production", True)
    monkeypatch.setattr(Settings, "find_production_problems", lambda _: [])
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()
    db.login_url.cache_clear()


def set_urls(monkeypatch: pytest.MonkeyPatch, **urls: str) -> None:
    for name, url in urls.items():
        monkeypatch.setenv(name, url)
    settings.cache_clear()
    db.login_url.cache_clear()


def make_old_installation(server: EmbeddedPostgres, name: str) -> str:
    """As an earlier version leaves it: the group roles log in, and everybody may connect. The app's URL."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for group in database_roles.GROUPS:
            connection.execute(f"alter role {group} login password '{OLD_PASSWORD}'")
        connection.execute(f"create database {name} owner bulkhead_owner")
    with psycopg.connect(server.url(database=name), autocommit=True) as connection:
        connection.execute("create table alembic_version (version_num text)")
        connection.execute("alter table alembic_version owner to bulkhead_owner")
    url = make_url(server.url(database=name)).set(username="bulkhead_app", password=OLD_PASSWORD)
    return url.render_as_string(hide_password=False)


def derive(admin_url: str, kind: LoginKind) -> str:
    return db.derive_login_url(make_url(admin_url), kind)


def run(url: str, statement: LiteralString) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def can_connect(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("kind", LOGIN_KINDS)
def test_login_has_the_rights_of_its_group_and_its_time_limits(first_url: str, kind: LoginKind) -> None:
    group = database_logins.role_name(ROLE_OF_LOGIN[kind])
    members = [
        name
        for name in database_roles.GROUPS
        if run(derive(first_url, kind), f"select 1 where pg_has_role('{name}', 'usage')")  # type: ignore[arg-type]
    ]
    assert members == [group]
    for name, value in database_logins.login_settings(kind).items():
        [(actual,)] = run(
            derive(first_url, kind),
            f"select setting::int = extract(epoch from interval '{value}') * 1000 from pg_settings where name = '{name}'",  # type: ignore[arg-type]
        )
        assert actual, name


def test_new_group_role_cannot_log_in(first_url: str) -> None:
    with psycopg.connect(first_url) as connection:
        assert database_roles.list_login_groups(connection) == []


@pytest.mark.parametrize("kind", LOGIN_KINDS)
def test_login_connects_to_its_own_database_only(first_url: str, kind: LoginKind) -> None:
    second_url = make_url(first_url).set(database="second").render_as_string(hide_password=False)
    database_roles.make_roles_and_database(second_url, reset_passwords=True)
    login_url = make_url(derive(first_url, kind))
    assert can_connect(login_url.render_as_string(hide_password=False))
    assert not can_connect(login_url.set(database="second").render_as_string(hide_password=False))


def test_second_installation_with_its_own_administrator_leaves_the_first_alone(
    server: EmbeddedPostgres, first_url: str
) -> None:
    run(server.url(), "create role mgd login createrole createdb password 'another'")
    groups = ", ".join((*database_roles.GROUPS, ASIDE_ROLE))
    run(server.url(), f"grant {groups} to mgd with admin option")
    second_url = make_url(server.url(database="second")).set(username="mgd", password="another")
    try:
        database_roles.make_roles_and_database(
            second_url.render_as_string(hide_password=False), reset_passwords=True
        )
        assert can_connect(derive(second_url.render_as_string(hide_password=False), "app"))
        assert all(can_connect(derive(first_url, kind)) for kind in LOGIN_KINDS)
    finally:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            database._drop(connection, "second")
            connection.execute("drop owned by mgd")
            connection.execute("drop role mgd")


def test_group_role_that_an_older_installation_uses_keeps_login_and_password(
    server: EmbeddedPostgres, first_url: str
) -> None:
    old_url = make_old_installation(server, "second")
    database_roles.make_roles_and_database(first_url, reset_passwords=True)
    assert can_connect(old_url)
    with psycopg.connect(first_url, autocommit=True) as connection:
        with pytest.raises(
            ConfigurationError, match=r"other databases on this server still log in .*: second"
        ):
            database_roles.end_group_logins(connection, "first")
        assert database_roles.list_login_groups(connection) == sorted(database_roles.GROUPS)


def wait_for_sessions_to_end(connection: psycopg.Connection[Any], user: str) -> None:
    """A session that its client has closed ends a moment later."""
    deadline = time.monotonic() + 20
    while connection.execute("select 1 from pg_stat_activity where usename = %s", [user]).fetchone():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_processes_of_the_earlier_version_reach_their_database_until_logins_end(
    server: EmbeddedPostgres, first_url: str
) -> None:
    """A rolling start: the new version has migrated, the old one is still running."""
    old_url = make_old_installation(server, "second")
    second_url = server.url(database="second")
    database_roles.make_roles_and_database(second_url, reset_passwords=True)
    assert can_connect(old_url)
    assert can_connect(derive(second_url, "app"))
    with psycopg.connect(second_url, autocommit=True) as connection:
        with psycopg.connect(old_url), pytest.raises(ConfigurationError, match="bulkhead_app in second"):
            database_roles.end_group_logins(connection, "second")
        wait_for_sessions_to_end(connection, "bulkhead_app")
        database_roles.end_group_logins(connection, "second")
        database_roles.limit_connections(connection, "second")
    assert not can_connect(old_url)
    assert can_connect(derive(second_url, "app"))
    first_owner = make_url(derive(first_url, "owner")).set(database="second")
    assert not can_connect(first_owner.render_as_string(hide_password=False))


def test_role_that_is_not_ours_is_refused_and_stays_as_it_is(
    server: EmbeddedPostgres, first_url: str
) -> None:
    run(server.url(), "create role second_app_login login password 'somebody-elses'")
    second_url = make_url(server.url(database="second"))
    with pytest.raises(ConfigurationError, match="a role second_app_login that Bulkhead did not make"):
        database_roles.make_roles_and_database(
            second_url.render_as_string(hide_password=False), reset_passwords=True
        )
    theirs = second_url.set(database="postgres", username="second_app_login", password="somebody-elses")
    assert can_connect(theirs.render_as_string(hide_password=False))


@pytest.mark.parametrize("reset_passwords", [True, False])
def test_changed_password_of_the_administrator_reaches_logins_only_when_asked(
    server: EmbeddedPostgres, first_url: str, reset_passwords: bool
) -> None:
    run(server.url(), "create role other_admin superuser login password 'rotated'")
    rotated_url = make_url(first_url).set(username="other_admin", password="rotated")
    rotated = rotated_url.render_as_string(hide_password=False)
    try:
        database_roles.make_roles_and_database(rotated, reset_passwords=reset_passwords)
        assert can_connect(derive(rotated, "app")) == reset_passwords
        assert can_connect(derive(first_url, "app")) == (not reset_passwords)
    finally:
        run(server.url(), "drop role other_admin")


def test_production_refuses_an_administrator(first_url: str, production: pytest.MonkeyPatch) -> None:
    set_urls(production, DATABASE_URL=first_url)
    with pytest.raises(
        ConfigurationError, match=r"logs in as postgres, who is a superuser.*DATABASE_MIGRATE_URL"
    ):
        login_checks.require_no_administrator()


def test_production_refuses_the_owner_and_the_other_realm(
    first_url: str, production: pytest.MonkeyPatch
) -> None:
    set_urls(production, DATABASE_URL=derive(first_url, "owner"))
    with pytest.raises(ConfigurationError, match="is a member of bulkhead_owner"):
        login_checks.require_member("app", "tenant app")
    set_urls(production, DATABASE_URL=derive(first_url, "operator"))
    with pytest.raises(ConfigurationError, match=r"a member of bulkhead_operator\. The tenant app needs"):
        login_checks.require_member("app", "tenant app")


def test_production_refuses_a_direct_url_with_more_rights(
    first_url: str, production: pytest.MonkeyPatch
) -> None:
    set_urls(production, DATABASE_URL=derive(first_url, "app"), DATABASE_DIRECT_URL=first_url)
    with pytest.raises(ConfigurationError, match="DATABASE_DIRECT_URL logs in as postgres"):
        login_checks.require_member("app", "tenant app")


@pytest.mark.parametrize("right", ["createrole", "createdb", "bypassrls"])
def test_production_refuses_a_login_with_one_right_too_many(
    server: EmbeddedPostgres, first_url: str, production: pytest.MonkeyPatch, right: str
) -> None:
    login_url = derive(first_url, "app")
    run(server.url(), f"alter role first_app_login {right}")  # type: ignore[arg-type]
    set_urls(production, DATABASE_URL=login_url)
    with pytest.raises(ConfigurationError, match="DATABASE_URL logs in as first_app_login, who can"):
        login_checks.require_no_administrator()


@pytest.mark.parametrize("kind", ["app", "worker"])
def test_production_takes_the_login_of_the_process_as_it_is(
    first_url: str, production: pytest.MonkeyPatch, kind: LoginKind
) -> None:
    login_url = derive(first_url, kind)
    set_urls(production, DATABASE_URL=login_url)
    login_checks.require_member("app", "tenant app")
    assert db.login_url("app") == login_url


def test_only_migrate_reads_the_url_of_the_administrator(
    first_url: str, production: pytest.MonkeyPatch
) -> None:
    set_urls(production, DATABASE_URL=derive(first_url, "app"), DATABASE_MIGRATE_URL=first_url)
    assert db.login_url("app") == derive(first_url, "app")
    assert db.login_url("owner") == derive(first_url, "owner")
    assert cli_database.find_login_url("operator") == derive(first_url, "operator")


def test_worker_logs_in_as_the_worker(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(db, "_app_login", "app")  # put back at the end
    db.log_in_as_worker()
    try:
        assert make_url(db.login_url("app")).username == f"{schema}_worker_login"
        assert run(db.login_url("app"), "show statement_timeout") == [("1min",)]
    finally:
        monkeypatch.undo()
        db.login_url.cache_clear()


def test_names_of_logins_are_distinct_and_fit() -> None:
    long_name = "x" * 63
    databases = ["bulkhead", "bulkhead_app", long_name, long_name[:-1] + "y", "ü" * 31]
    names = [database_logins.login_name(name, kind) for name in databases for kind in LOGIN_KINDS]
    assert len(set(names)) == len(names)
    assert max(len(name.encode()) for name in names) <= 63
    assert not {*names} & {*database_roles.GROUPS}
