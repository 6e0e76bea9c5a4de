"""One contract for both storages; what each refuses. The bucket checks every signature."""

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from shared.core.config import settings
from shared.core.ids import new_id
from shared.files import incoming, s3_storage, storage_registry
from shared.files.incoming import FileTooLarge, open_incoming
from shared.files.local_storage import LocalStorage
from shared.files.storage import CHUNK_SIZE, FilePath, MissingFile, Storage, StorageUnavailable
from tests.support.s3_stand_in import BUCKET, Bucket, run_bucket

CONTENT = b"Bulkhead" * CHUNK_SIZE  # several chunks


@pytest.fixture(autouse=True)
def files_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BULKHEAD_FILES_DIR", str(tmp_path))
    settings.cache_clear()
    storage_registry.register(None)
    yield tmp_path
    monkeypatch.undo()
    settings.cache_clear()
    storage_registry.register(None)  # a process keeps the one that it has used


def new_path(tenant_id: str = "ten_acme") -> FilePath:
    return FilePath(tenant_id, new_id("fil"))


async def put(storage: Storage, path: FilePath, content: bytes = CONTENT) -> None:
    with open_incoming(len(content)) as file:
        file.write(content)
        await storage.put(path, file.path, sha256=file.finish())


async def read(storage: Storage, path: FilePath) -> bytes:
    return b"".join([chunk async for chunk in storage.read(path)])


@asynccontextmanager
async def open_storage(kind: str) -> AsyncIterator[Storage]:
    if kind == "local":
        yield LocalStorage(settings().absolute_files_dir)
        return
    async with run_bucket() as bucket:
        storage = bucket.build_storage()
        yield storage
        await storage.close()
        assert bucket.refusals == []


@pytest.mark.parametrize("kind", ["local", "bucket"])
async def test_storage_keeps_a_file_until_it_is_deleted(kind: str) -> None:
    path = new_path()
    async with open_storage(kind) as storage:
        with pytest.raises(MissingFile):
            await read(storage, path)
        await put(storage, path)
        assert await read(storage, path) == CONTENT
        with pytest.raises(MissingFile):
            await read(storage, FilePath("ten_globex", path.file_id))
        await storage.delete(path)
        await storage.delete(path)
        with pytest.raises(MissingFile):
            await read(storage, path)


@pytest.mark.parametrize(
    ("tenant_id", "file_id"),
    [
        ("ten_acme", "../../x"),
        ("../ten_acme", "fil_x"),
        ("ten_acme", "fil_x/../../y"),
        ("", "fil_x"),
        ("ten_acme", ""),
        ("ten_acme", "fil_x\0"),
        ("fil_x", "ten_acme"),
    ],
)
def test_path_takes_only_ids_of_ours(tenant_id: str, file_id: str) -> None:
    with pytest.raises(ValueError, match="consists of"):
        FilePath(tenant_id, file_id)


async def test_local_file_is_in_the_folder_of_its_tenant_and_private(files_dir: Path) -> None:
    path = new_path()
    await put(LocalStorage(files_dir), path)
    stored = files_dir / "ten_acme" / path.file_id
    assert stored.read_bytes() == CONTENT
    assert (stored.stat().st_mode & 0o777, stored.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert list((files_dir / "incoming").iterdir()) == []


async def test_full_disk_stores_nothing(files_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    path = new_path()
    with pytest.raises(StorageUnavailable, match="is full"):
        await put(LocalStorage(files_dir), path)
    monkeypatch.setattr(os, "fsync", refuse)
    with open_incoming(10) as file, pytest.raises(StorageUnavailable, match="is full"):
        file.finish()
    assert [folder for folder, _, names in os.walk(files_dir) if names] == []


def test_file_above_its_size_is_refused_before_it_is_written(files_dir: Path) -> None:
    with open_incoming(1_000) as file:
        file.write(b"x" * 999)
        with pytest.raises(FileTooLarge, match="larger than"):
            file.write(b"xx")
        assert file.size == 999
    assert list((files_dir / "incoming").iterdir()) == []


def test_what_a_killed_process_left_is_removed_after_a_day(files_dir: Path) -> None:
    with open_incoming(10):
        pass
    left_over, fresh = files_dir / "incoming" / "inc_old", files_dir / "incoming" / "inc_new"
    for path in (left_over, fresh):
        path.write_bytes(b"half")
    yesterday = time.time() - incoming.LEFT_OVER_SECONDS - 60
    os.utime(left_over, (yesterday, yesterday))
    with open_incoming(10):
        pass
    assert list((files_dir / "incoming").iterdir()) == [fresh]


@pytest.fixture
async def bucket(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bucket]:
    monkeypatch.setattr(s3_storage, "FIRST_WAIT_S", 0.001)
    async with run_bucket() as running:
        yield running


async def test_bucket_holds_the_file_below_its_tenant(bucket: Bucket) -> None:
    storage, path = bucket.build_storage(), new_path()
    await put(storage, path, b"")
    assert bucket.objects == {f"ten_acme/{path.file_id}": b""}
    await storage.close()


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"secret": "another"}, "SignatureDoesNotMatch"),
        ({"region": "us-east-1"}, "AuthorizationHeaderMalformed"),
    ],
    ids=["secret", "region"],
)
async def test_bucket_that_refuses_us_stores_nothing(
    bucket: Bucket, changed: dict[str, str], refusal: str
) -> None:
    storage = bucket.build_storage(**changed)
    with pytest.raises(StorageUnavailable, match="refused the request"):
        await put(storage, new_path())
    assert (bucket.objects, bucket.refusals) == ({}, [refusal])
    await storage.close()


async def test_bucket_that_is_missing_is_no_missing_file_for_writing(bucket: Bucket) -> None:
    storage = bucket.build_storage(bucket=f"{BUCKET}-2")
    with pytest.raises(StorageUnavailable):
        await put(storage, new_path())
    await storage.close()


async def test_body_that_changed_on_its_way_is_not_stored(bucket: Bucket, tmp_path: Path) -> None:
    storage, source = bucket.build_storage(), tmp_path / "changed"
    source.write_bytes(b"changed")
    with pytest.raises(StorageUnavailable):
        await storage.put(new_path(), source, sha256="0" * 64)
    assert bucket.refusals == ["XAmzContentSHA256Mismatch"]
    await storage.close()


async def test_short_outage_of_the_bucket_is_bridged(bucket: Bucket) -> None:
    storage, path = bucket.build_storage(), new_path()
    bucket.failures = [503, 500]
    await put(storage, path)
    bucket.failures = [503]
    assert await read(storage, path) == CONTENT
    bucket.failures = [503] * s3_storage.ATTEMPTS
    with pytest.raises(StorageUnavailable, match="can’t be reached"):
        await storage.delete(path)
    assert list(bucket.objects) == [str(path)]
    await storage.close()


async def test_slow_download_keeps_no_upload_waiting(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_storage, "MAX_CONNECTIONS", 1)
    storage, path = bucket.build_storage(), new_path()
    await put(storage, path)
    chunks = storage.read(path)
    await anext(chunks)
    await asyncio.wait_for(put(storage, new_path()), 5)
    await chunks.aclose()
    await storage.close()


async def test_bucket_without_a_server_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_storage, "FIRST_WAIT_S", 0.001)
    storage = Bucket(url="http://127.0.0.1:9").build_storage()
    with pytest.raises(StorageUnavailable, match="can’t be reached"):
        await put(storage, new_path())
    await storage.close()
