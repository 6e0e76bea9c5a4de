"""Versions of the API: named in a header, answered by it, and kept working by converters."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.core.db import now
from shared.web.rest import api_versions
from shared.web.rest.api_versions import CURRENT, FormerVersion
from tests.conftest import Cast
from tests.support import api_clients

OLD, OLDEST = {"bulkhead-version": "2026-06-30"}, {"bulkhead-version": "2026-01-31"}
DEPRECATED_AT = datetime(2026, 11, 30, tzinfo=UTC)
ROLE = {"name": "Auditor", "description": "Reads.", "permissions": ["audit:read"]}


def rename(value: dict[str, Any], former: str, present: str) -> dict[str, Any]:
    if former in value:
        value[present] = value.pop(former)
    return value


def build_version(date: str, former: str, present: str, *, sunset_at: datetime) -> FormerVersion:
    """A version in which a field of roles had another name."""

    def upgrade(operation: str, value: dict[str, Any]) -> dict[str, Any]:
        return rename(value, former, present) if operation.endswith("_role") else value

    def downgrade(operation: str, value: dict[str, Any]) -> dict[str, Any]:
        return rename(value, present, former) if operation.endswith("_role") else value

    return FormerVersion(
        date=date,
        deprecated_at=DEPRECATED_AT,
        sunset_at=sunset_at,
        upgrade_request=upgrade,
        downgrade_answer=downgrade,
    )


@pytest.fixture
def former_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    """`description` was `sentence`, and before that `text`."""
    sunset_at = datetime.now(UTC) + timedelta(days=365)
    versions = (
        build_version("2026-06-30", "sentence", "description", sunset_at=sunset_at),
        build_version("2026-01-31", "text", "sentence", sunset_at=sunset_at),
    )
    monkeypatch.setattr(api_versions, "FORMER_VERSIONS", versions)


async def test_answer_carries_the_newest_version_without_a_header(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        answers = [
            await client.get("/api/v1/me"),
            await client.get("/api/v1/me", headers={"bulkhead-version": CURRENT}),
            await client.get("/api/v1/members/mem_nobody"),
            await client.get("/api/v1/nowhere"),
            await client.put("/api/v1/me"),
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404, 405]
    assert {answer.headers["bulkhead-version"] for answer in answers} == {CURRENT}
    assert all("deprecation" not in answer.headers for answer in answers)


@pytest.mark.usefixtures("former_versions")
async def test_unknown_version_is_refused_with_the_known_ones(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        answer = await client.get("/api/v1/me", headers={"bulkhead-version": "2020-02-02"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "unknown_version")
    assert answer.json()["versions"] == [CURRENT, "2026-06-30", "2026-01-31"]
    assert "2020-02-02" not in answer.text


@pytest.mark.usefixtures("former_versions")
@pytest.mark.parametrize(
    ("headers", "field"), [(OLD, "sentence"), (OLDEST, "text"), ({}, "description")], ids=str
)
async def test_each_version_is_answered_as_before(cast: Cast, headers: dict[str, str], field: str) -> None:
    program = await api_clients.create_key(cast.ann)
    request = rename(dict(ROLE), "description", field)
    async with program.client() as client:
        created = await client.post("/api/v1/roles", json=request, headers=headers)
        read = await client.get(f"/api/v1/roles/{created.json()['id']}", headers=headers)
        newest = await client.get(f"/api/v1/roles/{created.json()['id']}")
    assert (created.status_code, read.json()) == (201, created.json())
    assert read.json()[field] == newest.json()["description"] == "Reads."
    assert {"sentence", "text", "description"} & read.json().keys() == {field}
    assert created.headers["etag"] == '"1"'


@pytest.mark.usefixtures("former_versions")
async def test_former_version_announces_its_end(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        headers = (await client.get("/api/v1/me", headers=OLD)).headers
    assert headers["bulkhead-version"] == "2026-06-30"
    assert headers["deprecation"] == f"@{int(DEPRECATED_AT.timestamp())}"
    assert headers["sunset"].endswith(" GMT")


async def test_version_that_has_ended_is_refused(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = build_version("2025-01-31", "text", "description", sunset_at=now())
    monkeypatch.setattr(api_versions, "FORMER_VERSIONS", (ended,))
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        answer = await client.get("/api/v1/me", headers={"bulkhead-version": "2025-01-31"})
    assert (answer.status_code, answer.json()["versions"]) == (400, [CURRENT])
    assert "has ended" in answer.json()["detail"]
