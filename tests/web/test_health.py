"""Readiness: which schemas this code works with."""

from collections.abc import AsyncIterator
from typing import LiteralString

import psycopg
import pytest

from shared.cli import database as cli_database
from shared.core import db
from shared.web import health
from tests.conftest import own_database
from tests.support import database
from tests.support.http_visitor import browser


@pytest.fixture
async def older_code(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code whose newest migration is 0004."""
    monkeypatch.setattr(health, "list_migration_heads", lambda: {"0004"})
    monkeypatch.setattr(health, "list_known_revisions", lambda: {"0001", "0002", "0003", "0004"})
    monkeypatch.setattr(health, "_schema_compared_at", {})


@pytest.fixture
async def schema_0004(schema: str) -> AsyncIterator[str]:
    """A database of its own at 0004; this process works in it."""
    name = f"{schema}_at_0004"
    await db.dispose()
    database.empty(name)
    database.use(name)
    try:
        cli_database.database_roles.make_roles_and_database(database.admin_url(name), reset_passwords=True)
        cli_database.upgrade_schema("0004")
        yield name
    finally:
        await db.dispose()
        database.use(schema)
        database.drop(name)


def execute(statement: LiteralString, name: str) -> None:
    with psycopg.connect(database.admin_url(name), autocommit=True) as connection:
        connection.execute(statement)


async def ask_readiness(*, operators: bool = False) -> tuple[int, str]:
    """The status and what it says of the database."""
    async with browser(operators=operators) as client:
        answer = await client.get("/readyz")
    return answer.status_code, answer.json()["checks"]["database"]


@pytest.mark.parametrize("operators", [False, True])
async def test_schema_of_the_newest_migration_is_ready(operators: bool) -> None:
    assert await ask_readiness(operators=operators) == (200, "ok")


async def test_schema_behind_the_code_is_refused(schema_0004: str) -> None:
    assert await ask_readiness() == (503, "migrations missing")


async def test_newer_schema_that_works_with_this_code_is_ready(older_code: None) -> None:
    assert await ask_readiness() == (200, "ok")


async def test_newer_schema_that_needs_newer_code_is_refused(schema: str, older_code: None) -> None:
    async with own_database(schema, "too_new"):
        execute("update schema_version set works_with = revision", f"{schema}_too_new")
        assert await ask_readiness() == (503, "schema too new")


async def test_newer_schema_that_says_nothing_is_refused(schema: str, older_code: None) -> None:
    async with own_database(schema, "silent"):
        execute("drop table schema_version", f"{schema}_silent")
        assert await ask_readiness() == (503, "schema unknown")


async def test_landed_schema_is_ready_for_the_apps_roles(schema_0004: str, older_code: None) -> None:
    assert await ask_readiness() == (200, "ok")
    assert await ask_readiness(operators=True) == (200, "ok")


async def test_schema_that_differs_from_what_landed_is_refused(schema_0004: str, older_code: None) -> None:
    execute("alter table mail_preference drop column changed_at", schema_0004)
    assert await ask_readiness() == (503, "schema differs")


async def test_database_without_a_schema_is_refused(schema: str) -> None:
    async with own_database(schema, "bare"):
        execute("delete from alembic_version", f"{schema}_bare")
        assert await ask_readiness() == (503, "schema unknown")
