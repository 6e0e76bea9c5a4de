"""Exports and files over REST."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from shared.access.endpoints import ApiCtx, ApiInput, ApiOutput, Endpoint
from shared.core.config import settings
from shared.files import exports, files
from shared.files.actions import EXPORT_CANCEL, EXPORT_CREATE, EXPORT_READ, FILE_READ
from shared.files.exports import ExportView
from shared.files.models import ExportFormat, ExportState
from shared.tenancy.api.parameters import IdText

FilterText = Annotated[str, StringConstraints(max_length=exports.MAX_VALUE_LENGTH)]


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
        method="GET",
        path="/files/{file_id}/link",
        handler=create_file_link,
        action=FILE_READ,
        summary="Make a link to download a file",
        errors=(404,),
    ),
]
