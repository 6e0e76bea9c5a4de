"""Evidence of decisions: records of single ones, and counts by hour.

A flood of refusals is one count that grows in number and not in size, and a few records.
"""

from datetime import datetime

from sqlmodel import Field

from shared.core.db import TenantRow, timestamptz
from shared.core.ids import new_id

RECORD_PREFIX = "dcn"  # of the ids of records


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


class DecisionRecord(TenantRow, table=True):
    """One refusal, or one action that a transaction was allowed and that it wrote for. Rows are only added.

    `holder_id`: the person or service account whose rights were asked, "" for jobs, operators and external identities.
    `layer`: that decided, "" for what is simply allowed. `plan_version`, `billing_status`: at that time.
    """

    __tablename__ = "decision_record"

    id: str = Field(default_factory=lambda: new_id(RECORD_PREFIX), primary_key=True)
    at: datetime = Field(sa_type=timestamptz())
    surface: str  # core.context.Surface
    actor_type: str  # core.context.ActorType
    actor_id: str
    holder_id: str
    action: str
    allowed: bool
    layer: str
    reason: str
    plan_version: str
    billing_status: str
    request_id: str
