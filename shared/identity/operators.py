"""The rows of operators: found, listed and locked. Rules and permissions are in `backoffice.operators`."""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access.roles import OWNER
from shared.identity import email_addresses, mfa, repository, sessions
from shared.identity.models import Operator
from shared.identity.realms import OPERATOR


async def list_all(session: AsyncSession) -> Sequence[Operator]:
    return await repository.list_operators(session)


async def find_by_email(session: AsyncSession, email: str) -> Operator | None:
    operator: Operator | None = await repository.get_person_by_email(
        session, OPERATOR, email_addresses.normalise_for_lookup(email)
    )
    return operator


async def lock_with_owners(session: AsyncSession, *operator_ids: str) -> dict[str, Operator]:
    """These operators and all owners by id, locked until the transaction ends."""
    return await repository.lock_operators(session, OWNER, *operator_ids)


async def save_password(session: AsyncSession, operator_id: str, password_hash: str) -> None:
    await repository.set_password(session, OPERATOR, operator_id, password_hash)


async def reset_second_factor(session: AsyncSession, operator_id: str) -> None:
    """The next sign-in asks to set up a new one."""
    await mfa.reset(session, OPERATOR, operator_id)


async def sign_out(session: AsyncSession, operator_id: str) -> None:
    """End all sessions and unfinished sign-ins."""
    await sessions.end_all(session, OPERATOR, operator_id)
    await mfa.end_challenges(session, OPERATOR, operator_id)
