"""SQL of addresses that get no more mail. The app asks about one address at a time, and can't read the list."""

from sqlalchemy import func
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession


async def withhold_mail(
    session: AsyncSession, address: str, *, is_essential: bool, message_id: str, template: str
) -> str:
    """The cause for which this mail must not be sent, which is recorded; "" for a mail that may be sent."""
    statement = select(func.withhold_mail(address, is_essential, message_id, template))
    return str((await session.exec(statement)).one())


async def take_mail_event(
    session: AsyncSession, token_hash: str, *, address: str, cause: str, detail: str
) -> bool:
    """False for an event that was taken before. `cause`: "" for an event that suppresses nothing."""
    statement = select(func.take_mail_event(token_hash, address, cause, detail))
    return bool((await session.exec(statement)).one())


async def find_mail_problem(session: AsyncSession, user_id: str) -> str:
    """Why this person's address gets no more mail, "" for one that does."""
    return str((await session.exec(select(func.find_mail_problem(user_id)))).one())


async def end_mail_suppression(session: AsyncSession, user_id: str) -> None:
    await session.exec(select(func.end_mail_suppression(user_id)))
