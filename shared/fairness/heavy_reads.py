"""Quotas of reads that cost much, such as reports: how many at once, how long one statement may take, how many rows.

By the weight of the tenant, in each process. The database's own time limit of the login holds in any case
(`core.database_logins`); a quota is shorter, and its refusal says how long it was.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db, replica, tenant_limits, tenant_load
from shared.core.context import Ctx
from shared.core.errors import Invalid, Refused, TookTooLong
from shared.core.plurals import plural
from shared.core.replica import Reading
from shared.core.tenant_limits import Use
from shared.core.tenant_weights import get_weight
from shared.fairness import load_repository

AT_ONCE = 4  # of a tenant of weight 1
STATEMENT_MS = 1_250  # of weight 1
THROTTLED_MS = 500
MAX_ROWS = 1_000_000  # of one export of a tenant of weight 1
RETRY_AFTER_S = 5
T = TypeVar("T")
_running: Counter[str] = Counter()  # by tenant


async def read_report(
    ctx: Ctx, work: Callable[[Ctx], Awaitable[T]], *, on_primary: bool = False
) -> Reading[T]:
    """The result of `work` with a context that reads from the replica, where there is one (`core.replica`).

    `on_primary`: the result must have what was just written.
    Raises TenantOverRate, Refused (tenant_busy), TookTooLong where a statement was stopped, and as `work` does.
    """
    read = replica.read_primary if on_primary else replica.read
    if ctx.actor.type in ("job", "operator"):  # neither is of the tenant's making
        return await read(ctx.session, lambda session: work(ctx.with_session(session)))
    milliseconds = _get_statement_limit(ctx.tenant_id)

    async def work_in_time(session: AsyncSession) -> T:
        await load_repository.set_statement_timeout(session, milliseconds)
        return await work(ctx.with_session(session))

    with _hold_place(ctx.tenant_id):
        try:
            return await read(ctx.session, work_in_time)
        except Exception as problem:
            if not db.is_cancelled(problem):
                raise
            raise TookTooLong(
                f"This report took longer than {milliseconds / 1000:g} seconds and was stopped. Nothing was changed.",
                "Choose a shorter period, or export the data: an export may take longer.",
            ) from problem


def _get_statement_limit(tenant_id: str) -> int:
    """Milliseconds of one statement; on the primary, the limit holds to the end of the transaction."""
    is_throttled = tenant_limits.find_throttle(tenant_id) is not None
    return THROTTLED_MS if is_throttled else STATEMENT_MS * get_weight(tenant_id)


@contextmanager
def _hold_place(tenant_id: str) -> Iterator[None]:
    """Raises TenantOverRate, Refused (tenant_busy)."""
    tenant_limits.take(Use.HEAVY_READ, tenant_id)
    weight = get_weight(tenant_id)
    if _running[tenant_id] >= AT_ONCE * weight:
        tenant_load.count_refused(tenant_id)
        raise Refused(
            f"Your organisation is reading {plural(AT_ONCE * weight, 'report')} already.",
            f"Wait for one of them, then try again in {RETRY_AFTER_S} seconds.",
            reason="tenant_busy",
            retry_after=RETRY_AFTER_S,
        )
    _running[tenant_id] += 1
    try:
        yield
    finally:
        _running[tenant_id] -= 1
        if _running[tenant_id] <= 0:
            del _running[tenant_id]


def check_rows(tenant_id: str, count: int) -> None:
    """For an export that has read `count` rows. Raises Invalid above the quota."""
    allowed = MAX_ROWS * get_weight(tenant_id)
    if count > allowed:
        raise Invalid(
            f"The export has more than {allowed:,} rows and was stopped.",
            "Narrow it by a filter or a shorter period, and export it in parts.",
        )
