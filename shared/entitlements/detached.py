"""Rows that belong to no session. What a process keeps must outlive the transaction that happened to read it.

A session that is rolled back, as with every refusal, expires all its rows: the next who reads them gets an error.
"""

from collections.abc import Iterable
from typing import TypeVar

from sqlmodel import SQLModel

from shared.entitlements.history import EntitlementHistory

Row = TypeVar("Row", bound=SQLModel)


def detach_rows(records: Iterable[Row]) -> list[Row]:
    """Copies, for reading only: added to a session they would be other rows."""
    return [type(record)(**record.model_dump()) for record in records]


def detach_history(record: EntitlementHistory) -> EntitlementHistory:
    return EntitlementHistory(
        record.tenant_id,
        detach_rows(record.assignments),
        detach_rows(record.addons),
        detach_rows(record.overrides),
        detach_rows(record.billing),
        detach_rows(record.flags),
        detach_rows(record.traits),
        detach_rows(record.custom_plans),
        detach_rows(record.custom_versions),
    )
