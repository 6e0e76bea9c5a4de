"""Versions of the rows that people edit in forms, so that a stale form can't undo a newer change unnoticed.

A form carries the version of the row that it shows. The service locks the row, calls `require_version`, changes the row
and calls `advance_version`.
"""

from collections.abc import Mapping, Set
from datetime import datetime

from sqlmodel import Field, SQLModel

from shared.core.db import now, timestamptz
from shared.core.errors import ChangedMeanwhile, FieldDifference


class Versioned(SQLModel):
    """Columns of a row that has a version, and who made it when."""

    version: int = 1
    version_at: datetime | None = Field(default=None, sa_type=timestamptz())  # None for version 1
    version_by: str = ""  # name of the person at that time


def require_version(
    row: Versioned, version: int | None, subject: str, values: Mapping[str, tuple[object, object]]
) -> None:
    """Raises ChangedMeanwhile where the row, which is locked, has another version than the form.

    `version` None: the caller has read the row in this transaction. `subject`: what was changed, as in "this role".
    `values`: the row's and the form's value of each field, by its label. A form that changes nothing is accepted.
    """
    differences = compare_values(values)
    if version in (None, row.version) or not differences:
        return
    raise ChangedMeanwhile(
        subject,
        version=row.version,
        changed_by=row.version_by,
        changed_at=row.version_at or now(),
        differences=differences,
    )


def advance_version(row: Versioned, by: str) -> None:
    """`by`: name of the person who makes the change."""
    row.version, row.version_at, row.version_by = row.version + 1, now(), by


def compare_values(values: Mapping[str, tuple[object, object]]) -> tuple[FieldDifference, ...]:
    """The values that differ, as text. Of two sets, what only one of them has."""
    return tuple(
        FieldDifference(
            label=label,
            current=_describe_value(current, submitted),
            submitted=_describe_value(submitted, current),
        )
        for label, (current, submitted) in values.items()
        if current != submitted
    )


def _describe_value(value: object, other: object) -> str:
    if isinstance(value, Set) and isinstance(other, Set):
        return ", ".join(sorted(map(str, value - other)))
    return str(value)
