"""What a command says when it cannot use the database: a cause and a next step, and no traceback."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from shared.cli import database_diagnosis, database_roles
from tests.support import database, forked


@pytest.fixture
def server(schema: str) -> Iterator[URL]:
    """The address of this process's database; what a test sets instead is undone."""
    url = make_url(database.admin_url(schema))
    yield url
    point_to(url)


@pytest.fixture
def empty_name(schema: str) -> Iterator[str]:
    """Of a database without a schema."""
    name = f"{schema}_empty"
    database.empty(name)
    yield name
    database.drop(name)


def point_to(url: URL) -> None:
    os.environ["DATABASE_URL"] = url.render_as_string(hide_password=False)
    database.settings.cache_clear()
    database.db.login_url.cache_clear()


def explain(url: URL) -> str:
    """For a command that failed with an error of the driver."""
    point_to(url)
    return database_diagnosis.explain(psycopg.OperationalError("connection failed"))


def test_missing_database_is_named(server: URL) -> None:
    sentence = explain(server.set(database="no_such_database"))
    assert "the server has no database no_such_database" in sentence
    assert "`bulkhead migrate` creates it" in sentence


def test_wrong_password_is_named_and_not_shown(server: URL) -> None:
    sentence = explain(server.set(username="bulkhead_nobody", password="a-wrong-password"))
    assert "refused the user bulkhead_nobody or its password" in sentence
    assert "a-wrong-password" not in sentence


def test_server_that_does_not_answer_is_named_with_its_address() -> None:
    sentence = database_diagnosis.find_connection_problem(make_url("postgresql://ann:x@127.0.0.1:1/bulkhead"))
    assert "no database server answers at 127.0.0.1:1" in sentence


def test_database_without_a_schema_asks_for_migrate(server: URL, empty_name: str) -> None:
    assert explain(server.set(database=empty_name)).startswith(
        "the database has no schema yet. Run `bulkhead migrate`"
    )


def test_older_schema_asks_for_migrate(server: URL, empty_name: str) -> None:
    with psycopg.connect(database.admin_url(empty_name), autocommit=True) as connection:
        connection.execute("create table alembic_version (version_num text)")
        connection.execute("insert into alembic_version values ('0001')")
    sentence = explain(server.set(database=empty_name))
    assert sentence.startswith("the schema of the database is at 0001, and this version needs ")


def test_failed_statement_on_a_right_database_is_a_bug(server: URL) -> None:
    assert explain(server) == ""


def test_error_of_another_kind_is_a_bug_wherever_the_database_is(server: URL) -> None:
    point_to(server.set(database="no_such_database"))
    assert database_diagnosis.explain(ValueError("not a number")) == ""


def test_nested_error_of_the_database_is_explained(server: URL) -> None:
    point_to(server.set(database="no_such_database"))
    problem = ValueError("two things at once")
    problem.__cause__ = psycopg.OperationalError("connection failed")
    assert database_diagnosis.explain(ExceptionGroup("two tasks", [problem])) != ""


def test_migrate_makes_the_database_where_it_is_missing(server: URL, schema: str) -> None:
    name = f"{schema}_made"
    point_to(server.set(database=name))
    try:
        database_roles.make_roles_and_database(database.admin_url(name), reset_passwords=True)
        assert explain(server.set(database=name)).startswith("the database has no schema yet")
    finally:
        database.drop(name)


def test_command_ends_with_the_sentence_instead_of_a_traceback(server: URL) -> None:
    url = server.set(database="no_such_database").render_as_string(hide_password=False)
    words = ("operator", "create", "zoe@bulkhead.test", "--role", "owner")
    child = forked.run_command(*words, environment={"DATABASE_URL": url})
    assert child.returncode == 2
    assert child.output.startswith("bulkhead: the server has no database no_such_database.")
    assert child.output.count("\n") == 1
