"""Tables of evidence."""

from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import BigInteger, LargeBinary
from sqlmodel import Field, SQLModel

from shared.core.db import TenantRow, now, text_enum, timestamptz
from shared.core.ids import new_id
from shared.core.versions import Versioned


class AnchorProblem(StrEnum):
    """What is wrong with a chain, by its anchor or its verification. The stored words."""

    NONE = ""
    BROKEN = "broken"  # the verification of the chain failed
    CUT = "cut"  # the anchored event and all after it are missing
    FORGED = "forged"  # the anchor outside the database has no valid signature
    MISSING = "missing"  # the anchor outside the database is gone
    REPLACED = "replaced"  # the anchored number has another hash now


class AuditAnchor(TenantRow, table=True):
    """What was anchored of a tenant's chain last, and what the last verification found. One row.

    The anchor itself is a signed file outside the database: this row only says when the next one is due. `problem_seq`:
    number of the first event that is wrong.
    """

    __tablename__ = "audit_anchor"

    id: str = Field(default="anchor", primary_key=True)
    seq: int = Field(default=0, sa_type=BigInteger)
    hash: bytes = Field(default=b"\x00", sa_type=LargeBinary)
    anchored_at: datetime | None = Field(default=None, sa_type=timestamptz())
    verified_seq: int = Field(default=0, sa_type=BigInteger)
    verified_at: datetime | None = Field(default=None, sa_type=timestamptz())
    problem: str = ""
    problem_seq: int | None = Field(default=None, sa_type=BigInteger)
    problem_at: datetime | None = Field(default=None, sa_type=timestamptz())


class PlatformAnchor(SQLModel, table=True):
    """The same of the operators' chain. One row."""

    __tablename__ = "platform_anchor"

    id: bool = Field(default=True, primary_key=True)
    seq: int = Field(default=0, sa_type=BigInteger)
    hash: bytes = Field(default=b"\x00", sa_type=LargeBinary)
    anchored_at: datetime | None = Field(default=None, sa_type=timestamptz())
    verified_seq: int = Field(default=0, sa_type=BigInteger)
    verified_at: datetime | None = Field(default=None, sa_type=timestamptz())
    problem: str = ""
    problem_seq: int | None = Field(default=None, sa_type=BigInteger)
    problem_at: datetime | None = Field(default=None, sa_type=timestamptz())


class StreamKind(StrEnum):
    """What receives a stream."""

    HTTPS = "https"  # one JSON array for each request
    SPLUNK = "splunk"  # the HTTP Event Collector


class StreamState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"  # its events wait


class StreamPause(StrEnum):
    NONE = ""
    MEMBER = "member"
    FAILURES = "failures"  # nothing was taken for a long time
    GONE = "gone"  # it answered 410


class AuditStream(TenantRow, Versioned, table=True):
    """Where a tenant wants its audit log, in the order of the chain. The secret is sealed with the tenant's key.

    `cursor_seq`, `cursor_hash`: the last event that the receiver took. `claim`: of the sender that sends now; `due_at`: of
    the next attempt, or when that claim lapses.
    """

    __tablename__ = "audit_stream"

    id: str = Field(default_factory=lambda: new_id("ast"), primary_key=True)
    kind: StreamKind = Field(sa_type=cast(Any, text_enum(StreamKind)))
    url: str
    secret: bytes | None = Field(default=None, sa_type=LargeBinary)  # None once it is deleted
    state: StreamState = Field(default=StreamState.ACTIVE, sa_type=cast(Any, text_enum(StreamState)))
    pause_reason: StreamPause = Field(default=StreamPause.NONE, sa_type=cast(Any, text_enum(StreamPause)))
    paused_at: datetime | None = Field(default=None, sa_type=timestamptz())
    cursor_seq: int = Field(sa_type=BigInteger)
    cursor_hash: bytes = Field(sa_type=LargeBinary)
    sent_count: int = Field(default=0, sa_type=BigInteger)
    due_at: datetime | None = Field(default=None, sa_type=timestamptz())
    claim: str = ""
    is_test_due: bool = False
    failure_count: int = 0  # since the last delivery
    failing_since: datetime | None = Field(default=None, sa_type=timestamptz())
    last_attempt_at: datetime | None = Field(default=None, sa_type=timestamptz())
    last_delivered_at: datetime | None = Field(default=None, sa_type=timestamptz())
    last_status: int = 0  # of HTTP, 0 without an answer
    last_problem: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_by: str = ""
    deleted_at: datetime | None = Field(default=None, sa_type=timestamptz())
