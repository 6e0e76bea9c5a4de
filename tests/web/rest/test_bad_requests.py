"""Requests that are refused: each with a clear problem that repeats no value, and without any effect."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from shared.api_keys import keys
from shared.web import request_middleware
from tests.conftest import Cast
from tests.support import api_clients

API, KEYS = "/api/v1", "/api/v1/api-keys"
JSON = {"content-type": "application/json"}
SECRET_WORD = "xyzzy"  # a value that no problem may repeat


@pytest.fixture
async def client(cast: Cast) -> AsyncIterator[httpx.AsyncClient]:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        yield client


def read_problem(answer: httpx.Response) -> dict[str, Any]:
    problem: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["request_id"]) == (answer.status_code, answer.headers["x-request-id"])
    assert problem["next_step"] or answer.status_code == 405
    assert SECRET_WORD not in answer.text
    return problem


def read_without_id(answer: httpx.Response) -> dict[str, Any]:
    return {**read_problem(answer), "request_id": ""}


BODIES: dict[str, tuple[bytes, int, str]] = {
    "malformed": (b'{"name": "xyzzy"', 400, "bad_json"),
    "not UTF-8": (b'{"name": "\xff"}', 400, "bad_json"),
    "empty": (b"", 400, "bad_json"),
    "NaN": (b'{"name": NaN, "scopes": []}', 400, "bad_json"),
    "infinite": (b'{"name": 1e999, "scopes": []}', 400, "bad_json"),
    "long number": (b'{"name": ' + b"1" * 5_000 + b"}", 400, "bad_json"),
    "duplicate key": (b'{"name": "a", "name": "xyzzy", "scopes": ["member:read"]}', 400, "bad_json"),
    "many fields": (json.dumps({f"field{number}": 0 for number in range(201)}).encode(), 400, "bad_json"),
    "deep": (b'{"name": ' + b"[" * 50_000, 400, "bad_json"),
    "half a surrogate pair": (b'{"name": "\\ud800", "scopes": ["member:read"]}', 400, "bad_json"),
    "10 MB": (b'{"name": "' + b"x" * 10_000_000 + b'"}', 413, "body_too_large"),
    "list": (b'["xyzzy"]', 422, "invalid"),
    "wrong type": (b'{"name": 7, "scopes": "xyzzy"}', 422, "invalid"),
    "converted type": (b'{"name": "a", "scopes": [1]}', 422, "invalid"),
    "null": (b"null", 422, "invalid"),
    "NUL character": (b'{"name": "a\\u0000", "scopes": ["member:read"]}', 422, "invalid"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_body_that_cannot_be_read_is_refused(cast: Cast, client: httpx.AsyncClient, name: str) -> None:
    body, status, reason = BODIES[name]
    answer = await client.post(KEYS, content=body, headers=JSON)
    assert (answer.status_code, read_problem(answer)["reason"]) == (status, reason)
    async with cast.ann.ctx() as ctx:
        assert len((await keys.list_keys(ctx)).rows) == 1


async def test_unknown_and_missing_fields_are_refused_by_name(client: httpx.AsyncClient) -> None:
    answer = await client.post(KEYS, json={"nam": SECRET_WORD, "scopes": ["member:read"]})
    assert answer.status_code == 422
    assert read_problem(answer)["fields"] == {
        "name": "This field is missing.",
        "nam": "This field is unknown.",
    }


async def test_unknown_scope_is_refused_by_its_field(client: httpx.AsyncClient) -> None:
    answer = await client.post(KEYS, json={"name": "A", "scopes": ["member:reed"]})
    assert answer.status_code == 422
    assert list(read_problem(answer)["fields"]) == ["scopes"]


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_other_content_type_is_refused(client: httpx.AsyncClient, content_type: str) -> None:
    body = json.dumps({"name": SECRET_WORD, "scopes": ["member:read"]}).encode()
    answer = await client.post(KEYS, content=body, headers={"content-type": content_type})
    assert (answer.status_code, read_problem(answer)["reason"]) == (415, "unsupported_media_type")


async def test_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = {**JSON, "content-encoding": "gzip"}
    answer = await client.post(KEYS, content=gzip.compress(b"{}" * 1_000), headers=headers)
    assert answer.status_code == 400
    read_problem(answer)


async def test_body_where_none_is_read_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.request("GET", f"{API}/me", json={"a": SECRET_WORD})
    assert (answer.status_code, read_problem(answer)["reason"]) == (400, "bad_json")


async def test_body_that_never_ends_is_refused(
    cast: Cast, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send_slowly() -> AsyncIterator[bytes]:
        yield b"{"
        raise TimeoutError

    monkeypatch.setattr(request_middleware, "BODY_SECONDS", 0.05)
    answer = await client.post(KEYS, content=send_slowly(), headers=JSON)
    assert (answer.status_code, read_problem(answer)["reason"]) == (408, "timed_out")


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 428), ({"if-match": "*"}, 428), ({"if-match": "1"}, 428), ({"if-match": '"99"'}, 412)],
    ids=["missing", "any", "unquoted", "stale"],
)
async def test_change_without_the_present_version_is_refused(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    answer = await client.patch(f"{API}/settings", json={"name": "Renamed"}, headers=headers)
    problem = read_problem(answer)
    assert answer.status_code == status
    if status == 412:
        assert problem["version"] == 1
        assert problem["differences"] == [{"label": "Name", "current": "Acme", "submitted": "Renamed"}]
    assert (await client.get(f"{API}/settings")).json()["name"] == "Acme"


async def test_foreign_id_is_answered_as_an_unknown_one(cast: Cast, client: httpx.AsyncClient) -> None:
    stranger = await api_clients.create_key(cast.gil)
    created = await client.post(f"{API}/roles", json={"name": "Auditor", "permissions": ["audit:read"]})
    foreign, unknown = created.json()["id"], "rol_" + "0" * 26
    async with stranger.client() as other:
        answers = [
            await other.get(f"{API}/roles/{role_id}") for role_id in (foreign, unknown, "%2F", "a%2Fb")
        ]
    assert [answer.status_code for answer in answers] == [404, 404, 422, 422]
    assert read_without_id(answers[0]) == read_without_id(answers[1])
    assert foreign not in answers[0].text


async def test_unknown_addresses_are_answered_alike(client: httpx.AsyncClient) -> None:
    paths = ["/api/v1/xyzzy", "/api/v1", "/api/v1/members/a/b/c", "/api/v2/members", "/api/xyzzy"]
    answers = [await client.get(path) for path in paths]
    assert {answer.status_code for answer in answers} == {404}
    assert all(read_problem(answer)["reason"] == "not_found" for answer in answers)


@pytest.mark.parametrize("path", ["/members/%", "/members/%zz", "/members/%C3%28", "/members/%F"])
async def test_malformed_encoding_is_refused(client: httpx.AsyncClient, path: str) -> None:
    request = client.build_request("GET", f"{API}/members")
    request.url = request.url.copy_with(raw_path=f"{API}{path}".encode())
    answer = await client.send(request)
    assert (answer.status_code, read_problem(answer)["reason"]) == (400, "malformed_path")


async def test_encoded_slash_stays_in_its_segment(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{API}/members%2Fmem_nobody")
    assert answer.status_code == 404
    answer = await client.delete(f"{API}/roles/x%2F..%2F..%2Fmembers")
    assert (answer.status_code, list(read_problem(answer)["fields"])) == (422, ["role_id"])


async def test_other_method_is_refused_with_those_that_are_allowed(client: httpx.AsyncClient) -> None:
    for method, path, allowed in (
        ("PUT", "/members", "GET, HEAD, OPTIONS"),
        ("TRACE", "/api-keys", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/openapi.json", "GET, HEAD, OPTIONS"),
    ):
        answer = await client.request(method, API + path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        read_problem(answer)


async def test_other_method_outside_of_a_version_names_those_that_are_allowed(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/api/v2/members", json={})
    assert (answer.status_code, read_problem(answer)["reason"]) == (405, "wrong_method")
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_head_and_options_answer_without_a_body(client: httpx.AsyncClient) -> None:
    read, head = await client.get(f"{API}/me"), await client.head(f"{API}/me")
    options = await client.options(f"{API}/api-keys")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(read.content))
    assert (options.status_code, options.content) == (204, b"")
    assert options.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_cookie_instead_of_a_key_is_refused(cast: Cast) -> None:
    async with api_clients.client() as client:
        for method, path in (("GET", "/me"), ("POST", "/api-keys"), ("HEAD", "/me")):
            answer = await client.request(
                method, API + path, headers={"cookie": cast.ann.cookie, "sec-fetch-site": "same-origin"}
            )
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
async def test_key_that_has_ended_is_refused(cast: Cast, column: str) -> None:
    program = await api_clients.create_key(cast.ann)
    await api_clients.end_key(cast.ann, program, column)
    async with program.client() as client:
        answer = await client.get(f"{API}/me")
    reason = {"revoked_at": "key_revoked", "expires_at": "key_expired"}[column]
    assert (answer.status_code, read_problem(answer)["reason"]) == (401, reason)


async def test_key_under_the_name_of_another_organisation_is_refused(cast: Cast) -> None:
    program, other = await api_clients.create_key(cast.ann), await api_clients.create_key(cast.gil)
    mixed = f"{program.text.rpartition('_')[0]}_{other.text.rpartition('_')[2]}"
    for text in (mixed, program.text[:-4], f"{program.text}x", "xyzzy", "bk_live_xyzzy"):
        async with api_clients.client(text) as client:
            answer = await client.get(f"{API}/me")
        assert (answer.status_code, read_problem(answer)["reason"]) == (401, "invalid_key")


async def test_two_authorization_headers_are_refused(cast: Cast) -> None:
    program, other = await api_clients.create_key(cast.ann), await api_clients.create_key(cast.gil)
    async with api_clients.client() as client:
        headers = [("authorization", f"Bearer {text}") for text in (program.text, other.text)]
        answer = await client.get(f"{API}/me", headers=headers)
    assert (answer.status_code, read_problem(answer)["reason"]) == (401, "not_signed_in")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=xyzzy", "limit=101", "after=xyzzy", "after=%00", "sort=xyzzy", "query=%00"]
)
async def test_bad_query_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"{API}/members?{query}")
    assert (answer.status_code, read_problem(answer)["reason"]) == (422, "invalid")


async def test_encoded_prefix_is_no_address_of_the_api(cast: Cast) -> None:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        answer = await client.get("/%61pi/v1/me")
    assert answer.status_code == 404
