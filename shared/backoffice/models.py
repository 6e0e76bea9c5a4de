"""The table of requests for a second operator's approval."""

from datetime import datetime
from enum import StrEnum
from typing import Any, cast

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.core.db import now, text_enum, timestamptz
from shared.core.ids import new_id


class ApprovalState(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


class OperatorApproval(SQLModel, table=True):
    """What one operator wants to do and another one decides about. Only the decision is ever changed.

    `payload`: the arguments of the action. `shown`: what the requester was shown, as lines. `digest`: of both.
    """

    __tablename__ = "operator_approval"

    id: str = Field(default_factory=lambda: new_id("apr"), primary_key=True)
    action: str
    object_id: str  # of what is changed; one request about it waits at a time
    subject: str  # its name
    payload: dict[str, Any] = Field(sa_type=JSONB)
    shown: list[dict[str, str]] = Field(sa_type=JSONB)
    digest: str
    reason: str
    requested_by: str = Field(foreign_key="operator.id")
    requested_by_name: str
    requested_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    expires_at: datetime = Field(sa_type=timestamptz())
    state: ApprovalState = Field(default=ApprovalState.WAITING, sa_type=cast(Any, text_enum(ApprovalState)))
    decided_by: str | None = Field(default=None, foreign_key="operator.id")
    decided_by_name: str = ""
    decided_at: datetime | None = Field(default=None, sa_type=timestamptz())
    decision_reason: str = ""
