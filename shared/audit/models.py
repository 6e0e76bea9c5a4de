"""Tables of the audit log. Rows are only added. A trigger writes `seq`, `prev` and `hash`."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, FetchedValue, LargeBinary
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.core.db import TenantRow, timestamptz
from shared.core.ids import new_id


def _database_default() -> dict[str, Any]:
    return {"server_default": FetchedValue()}


class AuditEvent(TenantRow, table=True):
    __tablename__ = "audit_event"

    id: str = Field(default_factory=lambda: new_id("aud"), primary_key=True)
    seq: int | None = Field(default=None, sa_type=BigInteger, sa_column_kwargs=_database_default())
    at: datetime | None = Field(default=None, sa_type=timestamptz(), sa_column_kwargs=_database_default())
    actor_type: str
    actor_id: str
    actor_name: str
    impersonator_id: str = ""
    action: str
    object_id: str
    reason: str = ""
    before: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    after: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    request_id: str
    prev: bytes | None = Field(default=None, sa_type=LargeBinary, sa_column_kwargs=_database_default())
    hash: bytes | None = Field(default=None, sa_type=LargeBinary, sa_column_kwargs=_database_default())


class AuditHead(TenantRow, table=True):
    """The head of a tenant's hash chain. Only the trigger writes it."""

    __tablename__ = "audit_head"

    id: str = Field(default="head", primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)


class OperatorEvent(SQLModel, table=True):
    """Actions of operators outside of tenants, in one hash chain for the platform."""

    __tablename__ = "operator_event"

    id: str = Field(default_factory=lambda: new_id("aud"), primary_key=True)
    seq: int | None = Field(default=None, sa_type=BigInteger, sa_column_kwargs=_database_default())
    at: datetime | None = Field(default=None, sa_type=timestamptz(), sa_column_kwargs=_database_default())
    actor_id: str
    actor_name: str
    action: str
    object_id: str
    reason: str
    details: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    request_id: str
    prev: bytes | None = Field(default=None, sa_type=LargeBinary, sa_column_kwargs=_database_default())
    hash: bytes | None = Field(default=None, sa_type=LargeBinary, sa_column_kwargs=_database_default())


class SecurityEvent(SQLModel, table=True):
    """Refused attempts that normal use never makes, counted per actor, kind and hour."""

    __tablename__ = "security_event"

    id: str = Field(default_factory=lambda: new_id("sec"), primary_key=True)
    at: datetime = Field(sa_type=timestamptz())
    hour: datetime = Field(sa_type=timestamptz())
    kind: str
    actor_id: str
    subject: str = ""
    request_id: str = ""
    count: int = 1
