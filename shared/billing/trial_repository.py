"""SQL of trials: which persons have used theirs, and which ones operators granted."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import TrialGrant
from shared.core import rows
from shared.core.context import Ctx
from shared.identity.models import PlatformKey

KEY_ID = "trial"
FIND_REFUSAL = text("select find_trial_refusal(:persons, :card, :max_trials, :with_owners)")
CLAIM = text("select claim_trial(:persons, :card, :max_trials, :reserved_for, :is_granted)")


async def find_refusal(
    ctx: Ctx, persons: Sequence[str], max_trials: int, *, with_owners: bool = False
) -> str:
    """ "person" where one of them has had that many trials in other tenants, "" else. `with_owners`: of this tenant too."""
    connection = await ctx.session.connection()
    values = {"persons": list(persons), "card": "", "max_trials": max_trials, "with_owners": with_owners}
    return str((await connection.execute(FIND_REFUSAL, values)).scalar_one())


async def claim(
    ctx: Ctx,
    persons: Sequence[str],
    card_hash: str,
    *,
    max_trials: int,
    reserved_for: timedelta | None = None,
    is_granted: bool = False,
) -> str:
    """Keeps that they have a trial in this tenant, or why it is refused: "person" or "card".

    `reserved_for`: until a trial begins; without it, it has begun. Concurrent calls of the same persons and card wait.
    """
    connection = await ctx.session.connection()
    values = {
        "persons": list(persons),
        "card": card_hash,
        "max_trials": max_trials,
        "reserved_for": reserved_for,
        "is_granted": is_granted,
    }
    return str((await connection.execute(CLAIM, values)).scalar_one())


async def delete_old_claims(session: AsyncSession) -> None:
    """Those of trials that began three years ago, and reservations that no trial followed."""
    connection = await session.connection()
    await connection.execute(text("select delete_old_trial_claims()"))


async def find_open_grant(ctx: Ctx, subscription_id: str = "") -> TrialGrant | None:
    """The oldest exception that no subscription has used, or that this one has."""
    statement = (
        select(TrialGrant)
        .where(TrialGrant.tenant_id == ctx.tenant_id)
        .where(col(TrialGrant.subscription_id).in_({"", subscription_id}))
        .order_by(col(TrialGrant.subscription_id).desc(), col(TrialGrant.created_at), col(TrialGrant.id))
    )
    return await rows.one(ctx, statement)


async def get_card_key(session: AsyncSession) -> PlatformKey | None:
    return await session.get(PlatformKey, KEY_ID, populate_existing=True)


async def add_card_key(session: AsyncSession, kek_id: int, wrapped: bytes) -> None:
    """Keeps the key of a concurrent request that was first."""
    statement = insert(PlatformKey).values(id=KEY_ID, kek_id=kek_id, wrapped=wrapped)
    await session.exec(statement.on_conflict_do_nothing())
