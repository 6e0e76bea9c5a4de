"""Kinds of files, as modules declare them in their manifests: what exports make, and what is uploaded.

`shared.files` stores and serves them. It asks the actions of the kind for every download.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.access.actions import Action
from shared.core import registry
from shared.core.context import Ctx
from shared.core.paging import Page
from shared.core.registry import Module

EXPORT_LIFETIME = timedelta(days=7)
MAX_FILE_BYTES = 4_000_000_000  # S3 takes 5 GB in one request

ExportValue = str | int | datetime | Mapping[str, object] | None
ExportRow = Sequence[ExportValue]  # a value for each column
ExportFilter = Mapping[str, str]


class FilePurpose(StrEnum):
    """What a signed link is for. Stored."""

    EXPORT = "export"
    UPLOAD = "upload"


class FileType(StrEnum):
    """As the answer to a download names it."""

    JPEG = "image/jpeg"
    PDF = "application/pdf"
    PNG = "image/png"
    TEXT = "text/plain; charset=utf-8"
    WEBP = "image/webp"
    ZIP = "application/zip"


class ColumnType(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    TIME = "time"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ExportColumn:
    title: str
    type: ColumnType = ColumnType.TEXT

    @property
    def key(self) -> str:
        """Its name for programs: "last_active"."""
        return self.title.lower().replace(" ", "_")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedRows:
    """What an export has written. `sha256`: of all bytes so far, in hexadecimal. The rows are None where there is none."""

    export_id: str
    count: int
    sha256: str
    first: ExportRow | None
    last: ExportRow | None
    anchor: str  # JSON, as read before, "" for none


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportProof:
    """The last line of an export that is signed: a statement about everything before it."""

    statement: str  # JSON
    signature: str  # of the statement
    public_key: str
    anchor: str  # JSON, "" for none


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """Where the rows come from. Every function requires the action of its kind."""

    columns: Sequence[ExportColumn]
    filter_fields: Sequence[str]
    # Checks the filter and records the export in the audit log. Returns about how many rows there are. Raises Refused, Invalid.
    start: Callable[[Ctx, ExportFilter], Awaitable[int]]
    # The rows after this cursor, "" for the first ones. Raises Refused.
    list_batch: Callable[[Ctx, ExportFilter, str], Awaitable[Page[ExportRow]]]
    signer: "ExportSigner | None" = None  # None: the export isn't signed


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSigner:
    """Makes the last line of a signed export."""

    # The newest anchor of this tenant, "" for none: outside of a transaction. Raises StorageUnavailable.
    read_anchor: Callable[[str], Awaitable[str]]
    sign: Callable[[Ctx, ExportedRows], Awaitable[ExportProof]]  # Raises Refused.


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    name: str  # stored
    title: str  # as in "Members"
    action: Action  # that reading it needs
    further_actions: Sequence[Action] = ()  # that it needs as well
    lifetime: timedelta | None  # None: until somebody deletes it
    is_shared: bool  # with all who may read the kind; else only its owner reads it

    @property
    def purpose(self) -> FilePurpose:
        """What a link to it is for."""
        return FilePurpose.UPLOAD


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportKind(FileKind):
    """Its name is part of the name of the file that people get."""

    page: str  # of the tenant app that offers it, as in "members"
    source: ExportSource
    lifetime: timedelta = EXPORT_LIFETIME
    is_shared: bool = False
    max_bytes: int = MAX_FILE_BYTES

    @property
    def purpose(self) -> FilePurpose:
        return FilePurpose.EXPORT


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadKind(FileKind):
    types: Sequence[FileType]  # by their bytes; all others are refused
    lifetime: timedelta | None = None
    is_shared: bool = True


FILE_KINDS: dict[str, FileKind] = {}  # of all manifests
EXPORT_KINDS: dict[str, ExportKind] = {}  # those of them that are exported


@registry.each_module
def _add_kinds(module: Module) -> None:
    for kind in module.files:
        FILE_KINDS[kind.name] = kind
        if isinstance(kind, ExportKind):
            EXPORT_KINDS[kind.name] = kind
