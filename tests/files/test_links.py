"""Signed links: bound to tenant, file, purpose, holder and expiry; opened through the decision again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from shared.access.file_kinds import FilePurpose
from shared.core import crypto
from shared.core.db import now
from shared.files import links, storage_registry
from shared.files.exports import ExportView
from shared.files.links import FileLink
from shared.tenancy import members, tenants
from tests.conftest import Cast, Person
from tests.support import api_clients, factories
from tests.support.exports import download, export
from tests.support.http_visitor import browser


def build_link(cast: Cast, ready: ExportView, **changed: Any) -> str:
    values = {
        "tenant_id": cast.acme,
        "file_id": ready.file_id,
        "purpose": FilePurpose.EXPORT.value,
        "holder_id": cast.ann.user_id,
        "expires_at": now() + timedelta(hours=1),
    }
    return links.build_path(FileLink(**(values | changed)))


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["reason"]


async def test_file_is_an_attachment_with_a_name_of_ours(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    answer = await download(cast.ann, ready.download_path)
    name = f"{cast.ann.slug}-members-{now():%Y-%m-%d}.csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert int(answer.headers["content-length"]) == len(answer.content) == ready.file_size


CHANGES: dict[str, Callable[[Cast, list[str]], object]] = {
    "tenant": lambda cast, parts: parts.__setitem__(0, cast.globex),
    "file": lambda cast, parts: parts.__setitem__(1, parts[1][:-1] + "0"),
    "purpose": lambda cast, parts: parts.__setitem__(2, "upload"),
    "holder": lambda cast, parts: parts.__setitem__(3, cast.gil.user_id),
    "expiry": lambda cast, parts: parts.__setitem__(4, str(int(parts[4]) + 1)),
    "signature": lambda cast, parts: parts.__setitem__(5, parts[5][:-2] + "AA"),
    "no signature": lambda cast, parts: parts.pop(),
    "one part more": lambda cast, parts: parts.insert(0, "x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_edited_link_is_refused_for_its_signature(
    cast: Cast, change: Callable[[Cast, list[str]], object]
) -> None:
    ready = await export(cast.ann, "members")
    parts = ready.download_path.removeprefix(links.PATH_PREFIX).split(".")
    change(cast, parts)
    for person in (cast.ann, cast.gil):
        answer = await download(person, links.PATH_PREFIX + ".".join(parts))
        assert reason(answer) == (403, "bad_signature")


async def test_link_that_was_signed_for_something_else_is_refused(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    parts = ready.download_path.removeprefix(links.PATH_PREFIX).split(".")[:-1]
    answer = await download(cast.ann, links.PATH_PREFIX + crypto.sign("invitation", *parts))
    assert reason(answer) == (403, "bad_signature")


async def test_expired_link_is_refused(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    path = build_link(cast, ready, expires_at=now() - timedelta(seconds=2))
    assert reason(await download(cast.ann, path)) == (403, "link_expired")


async def test_link_of_somebody_else_is_a_file_that_does_not_exist(cast: Cast) -> None:
    """A colleague, another organisation's owner, and somebody without one get the same."""
    await factories.join_tenant(cast.gil.account, cast.gil.slug, cast.ann.account, "viewer")
    ready = await export(cast.ann, "members")
    unknown = build_link(cast, ready, file_id="fil_0000")
    expected = (await download(cast.ann, unknown)).json()
    for person in (cast.adam, cast.gil, cast.carl):
        answer = await download(person, ready.download_path)
        assert answer.json() | {"request_id": ""} == expected | {"request_id": ""}
    assert expected["status"] == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"purpose": "upload"},
        {"tenant_id": "globex"},
        {"holder_id": "adam"},
        {"file_id": "fil_0000"},
    ],
    ids=["purpose", "tenant", "holder", "file"],
)
async def test_good_signature_without_a_right_is_a_file_that_does_not_exist(
    cast: Cast, changed: dict[str, str]
) -> None:
    values = {"globex": cast.globex, "adam": cast.adam.user_id}
    ready = await export(cast.ann, "members")
    path = build_link(cast, ready, **{name: values.get(value, value) for name, value in changed.items()})
    assert (await download(cast.ann, path)).status_code == 404


