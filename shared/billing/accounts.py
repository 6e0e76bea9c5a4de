"""The accounts at the provider through which we sell."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing import inbox_repository


async def pause(session: AsyncSession, account_id: str, reason: str) -> None:
    """Nothing is fetched through it until an operator says so. What comes is still stored."""
    await inbox_repository.pause(session, account_id, reason)
