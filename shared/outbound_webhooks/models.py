"""Tables of outbound webhooks. The dispatcher's functions in migration 0031 work on them across tenants."""

from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy import BigInteger, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from shared.core.db import TenantRow, now, text_enum, timestamptz
from shared.core.ids import new_id
from shared.core.versions import Versioned


class EndpointState(StrEnum):
    ACTIVE = "active"
    PAUSED = "paused"  # its deliveries wait


class PauseReason(StrEnum):
    NONE = ""
    MEMBER = "member"
    FAILURES = "failures"  # nothing was taken for a day
    GONE = "gone"  # it answered 410


class LastResult(StrEnum):
    NONE = ""
    DELIVERED = "delivered"
    FAILED = "failed"


class DeliveryStatus(StrEnum):
    WAITING = "waiting"  # for an earlier one of the same object
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up


class WebhookEndpoint(TenantRow, Versioned, table=True):
    """Where a tenant wants its events. Secrets are sealed with the tenant's key.

    `turn_at`: when the dispatcher serves it next; None while it has nothing to send.
    """

    __tablename__ = "webhook_endpoint"

    id: str = Field(default_factory=lambda: new_id("whe"), primary_key=True)
    url: str
    description: str = ""
    event_types: list[str] = Field(sa_type=cast(Any, ARRAY(Text)))
    api_version: str  # of the bodies it was registered for; there is one so far
    state: EndpointState = Field(default=EndpointState.ACTIVE, sa_type=cast(Any, text_enum(EndpointState)))
    pause_reason: PauseReason = Field(default=PauseReason.NONE, sa_type=cast(Any, text_enum(PauseReason)))
    paused_at: datetime | None = Field(default=None, sa_type=timestamptz())
    secret: bytes | None = Field(default=None, sa_type=LargeBinary)  # None once it is deleted
    previous_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    previous_secret_ends_at: datetime | None = Field(default=None, sa_type=timestamptz())
    # After two rotations within one overlap, the one that signed before both.
    older_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    older_secret_ends_at: datetime | None = Field(default=None, sa_type=timestamptz())
    turn_at: datetime | None = Field(default=None, sa_type=timestamptz())
    failure_count: int = 0  # since the last delivery
    response_ms: int = 0  # how long its answers take lately
    failing_since: datetime | None = Field(default=None, sa_type=timestamptz())
    last_attempt_at: datetime | None = Field(default=None, sa_type=timestamptz())
    last_result: LastResult = Field(default=LastResult.NONE, sa_type=cast(Any, text_enum(LastResult)))
    last_status: int = 0  # of HTTP, 0 without an answer
    last_problem: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_by: str = ""
    deleted_at: datetime | None = Field(default=None, sa_type=timestamptz())


class WebhookDelivery(TenantRow, table=True):
    """One event on its way to one endpoint. Of those with the same `ordering_key`, one is pending and the others wait.

    `claim`: of the dispatcher that sends it now. `due_at`: of the next attempt, or when that claim lapses.
    """

    __tablename__ = "webhook_delivery"

    id: str = Field(default_factory=lambda: new_id("whd"), primary_key=True)
    endpoint_id: str
    event_id: str
    event_type: str
    seq: int = Field(sa_type=BigInteger)
    ordering_key: str = ""
    is_test: bool = False
    status: DeliveryStatus = Field(sa_type=cast(Any, text_enum(DeliveryStatus)))
    attempts: int = 0
    due_at: datetime = Field(sa_type=timestamptz())
    claim: str = ""
    created_at: datetime = Field(sa_type=timestamptz())
    done_at: datetime | None = Field(default=None, sa_type=timestamptz())
    last_status: int = 0
    last_problem: str = ""


class WebhookAttempt(TenantRow, table=True):
    """One request and what came back. `number` counts the attempts since the delivery was last put into the queue."""

    __tablename__ = "webhook_attempt"

    id: str = Field(default_factory=lambda: new_id("wha"), primary_key=True)
    delivery_id: str
    number: int
    at: datetime = Field(sa_type=timestamptz())
    duration_ms: int
    request_headers: dict[str, str] = Field(sa_type=JSONB)
    response_status: int = 0
    response_body: str = ""
    problem: str = ""
