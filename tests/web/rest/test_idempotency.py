"""A request that is sent again with its idempotency key has one effect and one answer."""

import asyncio
from datetime import timedelta

import pytest
from sqlmodel import select

from shared.access.models import DecisionRecord
from shared.api_keys import answer_retention, idempotency, keys
from shared.api_keys.models import IdempotencyKey
from shared.core import db
from shared.tenancy import cleaning
from tests.conftest import Cast, Person
from tests.support import api_clients

KEY = {"idempotency-key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}
REQUEST = {"name": "By program", "scopes": ["member:read"]}
PATH = "/api/v1/api-keys"


async def count_keys(person: Person, name: str = "By program") -> int:
    async with person.ctx() as ctx:
        page = await keys.list_keys(ctx, limit=100)
    return sum(key.name == name for key in page.rows)


async def test_repeated_request_gets_the_same_answer_without_the_secret(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        first = await client.post(PATH, json=REQUEST, headers=KEY)
        second = await client.post(PATH, json=REQUEST, headers=KEY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == {**first.json(), "secret": None}
    assert (first.headers.get("idempotency-replayed"), second.headers["idempotency-replayed"]) == (
        None,
        "true",
    )
    assert second.headers["etag"] == first.headers["etag"]
    assert await count_keys(cast.ann) == 1


async def test_repeated_request_leaves_no_second_record_of_its_decision(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        first = await client.post(PATH, json=REQUEST, headers=KEY)
        second = await client.post(PATH, json=REQUEST, headers=KEY)
    assert second.headers["decision-id"] == first.headers["decision-id"]
    async with db.transaction(tenant_id=cast.acme) as session:
        statement = select(DecisionRecord.id).where(DecisionRecord.surface == "rest")
        assert (await session.exec(statement)).all() == [first.headers["decision-id"]]


async def test_other_body_under_the_same_key_is_refused(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        await client.post(PATH, json=REQUEST, headers=KEY)
        answer = await client.post(PATH, json={**REQUEST, "name": "Other"}, headers=KEY)
    assert (answer.status_code, answer.json()["reason"]) == (422, "idempotency_key_reused")
    assert await count_keys(cast.ann, "Other") == 0


async def test_concurrent_requests_have_one_effect_and_one_body(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        answers = await asyncio.gather(*(client.post(PATH, json=REQUEST, headers=KEY) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await count_keys(cast.ann) == 1


async def test_refused_request_may_be_tried_again(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        refused = await client.post(PATH, json={**REQUEST, "scopes": ["no:such"]}, headers=KEY)
        answer = await client.post(PATH, json=REQUEST, headers=KEY)
    assert (refused.status_code, answer.status_code) == (422, 201)


async def test_same_key_of_another_organisation_is_independent(cast: Cast) -> None:
    programs = [await api_clients.create_key(cast.ann), await api_clients.create_key(cast.adam)]
    for program in programs:
        async with program.client() as client:
            answer = await client.post(PATH, json=REQUEST, headers=KEY)
        assert (answer.status_code, "idempotency-replayed" in answer.headers) == (201, False)
    assert await count_keys(cast.ann) == 2


async def test_kept_answer_is_sealed_and_ends_after_a_day(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        first = await client.post(PATH, json=REQUEST, headers=KEY)
        async with cast.ann.ctx() as ctx:
            row = (await ctx.session.exec(api_clients.select_kept(ctx))).one()
            assert first.json()["name"].encode() not in (row.body or b"")
            row.created_at -= idempotency.RETENTION + timedelta(minutes=1)
            ctx.session.add(row)
        again = await client.post(PATH, json=REQUEST, headers=KEY)
    assert (again.status_code, "idempotency-replayed" in again.headers) == (201, False)
    assert await count_keys(cast.ann) == 2


async def test_bad_key_is_refused(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        answer = await client.post(PATH, json=REQUEST, headers={"idempotency-key": "x" * 256})
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_idempotency_key")


async def test_kept_answer_needs_the_right_again(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        await client.post(PATH, json=REQUEST, headers=KEY)
        async with cast.ann.ctx() as ctx:
            await keys.change(
                ctx,
                program.key_id,
                name="Less",
                scopes=["member:read"],
                networks=[],
                origins=[],
                version=None,
            )
        answer = await client.post(PATH, json=REQUEST, headers=KEY)
    assert (answer.status_code, answer.json()["reason"]) == (403, "missing_scope")


async def test_reading_keeps_nothing(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        await client.get(PATH, headers=KEY)
    async with cast.ann.ctx() as ctx:
        rows: list[IdempotencyKey] = list((await ctx.session.exec(api_clients.select_kept(ctx))).all())
    assert rows == []


async def test_old_answers_of_idle_tenants_are_deleted_in_rounds(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_retention, "ROUND_SIZE", 2)
    cleaned: list[str] = []

    async def clean_tenant(tenant_id: str) -> bool:
        if tenant_id not in (cast.acme, cast.globex):  # of other tests
            return False
        cleaned.append(tenant_id)
        if len(cleaned) == 1:
            raise OSError("the first one fails")
        return await answer_retention.clean_tenant(tenant_id)

    for person in (cast.ann, cast.gil):
        async with person.ctx() as ctx:
            ages = [2, 2, 2, 0] if person is cast.ann else [2]
            for number, days in enumerate(ages):
                row = IdempotencyKey(tenant_id=ctx.tenant_id, id=f"idk_{number}", request_digest="")
                row.created_at -= timedelta(days=days)
                ctx.session.add(row)

    async def count() -> list[int]:
        counts = []
        for person in (cast.ann, cast.gil):
            async with person.ctx() as ctx:
                counts.append(len((await ctx.session.exec(api_clients.select_kept(ctx))).all()))
        return counts

    first_has_more = await cleaning.clean_tenants(answer_retention.find_next, clean_tenant)
    after_first = await count()
    await cleaning.clean_tenants(answer_retention.find_next, clean_tenant)
    while await cleaning.clean_tenants(answer_retention.find_next, clean_tenant):
        pass
    assert set(cleaned[:2]) == {cast.acme, cast.globex}
    assert (first_has_more, after_first) in [(False, [4, 0]), (True, [2, 1])]
    assert await count() == [1, 0]
