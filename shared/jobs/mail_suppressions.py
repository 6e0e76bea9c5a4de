"""Addresses that get no more mail: what the app knows of one person's, and what ends it."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.jobs import mail_suppression_repository


async def find_problem(session: AsyncSession, user_id: str) -> str:
    """Why this person's address gets no more mail (models.SuppressionCause), "" for one that does."""
    return await mail_suppression_repository.find_mail_problem(session, user_id)


async def end(session: AsyncSession, user_id: str) -> None:
    """Send to this person again: a link that was mailed has proven the address."""
    await mail_suppression_repository.end_mail_suppression(session, user_id)
