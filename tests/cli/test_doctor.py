"""`bulkhead doctor` names each part that is broken, says what to do, and shows no secret."""

import base64
import json
import os
import socket
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from aiosmtpd.controller import Controller
from sqlalchemy.engine import URL, make_url

from shared.cli.doctor import check_results, database_checks, diagnosis, file_checks, job_checks, key_checks
from shared.cli.doctor.check_results import CheckResult
from shared.core import database_logins, db
from shared.core.config import settings
from shared.tenancy import provisioning
from tests.conftest import Cast
from tests.support import database, forked, source

SECRET = "very-secret-word"
DiskUsage = namedtuple("DiskUsage", "total used free")


@pytest.fixture
def environment(schema: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A sound installation in development; what a test sets instead is undone."""
    monkeypatch.setenv("DATABASE_URL", database.admin_url(schema))
    clear_caches()
    yield monkeypatch
    monkeypatch.undo()
    clear_caches()


def clear_caches() -> None:
    settings.cache_clear()
    db.login_url.cache_clear()


def set_environment(monkeypatch: pytest.MonkeyPatch, **changed: str) -> None:
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    clear_caches()


def set_database(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> None:
    url: URL = make_url(os.environ["DATABASE_URL"]).set(**changed)
    set_environment(monkeypatch, DATABASE_URL=url.render_as_string(hide_password=False))


def examine() -> dict[str, CheckResult]:
    """By name. Every result that is not ok has a next step, and none holds the secret."""
    results = diagnosis.examine()
    assert [result for result in results if result.status != "ok" and not result.next_step] == []
    assert SECRET not in check_results.render_lines(results) + check_results.render_json(results)
    return {result.name: result for result in results}


def run_as_administrator(schema: str, *statements: str) -> None:
    with psycopg.connect(database.admin_url(schema), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@contextmanager
def running_mail_server() -> Iterator[int]:
    """A mail server without STARTTLS; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(object(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def test_sound_database_passes_every_check(environment: pytest.MonkeyPatch) -> None:
    results = examine()
    names = (
        "settings",
        "database",
        "database encryption",
        "database login",
        "database time limits",
        "database roles",
        "database connections",
        "clock",
        "schema",
    )
    assert {name: results[name].status for name in names} == dict.fromkeys(names, "ok")


def test_unusable_settings_are_the_only_results(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, BULKHEAD_ENV="prod", SMTP_URL=f"smtp+plain://ann:{SECRET}@mail.example.com")
    results = diagnosis.examine()
    assert {result.name for result in results} == {"settings"}
    assert any(result.detail.startswith("SMTP_URL is smtp+plain://") for result in results)
    assert examine()["settings"].status == "failed"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"host": "127.0.0.1", "port": 1, "query": {}}, "No database server answers at 127.0.0.1:1."),
        ({"username": "nobody_knows", "password": SECRET}, "refused the user nobody_knows"),
        ({"database": "no_such_database"}, "has no database no_such_database"),
    ],
    ids=["server away", "wrong password", "no database"],
)
def test_unreachable_database_is_named_and_other_parts_are_checked(
    environment: pytest.MonkeyPatch, changed: dict[str, Any], message: str
) -> None:
    set_database(environment, **changed)
    results = examine()
    assert results["database"].status == "failed"
    assert message in results["database"].detail
    assert "schema" not in results
    assert {"redis", "mail", "disk"} <= results.keys()


def test_older_schema_asks_for_migrate(environment: pytest.MonkeyPatch, schema: str) -> None:
    newest = database.revision()
    run_as_administrator(schema, "update alembic_version set version_num = '0001'")
    try:
        result = examine()["schema"]
    finally:
        run_as_administrator(schema, f"update alembic_version set version_num = '{newest}'")
    assert (result.status, result.next_step) == ("failed", "Run `bulkhead migrate`.")


def test_changed_schema_is_named_with_its_objects(environment: pytest.MonkeyPatch) -> None:
    environment.setattr(database_checks, "list_differences", lambda *_: ["table member"])
    result = examine()["schema"]
    assert result.status == "failed"
    assert "table member" in result.detail


@pytest.mark.usefixtures("app_login")
def test_login_without_time_limits_fails(environment: pytest.MonkeyPatch, schema: str) -> None:
    login = database_logins.login_name(schema, "app")
    run_as_administrator(schema, f'alter role "{login}" set statement_timeout = 0')
    try:
        result = examine()["database time limits"]
    finally:
        run_as_administrator(schema, f"alter role \"{login}\" set statement_timeout = '5s'")
    assert result.status == "failed"
    assert "statement_timeout is 0ms, not 5s" in result.detail


