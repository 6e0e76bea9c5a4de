"""Files and exports: upload, list, download, export."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import Field, StringConstraints

from shared.access.endpoints import (
    After,
    ApiCtx,
    ApiFile,
    ApiInput,
    ApiOutput,
    ApiPage,
    Endpoint,
    Limit,
)
from shared.access.file_kinds import FileType
from shared.core.config import settings
from shared.files import exports, files, uploads
from shared.files.actions import (
    EXPORT_CANCEL,
    EXPORT_CREATE,
    EXPORT_READ,
    FILE_DELETE,
    FILE_LIST,
    FILE_READ,
    FILE_UPLOAD,
)
from shared.files.exports import ExportView
from shared.files.models import ExportFormat, ExportState
from shared.tenancy.api.parameters import IdText

FilterText = Annotated[str, StringConstraints(max_length=exports.MAX_VALUE_LENGTH)]


FileName = Annotated[
    str,
    Query(
        min_length=1,
        max_length=uploads.MAX_NAME_LENGTH,
        description="Shown to people; no path",
        examples=["report.pdf"],
    ),
]


class File(ApiOutput):
    id: str = Field(examples=["fil_01jz"])
    name: str = Field(examples=["report.pdf"])
    content_type: FileType = Field(description="Of its bytes, whatever its name says")
    size: int = Field(description="Bytes as stored: images are encoded again", examples=[48211])
    sha256: str = Field(
        description="Of the bytes as stored, in hex",
        examples=["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    )
    created_by_name: str = Field(examples=["Ann"])
    created_at: datetime


class ExportInput(ApiInput):
    kind: IdText = Field(description="What is exported", examples=["members"])
    format: IdText = Field(default="csv", description="csv, jsonl or parquet", examples=["csv"])
    filter: dict[IdText, FilterText] = Field(
        default={}, max_length=20, description="As on the page of the kind", examples=[{"role": "member"}]
    )


class Export(ApiOutput):
    id: str = Field(examples=["exp_01jz"])
    kind: str = Field(examples=["members"])
    format: ExportFormat
    state: ExportState
    row_count: int = Field(description="Rows that are written", examples=[500])
    expected_rows: int = Field(description="As counted at the start", examples=[1200])
    percent: int = Field(examples=[41])
    problem: str = Field(description="Why it failed, and what to do next", examples=[""])
    decision_id: str | None = Field(
        description="The record of what refused it, for GET /decisions/{decision_id}", examples=["dcn_01jz"]
    )
    created_at: datetime
    finished_at: datetime | None
    file_id: str | None = Field(description="Once it is ready", examples=["fil_01jz"])
    expires_at: datetime | None = Field(description="When the file is deleted")


class Link(ApiOutput):
    url: str = Field(
        description="Send the same key with it", examples=["https://app.example.com/files/ten_acme.fil_01jz…"]
    )
    expires_at: datetime


async def create_export(ctx: ApiCtx, creation: ExportInput) -> Export:
    return _show(await exports.begin(ctx, creation.kind, creation.format, creation.filter))


async def get_export(ctx: ApiCtx, export_id: IdText) -> Export:
    return _show(await exports.get(ctx, export_id))


async def cancel_export(ctx: ApiCtx, export_id: IdText) -> Export:
    return _show(await exports.cancel(ctx, export_id))


async def upload_file(ctx: ApiCtx, file: ApiFile, name: FileName) -> File:
    return File.model_validate(await uploads.finish(ctx, file, name))


async def list_files(ctx: ApiCtx, after: After = "", limit: Limit = 50) -> ApiPage[File]:
    page = await uploads.list_uploads(ctx, after=after, limit=limit)
    return ApiPage(items=[File.model_validate(file) for file in page.rows], next=page.next_cursor or None)


async def get_file(ctx: ApiCtx, file_id: IdText) -> File:
    return File.model_validate(await uploads.get(ctx, file_id))


async def delete_file(ctx: ApiCtx, file_id: IdText) -> None:
    await uploads.delete(ctx, file_id)


async def create_file_link(ctx: ApiCtx, file_id: IdText) -> Link:
    link = await files.create_link(ctx, file_id)
    return Link(url=settings().tenant_url + link.path, expires_at=link.expires_at)


def _show(view: ExportView) -> Export:
    return Export(
        id=view.id,
        kind=view.kind,
        format=view.format,
        state=view.state,
        row_count=view.row_count,
        expected_rows=view.expected_rows,
        percent=view.percent,
        problem=view.problem,
        decision_id=view.decision_id or None,
        created_at=view.created_at,
        finished_at=view.finished_at,
        file_id=view.file_id or None,
        expires_at=view.expires_at,
    )


ENDPOINTS = [
    Endpoint(
        method="POST",
        path="/exports",
        handler=create_export,
        action=EXPORT_CREATE,
        summary="Start an export",
        status=202,
        errors=(409,),
    ),
    Endpoint(
        method="GET",
        path="/exports/{export_id}",
        handler=get_export,
        action=EXPORT_READ,
        summary="Read how far an export is",
        errors=(404,),
    ),
    Endpoint(
        method="DELETE",
        path="/exports/{export_id}",
        handler=cancel_export,
        action=EXPORT_CANCEL,
        summary="Cancel an export",
        errors=(404, 409),
    ),
    Endpoint(
        method="POST",
        path="/files",
        handler=upload_file,
        action=FILE_UPLOAD,
        summary="Upload a file",
        status=201,
        errors=(409, 415),
    ),
    Endpoint(
        method="GET",
        path="/files",
        handler=list_files,
        action=FILE_LIST,
        summary="List uploaded files",
    ),
    Endpoint(
        method="GET",
        path="/files/{file_id}",
        handler=get_file,
        action=FILE_LIST,
        summary="Read the details of an uploaded file",
    ),
    Endpoint(
        method="DELETE",
        path="/files/{file_id}",
        handler=delete_file,
        action=FILE_DELETE,
        summary="Delete an uploaded file",
        status=204,
    ),
    Endpoint(
        method="GET",
        path="/files/{file_id}/link",
        handler=create_file_link,
        action=FILE_READ,
        summary="Make a link to download a file",
        errors=(404,),
    ),
]
