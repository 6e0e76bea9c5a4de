"""Tables of the monitoring. They belong to no tenant: only operators read them."""

from datetime import datetime

from sqlalchemy import BigInteger
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import Field, SQLModel

from shared.core.db import now, timestamptz


class TrafficMinute(SQLModel, table=True):
    """`dimension`, `value`: as in `core.traffic`. `latency`: requests by bucket of `LATENCY_LIMITS_MS`."""

    __tablename__ = "traffic_minute"

    minute: datetime = Field(primary_key=True, sa_type=timestamptz())
    dimension: str = Field(primary_key=True)
    value: str = Field(primary_key=True)
    requests: int = Field(sa_type=BigInteger)
    errors: int = Field(sa_type=BigInteger)
    total_ms: int = Field(sa_type=BigInteger)
    latency: list[int] = Field(sa_type=ARRAY(BigInteger))


class AlertState(SQLModel, table=True):
    """An alert that fires for a subject, or did: `ended_at` is None while it fires. `subject`: "" for the platform."""

    __tablename__ = "alert_state"

    name: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    detail: str
    since: datetime = Field(sa_type=timestamptz())
    seen_at: datetime = Field(sa_type=timestamptz())
    ended_at: datetime | None = Field(default=None, sa_type=timestamptz())


class AlertSubscription(SQLModel, table=True):
    """An operator who wants mail about alerts."""

    __tablename__ = "alert_subscription"

    operator_id: str = Field(primary_key=True, foreign_key="operator.id")
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
