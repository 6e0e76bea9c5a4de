"""The tables of stored files and of exports."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from shared.core.db import TenantRow, now, text_enum, timestamptz
from shared.core.ids import new_id


class FileState(StrEnum):
    WRITING = "writing"  # its bytes may be in the storage, whole or not at all
    READY = "ready"


class ExportFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class ExportState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


OPEN_STATES = (ExportState.WAITING, ExportState.RUNNING)


class StoredFile(TenantRow, table=True):
    """A file in the storage, at the path of its tenant and its id. Nothing of the path comes from a client."""

    __tablename__ = "stored_file"

    id: str = Field(default_factory=lambda: new_id("fil"), primary_key=True)
    kind: str
    purpose: str
    state: FileState = Field(default=FileState.WRITING, sa_type=text_enum(FileState))
    name: str  # for the download: made by us, or shown as whoever uploaded it called it
    content_type: str = ""  # of the bytes as they were written
    size: int = Field(default=0, sa_type=BigInteger)  # bytes
    sha256: str = ""  # in hex
    owner_id: str  # person or service account who made it
    created_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    expires_at: datetime | None = Field(default=None, sa_type=timestamptz())  # None: kept until it is deleted


class ExportJob(TenantRow, table=True):
    """An export: who asked for it, and how far it is."""

    __tablename__ = "export_job"

    id: str = Field(default_factory=lambda: new_id("exp"), primary_key=True)
    kind: str
    format: ExportFormat = Field(sa_type=text_enum(ExportFormat))
    filter: dict[str, str] = Field(default_factory=dict, sa_type=JSONB)
    state: ExportState = Field(default=ExportState.WAITING, sa_type=text_enum(ExportState))
    row_count: int = Field(default=0, sa_type=BigInteger)  # rows that are written
    expected_rows: int = Field(default=0, sa_type=BigInteger)  # as counted at the start
    file_id: str | None = None
    problem: str = ""  # why it failed, and what to do next
    decision_id: str = ""  # of the record that says what refused it
    owner_id: str  # person or service account who asked for it
    key_id: str = ""  # the API key that asked, "" without one
    created_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    finished_at: datetime | None = Field(default=None, sa_type=timestamptz())
