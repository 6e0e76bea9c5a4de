"""Tables of the audit log. Rows are only added. Triggers and the sealer's functions write hashes and numbers."""

from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import BigInteger, FetchedValue, LargeBinary, SmallInteger
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.core.db import TenantRow, text_enum, timestamptz
from shared.core.ids import new_id


def _database_default() -> dict[str, Any]:
    return {"server_default": FetchedValue()}


class AuditEvent(TenantRow, table=True):
    """`seq` and `prev` are of format 1: later events have their number and place in the chain in `AuditSeal`."""

    __tablename__ = "audit_event"

    id: str = Field(default_factory=lambda: new_id("aud"), primary_key=True)
    seq: int | None = Field(default=None, sa_type=BigInteger)
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
    prev: bytes | None = Field(default=None, sa_type=LargeBinary)
    hash: bytes | None = Field(default=None, sa_type=LargeBinary, sa_column_kwargs=_database_default())
    format: int | None = Field(default=None, sa_type=SmallInteger, sa_column_kwargs=_database_default())
    transaction_id: int | None = Field(default=None, sa_type=BigInteger)


class AuditHead(TenantRow, table=True):
    """The last number and hash of a tenant's chain. Only the sealer writes and locks it."""

    __tablename__ = "audit_head"

    id: str = Field(default="head", primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)


class AuditSeal(TenantRow, table=True):
    """The place of an event in its tenant's hash chain. `id` is the event's. Only the sealer writes it."""

    __tablename__ = "audit_seal"

    id: str = Field(primary_key=True)
    seq: int = Field(sa_type=BigInteger)
    previous_hash: bytes = Field(sa_type=LargeBinary)
    hash: bytes = Field(sa_type=LargeBinary)


class VerificationState(StrEnum):
    RUNNING = "running"
    INTACT = "intact"
    BROKEN = "broken"


class ChainProblem(StrEnum):
    """What a verification found. The stored words."""

    NONE = ""
    CHANGED = "changed"  # the event, or for format 1 the one before it is missing
    DELETED = "deleted"  # the event of a seal
    CHAIN = "chain"  # a seal was changed, deleted or inserted
    END = "end"  # the last seals are missing
    INSERTED = "inserted"  # an event that was never sealed


class AuditVerification(TenantRow, table=True):
    """How far a tenant's audit log is verified: one row, the checkpoint from which the next step continues.

    `checked_seq`, `checked_hash`: the chain is right up to here. `checked_id`, `checked_events`: events up to this id, and
    how many, have a place in the chain. `verified_seq`, `verified_at`: of the last verification that found the log intact.
    """

    __tablename__ = "audit_verification"

    id: str = Field(default="verification", primary_key=True)
    state: VerificationState = Field(sa_type=cast(Any, text_enum(VerificationState)))
    checked_seq: int = Field(default=0, sa_type=BigInteger)
    checked_hash: bytes = Field(default=b"\x00", sa_type=LargeBinary)
    checked_id: str = ""
    checked_events: int = Field(default=0, sa_type=BigInteger)
    target_seq: int = Field(default=0, sa_type=BigInteger)
    problem: str = ""
    broken_at: int | None = Field(default=None, sa_type=BigInteger)
    broken_id: str = ""
    started_at: datetime = Field(sa_type=timestamptz())
    changed_at: datetime = Field(sa_type=timestamptz())
    verified_seq: int = Field(default=0, sa_type=BigInteger)
    verified_at: datetime | None = Field(default=None, sa_type=timestamptz())


class EventOutbox(TenantRow, table=True):
    """A public event, written in the transaction of what it tells about. `fanned_out_at`: its deliveries exist.

    `seq` is in the order of the changes of one object, because whoever changes it holds its lock. `ordering_key`: events
    with the same one are delivered one after another.
    """

    __tablename__ = "event_outbox"

    id: str = Field(default_factory=lambda: new_id("evt"), primary_key=True)
    seq: int | None = Field(default=None, sa_type=BigInteger, sa_column_kwargs=_database_default())
    type: str
    ordering_key: str = ""
    body: str  # JSON, as it is sent
    request_id: str
    created_at: datetime = Field(sa_type=timestamptz())
    fanned_out_at: datetime | None = Field(default=None, sa_type=timestamptz())


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


class BugReport(SQLModel, table=True):
    """An unexpected error, by the reference that the person was shown. The log has its traceback."""

    __tablename__ = "bug_report"

    id: str = Field(default_factory=lambda: new_id("bug"), primary_key=True)
    at: datetime = Field(sa_type=timestamptz())
    request_id: str
    process: str  # "tenant app", "admin app" or "worker"
    problem: str  # type of the exception
    place: str  # file, line and function, "" for none of ours


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
