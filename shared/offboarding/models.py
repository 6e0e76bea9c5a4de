"""The table of offboarding."""

from datetime import datetime

from sqlmodel import Field

from shared.core.db import TenantRow, now, timestamptz
from shared.core.ids import new_id


class TenantDeletion(TenantRow, table=True):
    """One deletion of the tenant: scheduled, cancelled or done. At most one isn't cancelled.

    A done one is the order to erase the tenant's data, until `erased_at`.
    """

    __tablename__ = "tenant_deletion"

    id: str = Field(default_factory=lambda: new_id("tdl"), primary_key=True)
    reason: str
    requested_by: str  # name of the person at that time
    by_operator: bool
    requested_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    delete_at: datetime = Field(sa_type=timestamptz())
    canceled_at: datetime | None = Field(default=None, sa_type=timestamptz())
    canceled_by: str = ""
    is_held: bool = False  # it was due, and a subscription is still charged
    deleted_at: datetime | None = Field(default=None, sa_type=timestamptz())
    erased_at: datetime | None = Field(default=None, sa_type=timestamptz())
