"""SQL of the accounts at the provider."""

from collections.abc import Sequence

from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.billing.models import PLATFORM, ProviderAccount


async def get_account(session: AsyncSession, account_id: str) -> ProviderAccount | None:
    return await session.get(ProviderAccount, account_id)


async def get_account_by_token(session: AsyncSession, token_hash: str) -> ProviderAccount | None:
    statement = select(ProviderAccount).where(ProviderAccount.token_hash == token_hash)
    return (await session.exec(statement)).first()


async def lock_account(session: AsyncSession, account_id: str) -> ProviderAccount | None:
    return await session.get(
        ProviderAccount, account_id, with_for_update={"key_share": True}, populate_existing=True
    )


async def lock_accounts(session: AsyncSession) -> Sequence[ProviderAccount]:
    """Locks all accounts, so that only one transaction at a time adds or changes one."""
    order = (col(ProviderAccount.id) != PLATFORM, col(ProviderAccount.id))
    statement = select(ProviderAccount).order_by(*order).with_for_update(key_share=True)
    return (await session.exec(statement.execution_options(populate_existing=True))).all()


async def list_active_accounts(session: AsyncSession) -> Sequence[tuple[str, str]]:
    """(id, id at the provider) of accounts that are not paused."""
    statement = select(ProviderAccount.id, ProviderAccount.external_id).where(
        col(ProviderAccount.paused_at).is_(None)
    )
    return (await session.exec(statement.order_by(col(ProviderAccount.id)))).all()


async def add_signature_failures(session: AsyncSession, account_id: str, count: int) -> None:
    connection = await session.connection()
    await connection.execute(
        update(ProviderAccount)
        .where(col(ProviderAccount.id) == account_id)
        .values(
            signature_failures=ProviderAccount.signature_failures + count,
            signature_failed_at=func.clock_timestamp(),
        )
    )


async def save_external_id(session: AsyncSession, account_id: str, external_id: str) -> None:
    connection = await session.connection()
    await connection.execute(
        update(ProviderAccount)
        .where(col(ProviderAccount.id) == account_id)
        .where(col(ProviderAccount.external_id) == "")
        .values(external_id=external_id)
    )