async def remove(cast: Cast, person: Person) -> None:
    async with cast.ann.ctx() as ctx:
        (member,) = (await members.list_members(ctx, query=person.email)).rows
        await members.remove(ctx, member.id)


async def lower_role(cast: Cast, person: Person) -> None:
    async with cast.ann.ctx() as ctx:
        (member,) = (await members.list_members(ctx, query=person.email)).rows
        await members.set_role(ctx, member.id, "member", version=None)


@pytest.mark.parametrize("end", [remove, lower_role])
async def test_link_is_dead_when_its_right_has_gone(cast: Cast, end: Any) -> None:
    ready = await export(cast.adam, "audit")
    assert (await download(cast.adam, ready.download_path)).status_code == 200
    await end(cast, cast.adam)
    answer = await download(cast.adam, ready.download_path)
    assert reason(answer) == (404, "not_found")
    assert "Acme" not in answer.text


async def test_link_is_dead_without_the_feature(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    await cast.ann.gets("starter")
    assert (await download(cast.ann, ready.download_path)).status_code == 404


async def test_link_outlives_a_new_address_of_the_organisation(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    async with cast.ann.ctx() as ctx:
        await tenants.change_slug(ctx, f"{cast.ann.slug}-2", version=None)
    assert (await download(cast.ann, ready.download_path)).status_code == 200


async def test_visitor_without_a_session_signs_in_first(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    async with browser() as client:
        page = await client.get(ready.download_path)
        program = await client.get(ready.download_path, headers={"accept": "application/json"})
    assert (page.status_code, program.status_code) == (303, 401)
    assert page.headers["location"].startswith("/sign-in")


async def test_link_of_a_key_opens_with_this_key_only(cast: Cast) -> None:
    program, other = [await api_clients.create_key(cast.ann) for _ in range(2)]
    foreign = await api_clients.create_key(cast.gil)
    ready = await export(cast.ann, "members")
    async with program.client() as client:
        link = (await client.get(f"/api/v1/files/{ready.file_id}/link")).json()
        path = link["url"].partition("localhost:3000")[2]
        statuses = {"its own": (await client.get(path)).status_code}
        statuses["of the person"] = (await client.get(ready.download_path)).status_code
    for name, key in (("another", other.text), ("foreign", foreign.text), ("none", "bk_live_x")):
        async with api_clients.client(key) as client:
            statuses[name] = (await client.get(path, headers={"accept": "application/json"})).status_code
    async with api_clients.client() as client:
        client.cookies.set(*cast.ann.cookie.split("=", 1), domain="bulkhead.test")
        statuses["the cookie"] = (await client.get(path, headers={"accept": "text/plain"})).status_code
        headers = {"authorization": "Bearer bk_live_x"}
        both = await client.get(ready.download_path, headers=headers)
        statuses["a bad key beside a good cookie"] = both.status_code
    assert statuses == {
        "its own": 200,
        "of the person": 404,
        "another": 404,
        "foreign": 404,
        "none": 401,
        "the cookie": 404,
        "a bad key beside a good cookie": 401,
    }
    await storage_registry.close()


async def test_link_is_made_for_the_owner_of_the_file_alone(cast: Cast) -> None:
    ready = await export(cast.ann, "members")
    for person, scopes, status in (
        (cast.adam, (), 404),
        (cast.gil, (), 404),
        (cast.ann, ("home:read",), 403),
        (cast.ann, ("member:read",), 403),
    ):
        program = await api_clients.create_key(person, *scopes)
        async with program.client() as client:
            answer = await client.get(f"/api/v1/files/{ready.file_id}/link")
        assert answer.status_code == status, (person.name, scopes)


async def test_link_is_never_written_to_the_log(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    ready = await export(cast.ann, "members")
    await download(cast.ann, ready.download_path)
    output = capsys.readouterr()
    assert ready.download_path.rpartition(".")[2] not in output.out + output.err
