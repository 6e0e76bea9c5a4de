"""The verification finds what was changed behind the platform's back, step by step, from the last checkpoint on."""

from datetime import timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from shared.audit import audit_log, verification
from shared.audit.models import ChainProblem, VerificationState
from shared.audit.verification import LogVerification
from shared.core import rate_limits
from shared.core.errors import Refused
from shared.jobs import worker
from shared.tenancy import audit_reader, entry
from shared.tenancy.tasks import TASKS
from tenant_app.pages.audit import AuditState
from tests.conftest import Cast, Person
from tests.support import audit_chains, workers
from tests.support.database import admin_url

FORGED: dict[str, LiteralString] = {
    "actor_name": "'Gil'",
    "reason": "'harmless'",
    "action": "'tenant.created'",
    "at": "at - interval '1 day'",
    "before": '\'{"role": "member"}\'',
    "after": '\'{"name": "x"}\'',
    "details": "'{\"a\": 1}'",
    "object_id": "'x'",
    "request_id": "'x'",
    "impersonator_id": "'x'",
    "hash": "'\\x00'",
    "format": "1",
    "transaction_id": "1",
}
OF_NUMBER: LiteralString = " where tenant_id = %(tenant)s and id = (select id from audit_seal where tenant_id = %(tenant)s and seq = %(seq)s)"
SEAL_OF_NUMBER: LiteralString = " where tenant_id = %(tenant)s and seq = %(seq)s"


def execute_as_superuser(name: str, statement: LiteralString, **values: Any) -> None:
    """A superuser bypasses row security, grants and triggers."""
    with psycopg.connect(admin_url(name)) as connection:
        connection.execute("set session_replication_role = replica")
        assert connection.execute(statement, values or None).rowcount != 0


async def record_events(person: Person, *names: str) -> int:
    """Record and seal them. Returns the number of the last."""
    for name in names:
        async with person.ctx() as ctx:
            audit_log.record(ctx, "checklist.completed", name)
    await audit_chains.seal(person)
    async with person.ctx() as ctx:
        return (await audit_reader.get_chain_status(ctx)).sealed_count


async def verify(person: Person, *, from_start: bool = False) -> LogVerification:
    """As the page does."""
    async with person.ctx() as ctx:
        return await audit_reader.verify_audit_log(ctx, from_start=from_start)


def facts(result: LogVerification) -> tuple[ChainProblem, int | None]:
    return result.problem, result.broken_at


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "STEP_SIZE", 2)
    monkeypatch.setattr(audit_reader, "JOB_STEP_SIZE", 3)


# ── what is found ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("column", FORGED)
async def test_verification_names_the_changed_event(cast: Cast, schema: str, column: str) -> None:
    last = await record_events(cast.ann, "one", "two", "three")
    assert (await audit_chains.verify(cast.ann)).is_intact
    statement = f"update audit_event set {column} = {FORGED[column]}" + OF_NUMBER
    execute_as_superuser(schema, statement, tenant=cast.acme, seq=last - 1)  # type: ignore[arg-type]
    result = await audit_chains.verify(cast.ann)
    assert facts(result) == (ChainProblem.CHANGED, last - 1)
    assert result.explanation == "This event was changed."
    assert (await audit_chains.verify(cast.gil)).is_intact


async def test_event_with_a_recomputed_hash_does_not_fit_its_seal(cast: Cast, schema: str) -> None:
    last = await record_events(cast.ann, "one", "two")
    at = {"tenant": cast.acme, "seq": last - 1}
    execute_as_superuser(schema, "update audit_event set reason = 'x'" + OF_NUMBER, **at)
    execute_as_superuser(schema, "update audit_event e set hash = audit_event_hash(e)" + OF_NUMBER, **at)
    assert facts(await audit_chains.verify(cast.ann)) == (ChainProblem.CHAIN, last - 1)


async def test_recomputed_seal_does_not_fit_the_next_one(cast: Cast, schema: str) -> None:
    last = await record_events(cast.ann, "one", "two")
    at = {"tenant": cast.acme, "seq": last - 1}
    execute_as_superuser(schema, "update audit_event set reason = 'x'" + OF_NUMBER, **at)
    execute_as_superuser(schema, "update audit_event e set hash = audit_event_hash(e)" + OF_NUMBER, **at)
    execute_as_superuser(
        schema,
        "update audit_seal s set hash = sha256(previous_hash || (select hash from audit_event e where e.id = s.id))"
        + SEAL_OF_NUMBER,
        **at,
    )
    assert facts(await audit_chains.verify(cast.ann)) == (ChainProblem.CHAIN, last)