class FakeConnection:
    """Answers every statement with the same rows."""

    def __init__(
        self, *rows: tuple[Any, ...], host: str = "", version: int = 160_000, user: str = "app"
    ) -> None:
        self.rows = rows
        self.info = SimpleNamespace(
            user=user, dbname="bulkhead", host=host, server_version=version, parameter_status=str
        )

    def execute(self, *_: object) -> "FakeConnection":
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        return self.rows[0] if self.rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self.rows)


SOUND_GROUPS = (
    ("bulkhead_app", False, False),
    ("bulkhead_operator", False, False),
    ("bulkhead_owner", False, False),
)
BROKEN: dict[str, tuple[Callable[[Any], Iterator[CheckResult]], FakeConnection, str]] = {
    "old server": (database_checks._check_version, FakeConnection(version=140_009), "failed"),
    "plain and public": (
        database_checks._check_encryption,
        FakeConnection((False,), host="db.example.com"),
        "failed",
    ),
    "plain and private": (database_checks._check_encryption, FakeConnection((False,), host="10.0.0.1"), "ok"),
    "no roles": (database_checks._check_groups, FakeConnection(), "failed"),
    "role that bypasses": (
        database_checks._check_groups,
        FakeConnection(*SOUND_GROUPS[:2], ("bulkhead_owner", False, True)),
        "failed",
    ),
    "role that logs in": (
        database_checks._check_groups,
        FakeConnection(*SOUND_GROUPS[:2], ("bulkhead_owner", True, False)),
        "warning",
    ),
    "few connections": (database_checks._check_connections, FakeConnection((20, 3)), "warning"),
    "clock ahead": (
        database_checks._check_clock,
        FakeConnection((datetime.now(UTC) + timedelta(minutes=5),)),
        "failed",
    ),
    "owner's login": (database_checks._check_login, FakeConnection(user="bulkhead_owner_login"), "ok"),
    "owner's time limits": (
        database_checks._check_timeouts,
        FakeConnection(user="bulkhead_owner_login"),
        "ok",
    ),
    "login of another name": (database_checks._check_timeouts, FakeConnection(), "warning"),
}


