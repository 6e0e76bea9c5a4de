"""The job of an export: batches with the rights of now, progress, cancel, retries; nothing half done."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from shared.api_keys import keys
from shared.core import db
from shared.core.config import settings
from shared.core.errors import Refused
from shared.files import export_runs, exports, incoming, retention, storage_registry
from shared.files.models import ExportState
from shared.files.storage import StorageUnavailable
from shared.jobs.lanes import Lane, lane_of_task
from shared.jobs.worker import ExternalJob
from shared.tenancy import exports as tenancy_exports
from shared.tenancy import members, notifications, recorded_decisions, service_accounts
from shared.tenancy.models import Membership
from shared.tenancy.recorded_decisions import RecordedDecision
from tests.conftest import Cast, Person
from tests.support import api_clients, database, factories, workers
from tests.support.exports import download, export, export_rows, read, run, start
from tests.support.s3_stand_in import run_bucket


@pytest.fixture(autouse=True)
def files_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Of this test alone: no other process writes there."""
    monkeypatch.setenv("BULKHEAD_FILES_DIR", str(tmp_path))
    settings.cache_clear()
    storage_registry.register(None)
    yield tmp_path
    monkeypatch.undo()
    settings.cache_clear()
    storage_registry.register(None)  # a process keeps the one that it has used


