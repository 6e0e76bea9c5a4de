"""Uploads: bounded while they arrive, judged by their bytes, shown under a name that is no path."""

import asyncio
import io
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, PngImagePlugin
from starlette.responses import Response

from shared.backoffice import tenant_access
from shared.core.config import settings
from shared.files import files, retention, storage_registry, uploads
from shared.files.storage import storage_unavailable
from shared.tenancy import cleaning, members
from shared.web.rest.api_route import ApiRoute
from tests.conftest import Cast
from tests.files.test_exports import override
from tests.support import api_clients, database
from tests.support.exports import download, export

API = "/api/v1/files"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture(autouse=True)
async def files_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """Of this test alone: no other process writes there."""
    monkeypatch.setenv("BULKHEAD_FILES_DIR", str(tmp_path))
    settings.cache_clear()
    storage_registry.register(None)
    yield tmp_path
    await storage_registry.close()
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
async def client(cast: Cast) -> AsyncIterator[httpx.AsyncClient]:
    program = await api_clients.create_key(cast.ann)
    async with program.client() as client:
        yield client


async def upload(
    client: httpx.AsyncClient, content: object, name: str = "notes.txt", **headers: str
) -> httpx.Response:
    return await client.post(API, params={"name": name}, content=content, headers=headers)  # type: ignore[arg-type]


def draw_image(image_format: str, **options: object) -> bytes:
    picture, out = Image.new("RGB", (40, 20), "red"), io.BytesIO()
    picture.save(out, image_format, **options)
    return out.getvalue()


def list_stored(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


async def test_file_is_uploaded_listed_downloaded_and_deleted(
    cast: Cast, client: httpx.AsyncClient, files_dir: Path
) -> None:
    created = await upload(client, b"Hello", 'Gr\u00fc\u00dfe "2026".txt')
    file = created.json()
    assert (created.status_code, file["content_type"], file["size"]) == (201, "text/plain; charset=utf-8", 5)
    assert (await client.get(API)).json()["items"] == [file]
    assert (await client.get(f"{API}/{file['id']}")).json() == file
    assert list_stored(files_dir) == [f"{cast.acme}/{file['id']}"]
    link = (await client.get(f"{API}/{file['id']}/link")).json()["url"]
    answer = await client.get(link.partition("localhost:3000")[2])
    assert (answer.content, answer.headers["x-content-type-options"]) == (b"Hello", "nosniff")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Gr__e _2026_.txt\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%20%222026%22.txt"
    )
    assert (await client.delete(f"{API}/{file['id']}")).status_code == 204
    gone = [await client.get(path) for path in (f"{API}/{file['id']}", link.partition("localhost:3000")[2])]
    assert [answer.status_code for answer in gone] == [404, 404]
    assert (await client.get(API)).json()["items"] == []
    assert not await retention.clean_tenant(cast.acme)
    assert list_stored(files_dir) == []


async def test_file_is_shared_with_those_who_may_read_files(cast: Cast, client: httpx.AsyncClient) -> None:
    file_id = (await upload(client, b"Hello")).json()["id"]
    for person, scopes, status in (
        (cast.adam, ("file:read", "home:read"), 200),
        (cast.adam, ("home:read",), 403),
        (cast.gil, (), 404),
    ):
        program = await api_clients.create_key(person, *scopes)
        async with program.client() as other:
            for path in (f"{API}/{file_id}", f"{API}/{file_id}/link"):
                assert (await other.get(path)).status_code == status
            assert (await other.delete(f"{API}/{file_id}")).status_code == (
                404 if person is cast.gil else 403
            )
            allowed = (await upload(other, b"Hello")).status_code
            assert allowed == (201 if person is cast.gil else 403)


async def test_export_is_no_upload(cast: Cast, client: httpx.AsyncClient) -> None:
    exported = await export(cast.adam, "members")
    answers = [
        await client.get(f"{API}/{exported.file_id}"),
        await client.delete(f"{API}/{exported.file_id}"),
    ]
    assert [answer.status_code for answer in answers] == [404, 404]


async def test_body_without_end_is_refused_while_it_arrives(
    client: httpx.AsyncClient, files_dir: Path, environment: Callable[[str, str], None]
) -> None:
    environment("BULKHEAD_UPLOAD_MAX_MB", "1")
    sent = 0

    async def send_five_gigabytes() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(5_000):
            sent += 1_000_000
            yield b"x" * 1_000_000

    answer = await upload(client, send_five_gigabytes())
    assert (answer.status_code, answer.json()["reason"]) == (413, "file_too_large")
    assert sent <= 3_000_000
    sent = 0
    answer = await upload(client, send_five_gigabytes(), **{"content-length": "5000000000"})
    assert (answer.status_code, sent <= 1_000_000) == (413, True)
    assert list_stored(files_dir) == []
    assert (await client.get(API)).json()["items"] == []


