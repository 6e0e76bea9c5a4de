"""Exports run in the test, without a worker; downloads by their links."""

import csv
import io

import httpx

from shared.files import export_runs, exports, storage_registry
from shared.files.exports import ExportView
from shared.jobs.worker import ExternalJob
from tests.conftest import Person
from tests.support.http_visitor import browser

JSON = {"accept": "application/json"}


async def start(person: Person, kind: str, export_format: str = "csv", **fields: str) -> ExportView:
    async with person.ctx() as ctx:
        return await exports.begin(ctx, kind, export_format, fields)


async def run(person: Person, export_id: str) -> ExportView:
    """The job, with the storage of this test's event loop. Returns the export as its owner sees it."""
    async with person.ctx() as ctx:
        tenant_id = ctx.tenant_id
    try:
        await export_runs.run(ExternalJob(tenant_id, "req_export"), export_id)
    finally:
        await storage_registry.close()
    return await read(person, export_id)


async def read(person: Person, export_id: str) -> ExportView:
    async with person.ctx() as ctx:
        return await exports.get(ctx, export_id)


async def export(person: Person, kind: str, export_format: str = "csv", **fields: str) -> ExportView:
    started = await start(person, kind, export_format, **fields)
    return await run(person, started.id)


async def download(person: Person, path: str) -> httpx.Response:
    async with browser(cookie=person.cookie) as client:
        return await client.get(path, headers=JSON)


async def export_rows(person: Person, kind: str, **fields: str) -> list[list[str]]:
    """The rows of the CSV file, its header first."""
    view = await export(person, kind, **fields)
    answer = await download(person, view.download_path)
    assert answer.status_code == 200, (view, answer.text)
    assert answer.text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"), newline="")))
