"""Evidence of decisions: counted by hour, so that a flood of refusals is one row that grows in number and not in size."""

from datetime import datetime

from sqlmodel import Field

from shared.core.db import TenantRow, timestamptz
from shared.core.ids import new_id


class DecisionCount(TenantRow, table=True):
    """`request_id` and `at` are of the last one. Reason "error": a bug of ours, with "" for the action."""

    __tablename__ = "decision_count"

    id: str = Field(default_factory=lambda: new_id("dec"), primary_key=True)
    hour: datetime = Field(sa_type=timestamptz())
    actor_id: str
    action: str
    reason: str
    plan: str
    count: int
    at: datetime = Field(sa_type=timestamptz())
    request_id: str
