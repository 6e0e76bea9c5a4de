"""Tables of the entitlements: the catalog, shared by all tenants, and each tenant's assignments over time.

A `TimedRow` is in effect from `starts_at` to before `ends_at`, unless it was closed earlier. Where only one row can
apply, the one that started last does, and of two that started together the one written later. Nothing is overwritten,
so past times can be evaluated too. Database triggers notify every process of a change (`tenant.rights_version`,
`entitlement_epoch`).
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import ARRAY, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.core.db import TenantRow, now, timestamptz
from shared.core.ids import new_id
from shared.core.versions import Versioned

SUBSCRIPTION_SOURCE = "subscription"  # source of rows from a subscription; "" for manual ones


class Plan(SQLModel, table=True):
    """A plan or an add-on: key and names. Its versions have the contents."""

    __tablename__ = "plan"

    id: str = Field(default_factory=lambda: new_id("pln"), primary_key=True)
    key: str
    name: str
    sentence: str
    kind: str = "plan"  # or "addon"
    position: int = 0  # from the smallest plan to the largest
    for_tenant: str | None = None  # id; None for all tenants
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_by: str
    retired_at: datetime | None = Field(
        default=None, sa_type=timestamptz()
    )  # no longer offered; tenants that have it keep it


class PlanVersion(SQLModel, table=True):
    """A draft changes with its `revision`; a published one never does. `limits`: name to {"amount", "hard"}."""

    __tablename__ = "plan_version"

    id: str = Field(default_factory=lambda: new_id("plv"), primary_key=True)
    plan_id: str = Field(foreign_key="plan.id")
    for_tenant: str | None = None  # as its plan's
    number: int
    status: str = "draft"  # or "published"
    revision: int = 1
    trial_days: int = 0
    features: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    limits: dict[str, Any] = Field(default_factory=dict, sa_type=JSONB)
    flags: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    moves: bool = False  # from `effective_at` on it also replaces earlier versions of current tenants
    effective_at: datetime | None = Field(default=None, sa_type=timestamptz())
    published_at: datetime | None = Field(default=None, sa_type=timestamptz())
    published_by: str = ""
    reason: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_by: str
    changed_at: datetime = Field(
        default_factory=now, sa_type=timestamptz()
    )  # of the draft, with each `revision`
    changed_by: str = ""


class FlagRow(Versioned, table=True):
    """`version`: of the removal date; the rules have versions of their own."""

    __tablename__ = "flag"

    id: str = Field(default_factory=lambda: new_id("flg"), primary_key=True)
    key: str
    title: str
    sentence: str
    owner: str
    cleanup_by: date
    required_feature: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_by: str
    retired_at: datetime | None = Field(default=None, sa_type=timestamptz())


class FlagVersion(SQLModel, table=True):
    """The rules of a flag from `created_at` until the next version. Append-only."""

    __tablename__ = "flag_version"

    id: str = Field(default_factory=lambda: new_id("flv"), primary_key=True)
    flag_id: str = Field(foreign_key="flag.id")
    number: int
    rules: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSONB)
    killed: bool = False
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    created_by: str
    reason: str


class TimedRow(TenantRow):
    """Columns of rows that are in effect for some time."""

    id: str = Field(primary_key=True)
    starts_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    ends_at: datetime | None = Field(default=None, sa_type=timestamptz())  # as planned at the start
    closed_at: datetime | None = Field(default=None, sa_type=timestamptz())  # when it was ended early
    closed_by: str = ""
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())  # when it became known
    by_name: str
    reason: str


class TenantPlan(TimedRow, table=True):
    __tablename__ = "tenant_plan"

    id: str = Field(default_factory=lambda: new_id("tpl"), primary_key=True)
    plan_version_id: str = Field(foreign_key="plan_version.id")
    trial_ends_at: datetime | None = Field(default=None, sa_type=timestamptz())  # None: no trial
    seats: int | None = None  # purchased seats; the plan's limit is the maximum
    source: str = ""  # "" for manual ones, or SUBSCRIPTION_SOURCE


class TenantAddon(TimedRow, table=True):
    __tablename__ = "tenant_addon"

    id: str = Field(default_factory=lambda: new_id("tad"), primary_key=True)
    plan_version_id: str = Field(foreign_key="plan_version.id")
    quantity: int = 1
    source: str = ""


class TenantOverride(TimedRow, table=True):
    """`value`: true or false for a feature; {"amount", "hard"} for a limit."""

    __tablename__ = "tenant_override"

    id: str = Field(default_factory=lambda: new_id("ovr"), primary_key=True)
    target: str  # "feature" or "limit"
    name: str
    value: Any = Field(sa_type=JSONB)


class TenantBilling(TimedRow, table=True):
    """`status`: active, grace, read_only or none.

    Known future statuses (grace, then read-only) are stored in advance.
    """

    __tablename__ = "tenant_billing"

    id: str = Field(default_factory=lambda: new_id("tbl"), primary_key=True)
    status: str
    source: str = ""


class TenantFlag(TimedRow, table=True):
    """A flag override of this tenant: seeded by its plan, or set by an operator."""

    __tablename__ = "tenant_flag"

    id: str = Field(default_factory=lambda: new_id("tfl"), primary_key=True)
    flag: str
    enabled: bool = True


class TenantTrait(TimedRow, table=True):
    """A property of a tenant for flag rules: beta, cohort, industry, internal, region."""

    __tablename__ = "tenant_trait"

    id: str = Field(default_factory=lambda: new_id("ttr"), primary_key=True)
    name: str
    value: str


class TenantStateChange(TenantRow, table=True):
    """Kept by a trigger on `tenant`."""

    __tablename__ = "tenant_state_change"

    id: str = Field(primary_key=True)
    state: str
    reason: str = ""
    at: datetime = Field(sa_type=timestamptz())


class MembershipChange(TenantRow, table=True):
    """Kept by a trigger on `membership`."""

    __tablename__ = "membership_change"

    id: str = Field(primary_key=True)
    user_id: str
    role: str
    state: str
    at: datetime = Field(sa_type=timestamptz())


class RoleChange(TenantRow, table=True):
    """Kept by a trigger on `role`. The permissions of built-in roles are in the code, not here."""

    __tablename__ = "role_change"

    id: str = Field(primary_key=True)
    key: str
    name: str
    permissions: list[str] = Field(sa_type=ARRAY(Text))
    deleted: bool
    at: datetime = Field(sa_type=timestamptz())
