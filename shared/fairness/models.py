"""Tables of fairness."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlmodel import Field

from shared.core.db import TenantRow, now, timestamptz
from shared.core.ids import new_id


class LoadRow(TenantRow, table=True):
    """What a tenant cost in ten minutes, by all processes. Kept for 25 hours.

    `id`: the beginning, as in "2026-11-30T14:20". Each process adds its numbers once a minute.
    """

    __tablename__ = "tenant_load"

    id: str = Field(primary_key=True)
    starts_at: datetime = Field(sa_type=timestamptz())
    request_count: int = Field(0, sa_type=BigInteger)  # of the API
    event_count: int = Field(0, sa_type=BigInteger)  # of pages
    job_count: int = Field(0, sa_type=BigInteger)  # begun
    refused_count: int = Field(0, sa_type=BigInteger)
    database_seconds: float = 0.0


class ThrottleRow(TenantRow, table=True):
    """A lower rate that an operator gave a tenant. `percent`: of the usual one. Its members read the reason."""

    __tablename__ = "tenant_throttle"

    id: str = Field(default_factory=lambda: new_id("thr"), primary_key=True)
    percent: int
    reason: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_by_name: str
    expires_at: datetime = Field(sa_type=timestamptz())
    ended_at: datetime | None = Field(default=None, sa_type=timestamptz())
    ended_by_name: str = ""
