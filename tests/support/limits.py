"""Set a limit of one organisation, as operators do."""

from datetime import timedelta

from shared.backoffice import tenant_access
from shared.backoffice.reasons import state_reason
from shared.core.db import now
from shared.metering import rollups
from shared.tenancy import entry
from tests.conftest import Cast


async def set_limit(cast: Cast, limit: str, amount: int | None, *, hard: bool = True) -> None:
    """Of Acme, for a day."""
    async with cast.olga.octx() as octx:
        reason = state_reason(octx, "Ticket 4471, as agreed", tenant_id=cast.acme)
        ends_at = now() + timedelta(days=1)
        await tenant_access.override_limit(octx, cast.acme, limit, amount, reason, ends_at=ends_at, hard=hard)


async def roll_up(tenant_id: str) -> None:
    """As the worker does."""
    async with entry.enter_job(tenant_id, rollups.TASK, "") as ctx:
        while await rollups.roll_up(ctx):
            pass
