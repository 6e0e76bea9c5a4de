"""Write the rows of an export as CSV, JSONL or Parquet. Memory stays flat: rows leave it with their batch.

Parquet needs pyarrow, the extra `parquet` of this package.
"""

import importlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Protocol

from shared.access.file_kinds import ColumnType, ExportColumn, ExportProof, ExportRow, ExportValue
from shared.core.errors import Conflict
from shared.files.csv_cells import BYTE_ORDER_MARK, to_csv
from shared.files.incoming import IncomingFile
from shared.files.models import ExportFormat

CONTENT_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.JSONL: "application/x-ndjson",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
}
PROOF_MARK = "#proof"  # the first cell of the last line of a signed CSV file
PARQUET_GROUP_ROWS = 10_000


class ExportWriter(Protocol):
    """Its methods block. They raise FileTooLarge and StorageUnavailable."""

    def write_rows(self, rows: Sequence[ExportRow]) -> None: ...

    def write_proof(self, proof: ExportProof) -> None:
        """The last line of a signed export."""

    def finish(self) -> None:
        """What comes after the last row."""


def require_format(export_format: ExportFormat) -> None:
    """Raises Conflict for a format that this installation can't write."""
    if export_format is ExportFormat.PARQUET and importlib.util.find_spec("pyarrow") is None:
        raise Conflict(
            "This installation can’t write Parquet files.",
            "Choose CSV or JSONL. Whoever runs the platform can install its extra “parquet”.",
            reason="format_unavailable",
        )


def require_signable(export_format: ExportFormat) -> None:
    """Raises Conflict for a format that has no last line."""
    if export_format is ExportFormat.PARQUET:
        raise Conflict(
            "A signed export can’t be a Parquet file.", "Choose CSV or JSONL.", reason="format_unavailable"
        )


def open_writer(
    export_format: ExportFormat, target: IncomingFile, columns: Sequence[ExportColumn]
) -> ExportWriter:
    """Raises Conflict as `require_format`."""
    require_format(export_format)
    match export_format:
        case ExportFormat.CSV:
            return CsvWriter(target, columns)
        case ExportFormat.JSONL:
            return JsonlWriter(target, columns)
        case ExportFormat.PARQUET:
            return ParquetWriter(target, columns)


class CsvWriter:
    def __init__(self, target: IncomingFile, columns: Sequence[ExportColumn]) -> None:
        self._target = target
        header = to_csv([[column.title for column in columns]])
        target.write((BYTE_ORDER_MARK + header).encode())

    def write_rows(self, rows: Sequence[ExportRow]) -> None:
        lines = to_csv([_to_cell(value) for value in row] for row in rows)
        self._target.write(lines.encode(errors="replace"))

    def write_proof(self, proof: ExportProof) -> None:
        cells = [PROOF_MARK, proof.statement, proof.signature, proof.public_key, proof.anchor]
        self._target.write(to_csv([cells]).encode())

    def finish(self) -> None:
        """The last row is the end."""


class JsonlWriter:
    def __init__(self, target: IncomingFile, columns: Sequence[ExportColumn]) -> None:
        self._target, self._keys = target, [column.key for column in columns]

    def write_rows(self, rows: Sequence[ExportRow]) -> None:
        lines = [
            json.dumps(dict(zip(self._keys, map(_to_json, row), strict=True)), ensure_ascii=False) + "\n"
            for row in rows
        ]
        self._target.write("".join(lines).encode(errors="replace"))

    def write_proof(self, proof: ExportProof) -> None:
        self._target.write((json.dumps({"proof": asdict(proof)}, ensure_ascii=False) + "\n").encode())

    def finish(self) -> None:
        """The last line is the end."""


class ParquetWriter:
    """Columns have types: text, 64-bit numbers, times in UTC. JSON is text."""

    def __init__(self, target: IncomingFile, columns: Sequence[ExportColumn]) -> None:
        pyarrow = importlib.import_module("pyarrow")
        types = {
            ColumnType.NUMBER: pyarrow.int64(),
            ColumnType.TIME: pyarrow.timestamp("us", tz="UTC"),
        }
        fields = [(column.key, types.get(column.type, pyarrow.string())) for column in columns]
        self._pyarrow, self._schema = pyarrow, pyarrow.schema(fields)
        parquet = importlib.import_module("pyarrow.parquet")
        self._writer: Any = parquet.ParquetWriter(_Sink(target), self._schema, compression="zstd")
        self._waiting: list[ExportRow] = []  # of the row group that is not full yet

    def write_rows(self, rows: Sequence[ExportRow]) -> None:
        self._waiting += rows
        if len(self._waiting) >= PARQUET_GROUP_ROWS:
            self._write_group()

    def write_proof(self, proof: ExportProof) -> None:
        """Raises ValueError: `require_signable` comes before."""
        raise ValueError(f"a Parquet file has no last line for {proof.public_key}")

    def finish(self) -> None:
        if self._waiting:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        columns = zip(*self._waiting, strict=True)
        arrays = [
            self._pyarrow.array([_to_arrow(value) for value in values], type=field.type)
            for values, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._pyarrow.Table.from_arrays(arrays, schema=self._schema))
        self._waiting = []


class _Sink:
    """What pyarrow takes for a file: it only appends."""

    closed = False

    def __init__(self, target: IncomingFile) -> None:
        self._target = target

    def write(self, data: Any) -> int:  # bytes, or a buffer of pyarrow's
        return self._target.write(bytes(data))

    def tell(self) -> int:
        return self._target.size

    def flush(self) -> None:
        """`IncomingFile.finish` does it."""

    def close(self) -> None:
        self.closed = True


def _to_cell(value: ExportValue) -> str:
    """UTC times, in a format that spreadsheets and programs parse."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return value if isinstance(value, str) else _to_text(value)


def _to_json(value: ExportValue) -> object:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


def _to_arrow(value: ExportValue) -> object:
    return value if isinstance(value, str | int | datetime | None) else _to_text(value)


def _to_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