@pytest.mark.parametrize(("check", "connection", "status"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_server_is_judged(
    check: Callable[[Any], Iterator[CheckResult]], connection: FakeConnection, status: str
) -> None:
    (result,) = check(connection)
    assert result.status == status
    assert bool(result.next_step) is (status != "ok")


async def test_data_keys_are_opened_and_older_wraps_counted(
    cast: Cast, environment: pytest.MonkeyPatch
) -> None:
    async with cast.ann.ctx() as ctx:
        assert await provisioning.run_next_step(ctx) == "settings"  # which makes the data key
    keys = settings().load_master_keys()
    old_texts = [f"{number}:{base64.b64encode(key).decode()}" for number, key in keys.items()]
    new_key, other_key = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    assert [result.status for result in await key_checks.check_keys()] == ["ok"]

    set_environment(environment, BULKHEAD_MASTER_KEYS=",".join([f"9:{new_key}", *old_texts]))
    (older,) = await key_checks.check_keys()
    assert (older.status, older.next_step) == ("warning", "Run `bulkhead rotate-keys`.")

    number = next(iter(keys))
    set_environment(environment, BULKHEAD_MASTER_KEYS=f"{number}:{other_key}")
    (locked,) = await key_checks.check_keys()
    assert locked.status == "failed"
    assert f"(master key {number})" in locked.detail
    assert other_key not in locked.detail


async def test_worker_is_judged_by_its_heartbeat(environment: pytest.MonkeyPatch, schema: str) -> None:
    async def judge() -> str:
        return next(iter(await job_checks.check_jobs())).status

    run_as_administrator(schema, "delete from procrastinate_workers")
    assert await judge() == "failed"
    run_as_administrator(schema, "insert into procrastinate_workers (last_heartbeat) values (now())")
    assert await judge() == "ok"
    run_as_administrator(
        schema, "update procrastinate_workers set last_heartbeat = now() - interval '1 minute'"
    )
    assert await judge() == "failed"
    run_as_administrator(schema, "delete from procrastinate_workers")


async def test_failed_jobs_are_counted(environment: pytest.MonkeyPatch, schema: str) -> None:
    run_as_administrator(
        schema,
        "insert into procrastinate_jobs (task_name, queue_name, status) values ('platform.doctor', 'none', 'failed')",
    )
    try:
        _, jobs = await job_checks.check_jobs()
    finally:
        run_as_administrator(schema, "delete from procrastinate_jobs where task_name = 'platform.doctor'")
    assert jobs.status == "warning"
    assert "bulkhead jobs list --status failed" in jobs.next_step


def test_redis_that_is_away_fails(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, REDIS_URL=f"redis://:{SECRET}@127.0.0.1:1/0")
    assert examine()["redis"].status == "failed"


def test_mail_server_that_is_away_fails(environment: pytest.MonkeyPatch) -> None:
    set_environment(environment, SMTP_URL=f"smtp://ann:{SECRET}@127.0.0.1:1")
    assert examine()["mail"].status == "failed"


def test_mail_server_without_starttls_fails(environment: pytest.MonkeyPatch) -> None:
    with running_mail_server() as port:
        set_environment(environment, SMTP_URL=f"smtp://ann:{SECRET}@127.0.0.1:{port}")
        result = examine()["mail"]
        assert (result.status, "has no STARTTLS" in result.detail) == ("failed", True)
        set_environment(environment, SMTP_URL=f"smtps://127.0.0.1:{port}")
        assert "no TLS at that port" in examine()["mail"].detail
        set_environment(environment, SMTP_URL=f"smtp+plain://127.0.0.1:{port}")
        assert examine()["mail"].status == "ok"


@pytest.mark.parametrize(("free_mb", "status"), [(10, "failed"), (500, "warning"), (50_000, "ok")])
def test_disk_is_judged_by_its_free_space(environment: pytest.MonkeyPatch, free_mb: int, status: str) -> None:
    usage = DiskUsage(100_000 * 2**20, 0, free_mb * 2**20)
    environment.setattr(file_checks.shutil, "disk_usage", lambda _: usage)
    assert [result.status for result in file_checks.check_disk()] == [status]


def test_files_that_others_can_read_are_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(environment, BULKHEAD_DATA_DIR=str(tmp_path))
    mails = tmp_path / "mail.jsonl"
    mails.write_text(SECRET)
    mails.chmod(0o600)
    assert [result.status for result in file_checks.check_files()] == ["ok"]
    mails.chmod(0o644)
    assert [result.status for result in file_checks.check_files()] == ["warning"]
    (tmp_path / "master.keys").touch(0o640)
    (result,) = file_checks.check_files()
    assert (result.status, "master.keys" in result.detail) == ("failed", True)


def test_missing_data_directory_is_a_warning(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(environment, BULKHEAD_DATA_DIR=str(tmp_path / "none"))
    assert [result.status for result in file_checks.check_disk()] == ["warning"]


def test_last_runs_are_read_from_the_data_directory(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_environment(environment, BULKHEAD_DATA_DIR=str(tmp_path))
    run = tmp_path / file_checks.LAST_RUNS / "bench"
    run.parent.mkdir()
    run.touch()
    os.utime(run, (0, 0))
    details = {result.name: result.detail for result in file_checks.check_last_runs()}
    assert details["make bench"] == "Last succeeded on 1 January 1970 at 00:00 UTC."
    assert details["make test-long"].startswith("No success is recorded")
    for target in file_checks.TARGETS:
        assert f"call RECORD,{target}" in (source.ROOT / "Makefile").read_text()


def test_check_that_raises_is_a_failure_without_the_message() -> None:
    def check() -> Iterator[CheckResult]:
        yield check_results.ok("first", "Fine.")
        raise ValueError(SECRET)

    first, second = check_results.run_check("part", check)
    assert (first.status, second.status) == ("ok", "failed")
    assert SECRET not in second.detail


def test_command_prints_json_and_exits_with_one(environment: pytest.MonkeyPatch) -> None:
    url = f"postgresql://ann:{SECRET}@127.0.0.1:1/bulkhead"
    child = forked.run_command("doctor", "--json", environment={"DATABASE_URL": url})
    assert child.returncode == 1
    assert SECRET not in child.output
    results = json.loads(child.output)
    assert [each["status"] for each in results if each["name"] == "database"] == ["failed"]
