"""What a tenant has at a time by its own rows, foreseen ones too, in the words of the published table."""

from datetime import datetime, timedelta

from shared.core.context import Ctx
from shared.entitlements import assignments, rights_cache
from shared.entitlements.entitlement_chains import has_fallen_back

TEST_GRACE = timedelta(seconds=2)  # nothing is asked about times that pass while a history is played


async def get_access_status(ctx: Ctx, at: datetime) -> str | None:
    """None: nothing was ever said about what is paid."""
    history, catalogue = await assignments.get_history(ctx)
    facts = history.snapshot_at(catalogue, at)
    rights = rights_cache.compute_rights(facts, catalogue, "active")
    if facts.billing is None:
        return None
    return "none" if has_fallen_back(facts) else rights.billing_status
