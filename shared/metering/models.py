"""Tables of metering. `usage_event` is partitioned by month."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import BigInteger, Numeric, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field

from shared.core.db import TenantRow, now, text_enum, timestamptz
from shared.core.ids import new_id


class WindowSize(StrEnum):
    HOUR = "hour"
    MONTH = "month"  # of the calendar, UTC; for meters whose hours don't add up


class ChangeCause(StrEnum):
    LATE_EVENTS = "late_events"
    RECOMPUTED = "recomputed"  # by an operator, without new events
    CORRECTED = "corrected"  # by a correction that was closed or reverted


class CorrectionState(StrEnum):
    OPEN = "open"  # takes items, and counts nothing
    CLOSING = "closing"  # a job counts it
    CLOSED = "closed"
    REVERTING = "reverting"
    REVERTED = "reverted"  # counts nothing any more, or was given up before it was closed


class CorrectionKind(StrEnum):
    ADD = "add"  # an event that is missing, however late
    REPLACE = "replace"  # the quantity or subject of an event
    VOID = "void"  # an event that should not count


class UsageKey(TenantRow, table=True):
    """An idempotency key that has been used. It outlives the event's partition."""

    __tablename__ = "usage_key"

    id: str = Field(primary_key=True)  # "api_calls:key-1"
    occurred_at: datetime = Field(sa_type=timestamptz())  # of the event


class UsageEvent(TenantRow, table=True):
    """One event. Its id is that of its key, which makes it unique; the table's own key has the time of its partition."""

    __tablename__ = "usage_event"

    id: str = Field(primary_key=True)
    meter: str
    occurred_at: datetime = Field(sa_type=timestamptz())
    recorded_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    quantity: Decimal = Field(sa_type=Numeric)
    subject: str = ""  # what a unique count counts
    dimensions: dict[str, str] = Field(default_factory=dict, sa_type=JSONB)
    batch_id: str  # events that were recorded together
    recorded_by: str  # id of the actor
    voided_by: str | None = None  # the correction that voided it; it stays as it was, and doesn't count

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.id[len(self.meter) + 1 :]


class UsageMark(TenantRow, table=True):
    """An hour with events that aren't in the aggregates yet. Each batch adds its own, so none waits for another."""

    __tablename__ = "usage_mark"

    id: str = Field(primary_key=True)
    meter: str
    hour: datetime = Field(sa_type=timestamptz())
    batch_id: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class UsageWindow(TenantRow, table=True):
    """The aggregate of one meter over one hour or month.

    `checksum`: over its events, in any order. `closed_at`: from then on a change leaves a `UsageChange`. `settled`: what
    of it has been emitted, or isn't for sale.
    """

    __tablename__ = "usage_window"

    id: str = Field(primary_key=True)  # "api_calls:hour:2026-07-01T00"
    meter: str
    size: WindowSize = Field(sa_type=text_enum(WindowSize))
    starts_at: datetime = Field(sa_type=timestamptz())
    ends_at: datetime = Field(sa_type=timestamptz())
    quantity: Decimal = Field(sa_type=Numeric)
    event_count: int = Field(sa_type=BigInteger)
    checksum: int = Field(sa_type=BigInteger)
    revision: int = 1
    computed_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    closed_at: datetime | None = Field(default=None, sa_type=timestamptz())
    settled: Decimal = Field(default=Decimal(0), sa_type=Numeric)
    is_settled: bool = False  # nothing was gained or lost since