DAMAGES: dict[str, tuple[LiteralString, ChainProblem]] = {
    "event deleted": ("delete from audit_event" + OF_NUMBER, ChainProblem.DELETED),
    "hash of a seal changed": ("update audit_seal set hash = '\\x00'" + SEAL_OF_NUMBER, ChainProblem.CHAIN),
    "link of a seal changed": (
        "update audit_seal set previous_hash = '\\x00'" + SEAL_OF_NUMBER,
        ChainProblem.CHAIN,
    ),
    "seal of another event": ("update audit_seal set id = 'aud_x'" + SEAL_OF_NUMBER, ChainProblem.DELETED),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_verification_finds_the_damage_at_its_number(cast: Cast, schema: str, damage: str) -> None:
    last = await record_events(cast.ann, "one", "two", "three")
    statement, problem = DAMAGES[damage]
    assert (await audit_chains.verify(cast.ann)).is_intact
    execute_as_superuser(schema, statement, tenant=cast.acme, seq=last - 1)
    assert facts(await audit_chains.verify(cast.ann)) == (problem, last - 1)


async def test_verification_finds_a_deleted_seal(cast: Cast, schema: str) -> None:
    last = await record_events(cast.ann, "one", "two", "three")
    execute_as_superuser(schema, "delete from audit_seal" + SEAL_OF_NUMBER, tenant=cast.acme, seq=last - 1)
    assert facts(await audit_chains.verify(cast.ann)) == (ChainProblem.CHAIN, last - 1)


async def test_verification_finds_deleted_seals_at_the_end(cast: Cast, schema: str) -> None:
    last = await record_events(cast.ann, "one", "two")
    at = {"tenant": cast.acme, "seq": last}
    execute_as_superuser(schema, "delete from audit_event" + OF_NUMBER, **at)
    execute_as_superuser(schema, "delete from audit_seal" + SEAL_OF_NUMBER, **at)
    result = await audit_chains.verify(cast.ann)
    assert (*facts(result), result.explanation) == (ChainProblem.END, last, "Events at the end are missing.")


async def test_verification_fails_when_the_whole_log_was_deleted(cast: Cast, schema: str) -> None:
    await record_events(cast.ann, "one")
    for statement in (
        "delete from audit_event where tenant_id = %(tenant)s",
        "delete from audit_seal where tenant_id = %(tenant)s",
    ):
        execute_as_superuser(schema, statement, tenant=cast.acme)  # type: ignore[arg-type]
        assert not (await audit_chains.verify(cast.ann)).is_intact


async def test_verification_finds_two_events_that_changed_places(cast: Cast, schema: str) -> None:
    last = await record_events(cast.ann, "one", "two")
    for old, new in ((last, -1), (last - 1, last), (-1, last - 1)):
        statement: LiteralString = "update audit_seal set seq = %(new)s" + SEAL_OF_NUMBER
        execute_as_superuser(schema, statement, tenant=cast.acme, seq=old, new=new)
    assert facts(await audit_chains.verify(cast.ann)) == (ChainProblem.CHAIN, last - 1)


async def test_verification_finds_an_event_that_was_inserted_among_sealed_ones(
    cast: Cast, schema: str
) -> None:
    last = await record_events(cast.ann, "one", "two")
    await audit_chains.seal_as_worker(schema, cast.acme)
    copy: LiteralString = (
        'insert into audit_event select (jsonb_populate_record(e, \'{"id": "aud_0inserted"}\')).* from audit_event e'
        + OF_NUMBER
    )
    execute_as_superuser(schema, copy, tenant=cast.acme, seq=last - 1)
    async with cast.ann.ctx() as ctx:
        result = await audit_chains.check_within(ctx)
    assert (result.problem, result.broken_id) == (ChainProblem.INSERTED, "aud_0inserted")


async def test_event_deleted_before_it_is_sealed_is_not_found(cast: Cast, schema: str) -> None:
    """The price of writing without a lock. Source: DECISIONS 10."""
    await record_events(cast.ann, "one")
    async with cast.ann.ctx() as ctx:
        audit_log.record(ctx, "checklist.completed", "unsealed")
    execute_as_superuser(
        schema,
        "delete from audit_event where tenant_id = %(tenant)s and object_id = 'unsealed'",
        tenant=cast.acme,
    )
    assert (await audit_chains.verify(cast.ann)).is_intact


# ── events of the former format ──────────────────────────────────────────────────────────────────────────────────


FORMER_COUNT = 5


async def create_former_events(cast: Cast, name: str) -> None:
    """As many, and none of the present format."""
    async with cast.ann.ctx() as ctx:
        for number in range(FORMER_COUNT):
            audit_log.record(ctx, "checklist.completed", f"former {number}")
    with psycopg.connect(admin_url(name)) as connection:
        connection.execute("set session_replication_role = replica")
        connection.execute(
            "delete from audit_event where tenant_id = %s and object_id not like 'former%%'", [cast.acme]
        )
        audit_chains.make_former(connection, cast.acme, FORMER_COUNT)


async def test_first_seal_continues_from_the_last_event_of_the_former_format(cast: Cast, schema: str) -> None:
    await create_former_events(cast, schema)
    assert (await audit_chains.verify(cast.ann)).checked_count == 5
    assert await record_events(cast.ann, "one", "two") == 7
    result = await audit_chains.verify(cast.ann)
    assert (result.is_intact, result.checked_count) == (True, 7)
    with psycopg.connect(admin_url(schema)) as connection:
        row = connection.execute(
            "select s.previous_hash = e.hash from audit_seal s join audit_event e using (tenant_id)"
            " where tenant_id = %s and s.seq = 6 and e.seq = 5",
            [cast.acme],
        ).fetchone()
    assert row == (True,)


FORMER_DAMAGES: dict[str, tuple[LiteralString, ChainProblem, int]] = {
    "changed": (
        "update audit_event set reason = 'x' where tenant_id = %(tenant)s and seq = 3",
        ChainProblem.CHANGED,
        3,
    ),
    "deleted": ("delete from audit_event where tenant_id = %(tenant)s and seq = 3", ChainProblem.CHAIN, 3),
    "deleted at the end": (
        "delete from audit_event where tenant_id = %(tenant)s and seq = 5",
        ChainProblem.CHAIN,
        5,
    ),
}


@pytest.mark.parametrize("damage", FORMER_DAMAGES)
async def test_verification_finds_damage_to_events_of_the_former_format(
    cast: Cast, schema: str, damage: str
) -> None:
    await create_former_events(cast, schema)
    await record_events(cast.ann, "one")
    statement, problem, number = FORMER_DAMAGES[damage]
    execute_as_superuser(schema, statement, tenant=cast.acme)
    result = await audit_chains.verify(cast.ann)
    assert result.problem is problem
    assert result.broken_at == number


async def test_verification_by_the_former_version_is_refused_and_finds_nothing_wrong(
    cast: Cast, schema: str
) -> None:
    await record_events(cast.ann, "one")
    with (
        psycopg.connect(admin_url(schema)) as connection,
        pytest.raises(psycopg.errors.CannotConnectNow, match="by a newer version"),
    ):
        connection.execute("select audit_hash(e) from audit_event e where format = 2 limit 1")


# ── step by step ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_second_verification_reads_only_what_is_new(cast: Cast, schema: str) -> None:
    last = await record_events(cast.ann, "one", "two")
    assert (await verify(cast.ann)).verified_count == last
    execute_as_superuser(
        schema, "update audit_event set reason = 'x'" + OF_NUMBER, tenant=cast.acme, seq=last - 1
    )
    assert (await verify(cast.ann)).is_intact
    assert await record_events(cast.ann, "three") == last + 1
    assert (await verify(cast.ann)).verified_count == last + 1
    result = await verify(cast.ann, from_start=True)
    assert facts(result) == (ChainProblem.CHANGED, last - 1)
    assert facts(await verify(cast.ann)) == (ChainProblem.CHANGED, last - 1)  # until it is mended


@pytest.mark.usefixtures("small_steps")
async def test_long_log_is_verified_by_jobs_with_progress(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    last = await record_events(cast.ann, "one", "two", "three", "four")
    first = await verify(cast.ann)
    assert (first.state, first.checked_count, first.total_count) == (VerificationState.RUNNING, 2, last)
    assert 0 < first.percent < 100
    await run_jobs(schema)
    async with cast.ann.ctx() as ctx:
        result = (await audit_reader.get_chain_status(ctx)).verification
    assert result is not None
    assert (result.state, result.verified_count, result.percent) == (VerificationState.INTACT, last, 100)
    assert result.verified_at is not None


@pytest.mark.usefixtures("small_steps")
async def test_job_finds_what_was_changed(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    last = await record_events(cast.ann, "one", "two", "three", "four")
    execute_as_superuser(
        schema, "update audit_event set reason = 'x'" + OF_NUMBER, tenant=cast.acme, seq=last - 1
    )
    assert (await verify(cast.ann)).is_intact
    await run_jobs(schema)
    async with cast.ann.ctx() as ctx:
        result = (await audit_reader.get_chain_status(ctx)).verification
    assert result is not None
    assert (result.state, *facts(result)) == (VerificationState.BROKEN, ChainProblem.CHANGED, last - 1)


@pytest.mark.usefixtures("small_steps")
async def test_second_click_does_not_start_a_second_verification(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    await record_events(cast.ann, "one", "two", "three", "four")
    first, second = await verify(cast.ann), await verify(cast.adam, from_start=True)
    assert (second.is_running, second.checked_count) == (True, first.checked_count)
    assert workers.list_jobs(schema) == [(audit_reader.VERIFY_TASK, "todo")]


@pytest.mark.usefixtures("small_steps")
async def test_abandoned_verification_is_continued_by_the_next_click(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    await record_events(cast.ann, "one", "two", "three", "four")
    first = await verify(cast.ann)
    workers.clear_queue(schema)  # as if its job had failed for good
    execute_as_superuser(
        schema,
        "update audit_verification set changed_at = changed_at - %(age)s where tenant_id = %(tenant)s",
        tenant=cast.acme,
        age=verification.ABANDONED_AFTER + timedelta(seconds=1),
    )
    assert (await verify(cast.ann)).checked_count > first.checked_count
    assert workers.list_jobs(schema) == [(audit_reader.VERIFY_TASK, "todo")]


@pytest.mark.usefixtures("small_steps")
async def test_job_that_runs_twice_does_its_step_once(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    await record_events(cast.ann, "one", "two", "three", "four")
    await verify(cast.ann)
    with psycopg.connect(admin_url(schema)) as connection:
        row = connection.execute("select args ->> 'checked' from procrastinate_jobs").fetchone()
    assert row is not None
    results = []
    for _ in range(2):
        async with entry.enter_job(cast.acme, audit_reader.VERIFY_TASK, "req_x") as ctx:
            await audit_reader.continue_verification(ctx, row[0])
            results.append((await audit_reader.get_chain_status(ctx)).verification)
    assert results[0] == results[1]
    assert results[0] is not None
    assert results[0].checked_count == 5


async def test_verification_is_refused_after_too_many(cast: Cast) -> None:
    await rate_limits.clear_counts()
    for _ in range(rate_limits.RateLimit.AUDIT_VERIFY_TENANT.parsed.amount):
        await verify(cast.ann)
    with pytest.raises(Refused, match="rate_limited"):
        await verify(cast.adam)
    assert (await verify(cast.gil)).is_intact
    await rate_limits.clear_counts()


async def run_jobs(name: str) -> None:
    """The verification's own, each of which puts the next one into the queue."""
    tasks = {audit_reader.VERIFY_TASK: TASKS[audit_reader.VERIFY_TASK]}
    while workers.list_jobs(name):
        await worker.run(tasks, {}, entry.enter_job, wait=False)


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def open_page(person: Person) -> AuditState:
    page = person.opens(AuditState, path="audit")
    await AuditState.load.fn(page)
    return page


async def test_page_says_up_to_when_events_are_sealed_and_verified(cast: Cast) -> None:
    page = await open_page(cast.ann)
    assert (page.chain_text, page.verification_text) == (
        "No events are in the hash chain yet.",
        "Not verified yet.",
    )
    last = await record_events(cast.ann, "one")
    page = await open_page(cast.ann)
    assert (page.chain_text, page.chain_at) == ("Events are in the hash chain up to ", page.rows[0].at)
    await AuditState.verify_chain.fn(page)
    assert (page.verification_badge, page.verification_text) == ("Intact", f"Verified up to event {last}, ")
    assert page.verified_at


@pytest.mark.usefixtures("small_steps")
async def test_page_shows_progress_and_where_the_log_is_broken(cast: Cast, schema: str) -> None:
    workers.clear_queue(schema)
    last = await record_events(cast.ann, "one", "two", "three", "four")
    page = await open_page(cast.ann)
    execute_as_superuser(
        schema, "update audit_event set reason = 'x'" + OF_NUMBER, tenant=cast.acme, seq=last - 1
    )
    await AuditState.verify_whole_chain.fn(page)
    assert page.verification_badge == "Verifying"
    assert f"2 of {last} events checked." in page.verification_text
    await run_jobs(schema)
    page = await open_page(cast.ann)
    assert page.verification_badge == "Broken"
    assert page.verification_text == (
        f"Verification failed at event {last - 1}. This event was changed. Contact support."
    )
