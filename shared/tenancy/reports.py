"""How a tenant works: its people week by week, who changed how much, and what was refused.

From the histories, the trail and the counted decisions; nothing is kept for it. What was refused is counted a few
seconds late and may be a little low, never too high (`access.evidence`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.access import actions, policy
from shared.access.evidence import ERROR
from shared.access.reasons import ALLOWING
from shared.core.ctx import Ctx
from shared.core.db import now
from shared.tenancy import reports_repository as repository

WEEKS = 12
MOST = 10  # lines of a list


@dataclass(frozen=True, slots=True)
class Week:
    starts_at: datetime  # Monday, UTC
    people: int  # active at its end, or now
    open_invitations: int  # at its end, or now
    invited: int
    joined: int
    left: int

    @property
    def seats(self) -> int:
        return self.people + self.open_invitations


@dataclass(frozen=True, slots=True)
class Changer:
    type: str  # of the actor
    id: str
    name: str
    changes: int
    kinds: int  # of change
    at: datetime  # the last one


@dataclass(frozen=True, slots=True)
class Refusals:
    reason: str
    action: str  # name
    count: int
    people: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Report:
    since: datetime
    weeks: Sequence[Week]  # oldest first; the last one still runs
    changers: Sequence[Changer]
    refusals: Sequence[Refusals]


async def read(ctx: Ctx) -> Report:
    policy.require(ctx, actions.REPORT_READ)
    at = now()
    monday = (at - timedelta(days=at.weekday())).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [monday - timedelta(weeks=back) for back in reversed(range(WEEKS))]
    since = starts[0]
    return Report(
        since,
        [Week(*row) for row in await repository.list_weeks(ctx, starts, at)],
        [Changer(*row) for row in await repository.list_changers(ctx, since, MOST)],
        [Refusals(*row) for row in await repository.list_refusals(ctx, since, [*ALLOWING, ERROR], MOST)],
    )