def build_zip_bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 20_000_000)
    return out.getvalue()


def build_pixel_bomb() -> bytes:
    """A PNG of a few bytes that says it has 10,000 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)

    head = (100_000).to_bytes(4) + (100_000).to_bytes(4) + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


REFUSED: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 415),
    "SVG": (SVG, 415),
    "SVG after spaces": (b"\xef\xbb\xbf \n" + SVG, 415),
    "HTML": (b"<script>alert(1)</script>", 415),
    "program": (b"\x7fELF\x02\x01\x01" + b"\0" * 100, 415),
    "binary after text": (b"Hello\n" * 100_000 + b"\0", 415),
    "Latin-1": ("Gr\u00fc\u00dfe".encode("latin-1"), 415),
    "half an image": (draw_image("PNG")[:50], 422),
    "no image": (b"\xff\xd8\xff" + b"Hello", 422),
    "pixel bomb": (build_pixel_bomb(), 422),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_file_that_is_not_accepted_leaves_nothing(
    client: httpx.AsyncClient, files_dir: Path, name: str
) -> None:
    content, status = REFUSED[name]
    answer = await upload(client, content, "picture.png", **{"content-type": "image/png"})
    assert answer.status_code == status, answer.text
    assert answer.json()["next_step"]
    assert list_stored(files_dir) == []


@pytest.mark.parametrize("name", ["../../x", "..\\x", "a/b", "..", " ", "x\u202egnp.exe", "line\nbreak\0"])
async def test_name_that_is_a_path_is_refused(client: httpx.AsyncClient, files_dir: Path, name: str) -> None:
    answer = await upload(client, b"Hello", name)
    assert (answer.status_code, list(answer.json()["fields"])) == (422, ["name"])
    assert list_stored(files_dir) == []


async def test_archive_is_stored_and_never_opened(client: httpx.AsyncClient, files_dir: Path) -> None:
    bomb = build_zip_bomb()
    file = (await upload(client, bomb, "archive.zip")).json()
    assert (file["content_type"], file["size"]) == ("application/zip", len(bomb))
    assert sum((files_dir / path).stat().st_size for path in list_stored(files_dir)) == len(bomb)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
async def test_image_is_encoded_again(
    cast: Cast, client: httpx.AsyncClient, files_dir: Path, image_format: str
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "secret place"
    options: dict[str, object] = {"exif": exif}
    if image_format == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", "secret place")
        options["pnginfo"] = texts
    content = draw_image(image_format, **options) + b"<script>secret place</script>"
    file = (await upload(client, content, "photo")).json()
    stored = (files_dir / cast.acme / file["id"]).read_bytes()
    assert (file["content_type"], file["size"]) == (f"image/{image_format.lower()}", len(stored))
    assert b"secret place" in content
    assert b"secret place" not in stored
    with Image.open(io.BytesIO(stored)) as image:
        assert (image.format, image.size) == (image_format, (40, 20))


async def test_files_of_an_organisation_are_bounded_together(
    client: httpx.AsyncClient, files_dir: Path, environment: Callable[[str, str], None]
) -> None:
    environment("BULKHEAD_UPLOAD_TENANT_MAX_MB", "1")
    first = await upload(client, b"x" * 600_000)
    second = await upload(client, b"x" * 600_000)
    assert (first.status_code, second.status_code) == (201, 409)
    assert "more than 1 MB" in second.json()["detail"]
    assert len(list_stored(files_dir)) == 1


async def test_uploads_of_a_tenant_at_one_time_are_bounded(client: httpx.AsyncClient) -> None:
    async def send_slowly() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.1)
        yield b"Hello"

    answers = await asyncio.gather(*(upload(client, send_slowly()) for _ in range(uploads.MAX_AT_ONCE + 1)))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] * uploads.MAX_AT_ONCE + [429]
    assert (await upload(client, b"Hello")).status_code == 201


async def test_upload_under_one_idempotency_key_is_one_file(
    client: httpx.AsyncClient, files_dir: Path
) -> None:
    key = {"idempotency-key": "upload-1"}
    first, again = [await upload(client, b"Hello", **key) for _ in range(2)]
    other = await upload(client, b"Other", **key)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert (other.status_code, other.json()["reason"]) == (422, "idempotency_key_reused")
    assert len(list_stored(files_dir)) == 1


async def test_right_that_is_lost_while_the_file_arrives_stores_nothing(cast: Cast, files_dir: Path) -> None:
    program = await api_clients.create_key(cast.adam)

    async def send_and_remove() -> AsyncIterator[bytes]:
        yield b"Hello"
        async with cast.ann.ctx() as ctx:
            (adam,) = (await members.list_members(ctx, query=cast.adam.email)).rows
            await members.remove(ctx, adam.id)

    async with program.client() as client:
        answer = await upload(client, send_and_remove())
    assert answer.status_code == 401
    assert list_stored(files_dir) == []


async def test_api_that_is_lost_while_the_file_arrives_stores_nothing(
    cast: Cast, client: httpx.AsyncClient, files_dir: Path
) -> None:
    async def send_and_lose() -> AsyncIterator[bytes]:
        yield b"Hello"
        await override(cast, tenant_access.override_feature, "api_access", False)

    answer = await upload(client, send_and_lose())
    assert (answer.status_code, answer.json()["reason"]) == (402, "not_in_plan")
    assert list_stored(files_dir) == []


async def test_bytes_stay_where_the_end_of_the_transaction_is_unknown(
    client: httpx.AsyncClient, files_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ApiRoute._run

    async def run_and_lose_the_answer(*args: Any) -> Response:
        await run(*args)
        raise OSError("The connection was lost after the commit.")

    monkeypatch.setattr(ApiRoute, "_run", run_and_lose_the_answer)
    assert (await upload(client, b"Hello")).status_code == 500
    monkeypatch.undo()
    (file,) = (await client.get(API)).json()["items"]
    assert [path.rpartition("/")[2] for path in list_stored(files_dir)] == [file["id"]]


async def test_files_of_a_deleted_tenant_lose_their_bytes_and_one_tenant_stops_no_other(
    cast: Cast, client: httpx.AsyncClient, files_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "ROUND_BATCHES", 1)
    monkeypatch.setattr(files, "DELETE_BATCH", 2)
    for number in range(3):
        await upload(client, b"Hello", f"{number}.txt")
    kept = await export(cast.gil, "members")
    ended = await export(cast.gil, "members")
    connection = database.connect()
    connection.execute("update tenant set state = 'deleted' where id = %s", [cast.acme])
    connection.execute("update stored_file set expires_at = now() where id = %s", [ended.file_id])

    async def clean_own(tenant_id: str) -> bool:
        return tenant_id in (cast.acme, cast.globex) and await retention.clean_tenant(tenant_id)

    assert await cleaning.clean_tenants(retention.find_next, clean_own)
    first_round = list_stored(files_dir)
    assert not await cleaning.clean_tenants(retention.find_next, clean_own)
    assert len(first_round) == 2
    assert list_stored(files_dir) == [f"{cast.globex}/{kept.file_id}"]
    rows = connection.execute("select id from stored_file where tenant_id = %s", [cast.acme]).fetchall()
    assert rows == []
    connection.execute("update tenant set state = 'active' where id = %s", [cast.acme])


async def test_tenant_whose_files_cannot_be_deleted_does_not_stop_the_next(cast: Cast) -> None:
    exports_by_tenant = {
        cast.acme: await export(cast.ann, "members"),
        cast.globex: await export(cast.gil, "members"),
    }
    for view in exports_by_tenant.values():
        database.connect().execute("update stored_file set expires_at = now() where id = %s", [view.file_id])
    failing, visited = min(exports_by_tenant), []

    async def clean_own(tenant_id: str) -> bool:
        if tenant_id not in exports_by_tenant:
            return False
        visited.append(tenant_id)
        if tenant_id == failing:
            raise storage_unavailable()
        return await retention.clean_tenant(tenant_id)

    await cleaning.clean_tenants(retention.find_next, clean_own)
    assert visited == sorted(exports_by_tenant)
    await retention.clean_tenant(failing)


async def test_audit_export_needs_the_log_itself_when_it_is_opened(cast: Cast) -> None:
    ready = await export(cast.ann, "audit")
    assert (await download(cast.ann, ready.download_path)).status_code == 200
    await override(cast, tenant_access.override_feature, "audit_log", False)
    assert (await download(cast.ann, ready.download_path)).status_code == 404
    members_ready = await export(cast.ann, "members")
    assert (await download(cast.ann, members_ready.download_path)).status_code == 200