@pytest.fixture
def after_first_batch(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Batches of one row; `action` runs once, before the second one is read. Progress is written with every batch."""
    monkeypatch.setattr(tenancy_exports, "BATCH_SIZE", 1)
    monkeypatch.setattr(export_runs, "PROGRESS_SECONDS", 0)
    read_batch = export_runs._read_batch

    def plan(action: Any) -> None:
        past_actions = []

        async def read_then_act(*arguments: Any, **named: Any) -> Any:
            if named["after"] and not past_actions:
                past_actions.append(True)
                await action()
            return await read_batch(*arguments, **named)

        monkeypatch.setattr(export_runs, "_read_batch", read_then_act)

    return plan


def list_stored(cast: Cast) -> list[str]:
    folder = settings().absolute_files_dir / cast.acme
    left_over = [path.name for path in (settings().absolute_files_dir / "incoming").glob("*")]
    return [path.name for path in folder.glob("*")] + left_over


async def test_long_export_is_read_in_batches_without_a_limit(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [await factories.create_account("Crowd") for _ in range(9)]
    async with db.transaction(tenant_id=cast.acme) as session:
        session.add_all(
            Membership(tenant_id=cast.acme, user_id=account.user.id, role="viewer") for account in people
        )
    monkeypatch.setattr(tenancy_exports, "BATCH_SIZE", 5)
    _, *lines = await export_rows(cast.ann, "members")
    assert len({row[1] for row in lines}) == len(lines) == 12


async def test_progress_is_shown_while_the_export_runs(
    cast: Cast, after_first_batch: Callable[[Any], None]
) -> None:
    started, seen = await start(cast.ann, "members"), []

    async def look() -> None:
        seen.append(await read(cast.ann, started.id))

    after_first_batch(look)
    ready = await run(cast.ann, started.id)
    assert [(view.state, view.expected_rows) for view in seen] == [(ExportState.RUNNING, 3)]
    assert (ready.row_count, ready.percent, ready.state) == (3, 100, ExportState.READY)


async def test_member_who_lost_the_permission_meanwhile_gets_nothing_and_the_reason(cast: Cast) -> None:
    started = await start(cast.adam, "audit")
    async with cast.ann.ctx() as ctx:
        (adam,) = (await members.list_members(ctx, query=cast.adam.email)).rows
        await members.set_role(ctx, adam.id, "member", version=None)
    failed = await run(cast.adam, started.id)
    assert (failed.state, failed.download_path) == (ExportState.FAILED, "")
    assert "You don’t have permission to view the audit log." in failed.problem
    assert list_stored(cast) == []


async def test_member_who_is_removed_in_the_middle_gets_nothing(
    cast: Cast, after_first_batch: Callable[[Any], None]
) -> None:
    started = await start(cast.max, "members")

    async def remove() -> None:
        async with cast.ann.ctx() as ctx:
            (max_,) = (await members.list_members(ctx, query=cast.max.email)).rows
            await members.remove(ctx, max_.id)

    after_first_batch(remove)
    with pytest.raises(Refused, match="was removed"):
        await run(cast.max, started.id)
    row = database.connect().execute("select state, problem from export_job where id = %s", [started.id])
    state, problem = row.fetchall()[0]
    assert (state, problem.startswith("Whoever asked for this no longer has access.")) == ("failed", True)
    assert list_stored(cast) == []


async def get_decision(person: Person, decision_id: str) -> RecordedDecision:
    async with person.ctx() as ctx:
        return await recorded_decisions.get(ctx, decision_id)


async def test_plan_that_ends_in_the_middle_ends_the_export(
    cast: Cast, after_first_batch: Callable[[Any], None]
) -> None:
    started = await start(cast.ann, "members")
    after_first_batch(lambda: cast.ann.gets("starter"))
    failed = await run(cast.ann, started.id)
    assert failed.state is ExportState.FAILED
    assert "Starter doesn’t include CSV export." in failed.problem
    decision = await get_decision(cast.ann, failed.decision_id)
    assert (decision.reason, decision.surface, decision.actor_id) == (
        "not_in_plan",
        "job",
        cast.ann.user_id,
    )


async def test_export_of_a_revoked_key_gets_nothing(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann, "home:read", "member:read")
    async with program.client() as client:
        created = (await client.post("/api/v1/exports", json={"kind": "members"})).json()
    async with cast.ann.ctx() as ctx:
        await keys.revoke(ctx, program.key_id)
    failed = await run(cast.ann, created["id"])
    assert failed.state is ExportState.FAILED
    assert "no longer has access" in failed.problem
    decision = await get_decision(cast.ann, failed.decision_id)
    assert (decision.actor_type, decision.actor_id, decision.action) == (
        "api_key",
        program.key_id,
        "export:create",
    )


async def test_refused_export_of_a_service_account_names_it(cast: Cast) -> None:
    program = await api_clients.create_account_key(cast.ann, "member", "home:read", "member:read")
    async with program.client() as client:
        created = (await client.post("/api/v1/exports", json={"kind": "members"})).json()
    async with cast.ann.ctx() as ctx:
        await keys.revoke(ctx, program.key_id)
    await export_runs.run(ExternalJob(cast.acme, "req_export"), created["id"])
    (row,) = database.connect().execute("select decision_id from export_job where id = %s", [created["id"]])
    decision = await get_decision(cast.ann, row[0])
    assert (decision.actor_type, decision.actor_id) == ("service_account", program.key_id)


async def test_cancelled_export_stops_and_stores_nothing(
    cast: Cast, after_first_batch: Callable[[Any], None]
) -> None:
    started = await start(cast.ann, "members")

    async def cancel() -> None:
        async with cast.ann.ctx() as ctx:
            await exports.cancel(ctx, started.id)

    after_first_batch(cancel)
    cancelled = await run(cast.ann, started.id)
    assert (cancelled.state, cancelled.download_path) == (ExportState.CANCELLED, "")
    assert list_stored(cast) == []


async def test_export_that_is_cancelled_while_its_file_is_stored_leaves_no_file(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, store = await start(cast.ann, "members"), export_runs._finish

    async def cancel_then_finish(*arguments: Any, **named: Any) -> None:
        async with cast.ann.ctx() as ctx:
            await exports.cancel(ctx, started.id)
        await store(*arguments, **named)

    monkeypatch.setattr(export_runs, "_finish", cancel_then_finish)
    assert (await run(cast.ann, started.id)).state is ExportState.CANCELLED
    assert list_stored(cast) == []


async def test_job_that_runs_twice_changes_nothing(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    assert await run(cast.ann, ready.id) == ready
    async with cast.ann.ctx() as ctx:
        assert len(await notifications.list_my_notifications(ctx)) == 1


async def test_export_of_another_tenant_is_not_run(cast: Cast) -> None:
    started = await start(cast.ann, "members")
    await export_runs.run(ExternalJob(cast.globex, "req_export"), started.id)
    assert (await read(cast.ann, started.id)).state is ExportState.WAITING


async def test_storage_outage_is_retried_and_a_full_disk_leaves_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    started = await start(cast.ann, "members")
    with monkeypatch.context() as full:
        full.setattr(incoming.os, "fsync", refuse)
        with pytest.raises(StorageUnavailable, match="is full"):
            await run(cast.ann, started.id)
    assert list_stored(cast) == []
    assert (await run(cast.ann, started.id)).state is ExportState.READY


async def test_export_above_the_size_of_its_kind_fails_with_the_next_step(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_incoming = incoming.open_incoming
    monkeypatch.setattr(export_runs, "open_incoming", lambda _: open_incoming(100))
    failed = await export(cast.ann, "members")
    assert failed.state is ExportState.FAILED
    assert "Narrow the filter" in failed.problem
    assert list_stored(cast) == []


async def test_export_goes_through_a_bucket(cast: Cast) -> None:
    async with run_bucket() as bucket:
        storage_registry.register(bucket.build_storage())
        ready = await start(cast.ann, "members")
        await export_runs.run(ExternalJob(cast.acme, "req_export"), ready.id)
        view = await read(cast.ann, ready.id)
        answer = await download(cast.ann, view.download_path)
        assert list(bucket.objects) == [f"{cast.acme}/{view.file_id}"]
        assert answer.content == bucket.objects[f"{cast.acme}/{view.file_id}"]
        bucket.objects.clear()
        lost = await download(cast.ann, view.download_path)
        assert (lost.status_code, bucket.refusals) == (404, [])
        await storage_registry.close()


async def test_expired_files_are_deleted_with_their_exports(cast: Cast) -> None:
    old, kept = await export(cast.ann, "members"), await export(cast.ann, "members")
    connection = database.connect()
    connection.execute(
        "update stored_file set expires_at = now() - interval '1 second' where id = %s", [old.file_id]
    )
    assert (await download(cast.ann, old.download_path)).status_code == 404
    assert not await retention.clean_tenant(cast.acme)
    assert list_stored(cast) == [kept.file_id]
    rows = connection.execute("select id from export_job where tenant_id = %s", [cast.acme]).fetchall()
    assert rows == [(kept.id,)]


async def test_jobs_of_files_have_their_own_lane_and_exports_of_a_tenant_follow_one_another(
    cast: Cast,
) -> None:
    await export(cast.ann, "members")
    assert {lane_of_task(task) for task in (exports.RUN_TASK, retention.TASK)} == {Lane.FILES}
    rows = database.connect().execute(
        "select task_name, lock, scheduled_at is not null from procrastinate_jobs"
        " where queue_name = 'bulkhead_files' and args ->> 'tenant_id' = %s order by id",
        [cast.acme],
    )
    assert rows.fetchall() == [
        (exports.RUN_TASK, f"{cast.acme}:exports", False),
    ]


async def test_worker_runs_the_export(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    started = await start(cast.ann, "members")
    await workers.run_due_jobs()
    await storage_registry.close()
    assert (await read(cast.ann, started.id)).state is ExportState.READY


async def test_service_account_exports_with_the_role_that_it_has_now(cast: Cast) -> None:
    async with cast.ann.ctx() as ctx:
        account = await service_accounts.create(ctx, "Nightly", "member")
        created = await keys.create(
            ctx,
            keys.KeyRequest(
                name="Nightly", scopes=["home:read", "member:read"], service_account_id=account.id
            ),
        )
    async with api_clients.client(created.text) as client:
        export_id = (await client.post("/api/v1/exports", json={"kind": "members"})).json()["id"]
        await export_runs.run(ExternalJob(cast.acme, "req_export"), export_id)
        view = (await client.get(f"/api/v1/exports/{export_id}")).json()
        link = (await client.get(f"/api/v1/files/{view['file_id']}/link")).json()
        answer = await client.get(link["url"].partition("localhost:3000")[2])
    assert (view["state"], answer.status_code) == ("ready", 200)
    await storage_registry.close()
