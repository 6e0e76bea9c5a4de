"""What a tenant has at a time by its own rows, foreseen ones too, in the words of the published table."""

from datetime import datetime, timedelta

from shared.core.ctx import Ctx
from shared.entitlements import current, holdings
from shared.entitlements.compiled import fallen

GRACE_OF_TESTS = timedelta(seconds=2)  # nothing is asked about times that pass while a history is played


async def access(ctx: Ctx, at: datetime) -> str | None:
    """None: nothing was ever said about what is paid."""
    history, catalogue = await holdings.history(ctx)
    facts = history.at(catalogue, at)
    rights = current.compiled_of(facts, catalogue, "active")
    if facts.billing is None:
        return None
    return "none" if fallen(facts) else rights.billing_status
