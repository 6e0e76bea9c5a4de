"""Activity report of a tenant: members per week, most active members, and blocked actions.

Computed from membership history, audit log and decision counts. Counts of blocked actions are a few seconds late and
may be slightly low, never too high (`access.decision_counts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.access.decision_counts import ERROR_REASON
from shared.access.refusal_codes import ALLOWED_REASONS
from shared.core.context import Ctx
from shared.core.db import now
from shared.core.replica import ReadSource
from shared.fairness import heavy_reads
from shared.tenancy import reports_repository as repository

WEEK_COUNT = 12
MAX_ROWS = 10  # rows of each list


@dataclass(frozen=True, slots=True)
class WeeklyActivity:
    starts_at: datetime  # Monday, UTC
    active_members: int  # at the end of the week, or now
    open_invitations: int  # at the end of the week, or now
    invited: int
    joined: int
    left: int

    @property
    def seats(self) -> int:
        return self.active_members + self.open_invitations


@dataclass(frozen=True, slots=True)
class ActorActivity:
    actor_type: str
    id: str
    name: str
    changes: int
    action_count: int  # different actions
    at: datetime  # of the last change


@dataclass(frozen=True, slots=True)
class RefusalTotal:
    reason: str
    action: str  # name
    count: int
    people: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityReport:
    since: datetime
    weeks: Sequence[WeeklyActivity]  # oldest first; the last one is the current week
    top_actors: Sequence[ActorActivity]
    refusals: Sequence[RefusalTotal]
    source: ReadSource


async def get_report(ctx: Ctx) -> ActivityReport:
    """Raises Refused, and as `heavy_reads.read_report`."""
    policy.require(ctx, actions.REPORT_READ)
    at = now()
    monday = (at - timedelta(days=at.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [monday - timedelta(weeks=back) for back in reversed(range(WEEK_COUNT))]
    since = starts[0]

    async def read_lists(
        reading_ctx: Ctx,
    ) -> tuple[list[WeeklyActivity], list[ActorActivity], list[RefusalTotal]]:
        reasons = [*ALLOWED_REASONS, ERROR_REASON]
        weeks = await repository.list_weeks(reading_ctx, starts, at)
        actors = await repository.list_top_actors(reading_ctx, since, MAX_ROWS)
        refusals = await repository.list_refusals(reading_ctx, since, reasons, MAX_ROWS)
        return (
            [WeeklyActivity(*row) for row in weeks],
            [ActorActivity(*row) for row in actors],
            [RefusalTotal(*row) for row in refusals],
        )

    reading = await heavy_reads.read_report(ctx, read_lists)
    weeks, top_actors, refusals = reading.value
    return ActivityReport(
        since=since, weeks=weeks, top_actors=top_actors, refusals=refusals, source=reading.source
    )