class UsageChange(TenantRow, table=True):
    """A closed window whose aggregate changed: before, after and why."""

    __tablename__ = "usage_change"

    id: str = Field(default_factory=lambda: new_id("uch"), primary_key=True)
    window_id: str
    meter: str
    size: WindowSize = Field(sa_type=text_enum(WindowSize))
    starts_at: datetime = Field(sa_type=timestamptz())
    revision: int  # of the window, after the change
    cause: ChangeCause = Field(sa_type=text_enum(ChangeCause))
    quantity_before: Decimal = Field(sa_type=Numeric)
    quantity_after: Decimal = Field(sa_type=Numeric)
    count_before: int = Field(sa_type=BigInteger)
    count_after: int = Field(sa_type=BigInteger)
    event_count: int = Field(sa_type=BigInteger)  # late events of this change
    event_ids: list[str] = Field(sa_type=ARRAY(Text))  # the first of them
    correction_id: str | None = None  # where a correction is the cause
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class UsageEmission(TenantRow, table=True):
    """What left for the sinks: whole units of sale. The remainder is carried to the next one of its meter."""

    __tablename__ = "usage_emission"

    id: str = Field(primary_key=True)  # window and revision: the identifier at the sink
    window_id: str
    meter: str
    starts_at: datetime = Field(sa_type=timestamptz())  # of the window
    seq: int = Field(sa_type=BigInteger)  # of its meter, without gaps
    quantity: Decimal = Field(sa_type=Numeric)  # what the window had gained
    carried_in: Decimal = Field(sa_type=Numeric)
    units: int = Field(sa_type=BigInteger)
    carried_out: Decimal = Field(sa_type=Numeric)
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class UsageCounter(TenantRow, table=True):
    """How much of a limit was used in one period. What is reserved is on its way, or lapses."""

    __tablename__ = "usage_counter"

    id: str = Field(primary_key=True)  # "api_calls:2026-07"
    meter: str
    starts_at: datetime = Field(sa_type=timestamptz())
    ends_at: datetime = Field(sa_type=timestamptz())
    used: Decimal = Field(default=Decimal(0), sa_type=Numeric)
    reserved: Decimal = Field(default=Decimal(0), sa_type=Numeric)
    warned_percent: int = 0  # of `warned_amount`, that members were told about
    warned_amount: Decimal | None = Field(default=None, sa_type=Numeric)
    refused_amount: Decimal | None = Field(
        default=None, sa_type=Numeric
    )  # the limit that has refused something
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class UsageReservation(TenantRow, table=True):
    """A part of a counter that one process may draw until it expires."""

    __tablename__ = "usage_reservation"

    id: str = Field(primary_key=True)
    counter_id: str
    quantity: Decimal = Field(sa_type=Numeric)  # what isn't drawn, or is and waits to be added
    expires_at: datetime = Field(sa_type=timestamptz())


class UsageDraw(TenantRow, table=True):
    """Use of a counter, in the transaction of its events. A job adds it to the counter."""

    __tablename__ = "usage_draw"

    id: str = Field(primary_key=True)
    counter_id: str
    meter: str  # of the counter, which may not exist yet, as are the times
    starts_at: datetime = Field(sa_type=timestamptz())
    ends_at: datetime = Field(sa_type=timestamptz())
    reservation_id: str = ""  # "" where nothing was reserved
    quantity: Decimal = Field(sa_type=Numeric)


class UsageCorrection(TenantRow, table=True):
    """A batch of corrections: opened, filled, previewed, and closed or given up. A closed one can be reverted.

    `problem`: why it could not be closed or reverted; "" without one.
    """

    __tablename__ = "usage_correction"

    id: str = Field(default_factory=lambda: new_id("ucr"), primary_key=True)
    state: CorrectionState = Field(default=CorrectionState.OPEN, sa_type=text_enum(CorrectionState))
    note: str  # why the usage was wrong
    problem: str = ""
    opened_by: str  # id of the actor
    opened_by_name: str
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    closed_at: datetime | None = Field(default=None, sa_type=timestamptz())
    reverted_at: datetime | None = Field(default=None, sa_type=timestamptz())


class UsageCorrectionItem(TenantRow, table=True):
    """One event that a correction adds, replaces or voids. The original event is kept."""

    __tablename__ = "usage_correction_item"

    id: str = Field(primary_key=True)  # correction and event: each event once
    correction_id: str
    kind: CorrectionKind = Field(sa_type=text_enum(CorrectionKind))
    meter: str
    event_id: str  # of what is voided, or added
    new_event_id: str | None = None  # of what counts instead; None for a void
    occurred_at: datetime = Field(sa_type=timestamptz())
    quantity: Decimal | None = Field(default=None, sa_type=Numeric)
    subject: str = ""
    dimensions: dict[str, str] = Field(default_factory=dict, sa_type=JSONB)
    created_at: datetime = Field(default_factory=now, sa_type=timestamptz())


class UsageCheck(TenantRow, table=True):
    """The latest comparison of a tenant's aggregates with their events: one row of each tenant."""

    __tablename__ = "usage_check"

    id: str = Field(default="latest", primary_key=True)
    asked_at: datetime = Field(default_factory=now, sa_type=timestamptz())
    checked_at: datetime | None = Field(default=None, sa_type=timestamptz())  # None before the first one
    hour_count: int = 0  # that were compared
    differing_count: int = 0
    differing_hours: list[str] = Field(
        default_factory=list, sa_type=ARRAY(Text)
    )  # the first of them, as "usage_events 2026-07-01T00"
