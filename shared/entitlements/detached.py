"""Copies of rows that belong to no session, because cached rows must outlive the transaction that read them.

A rollback, as after every refusal, expires all rows of its session, and reading them later fails.
"""

from collections.abc import Iterable
from typing import TypeVar

from sqlmodel import SQLModel

from shared.entitlements.history import EntitlementHistory

Row = TypeVar("Row", bound=SQLModel)


def detach_rows(records: Iterable[Row]) -> list[Row]:
    """Read-only copies; don't add them to a session."""
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
