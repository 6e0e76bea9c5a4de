"""Rows that belong to no session. What a process keeps must outlive the transaction that happened to read it.

A session that is rolled back, as with every refusal, expires all its rows: the next who reads them gets an error.
"""

from collections.abc import Iterable
from typing import TypeVar

from sqlmodel import SQLModel

from shared.entitlements.facts import History

Row = TypeVar("Row", bound=SQLModel)


def rows(those: Iterable[Row]) -> list[Row]:
    """Copies, for reading only: added to a session they would be other rows."""
    return [type(one)(**one.model_dump()) for one in those]


def history(of: History) -> History:
    return History(
        of.tenant_id,
        rows(of.assigned),
        rows(of.addons),
        rows(of.overrides),
        rows(of.billing),
        rows(of.flags),
        rows(of.traits),
        rows(of.plans),
        rows(of.versions),
    )
