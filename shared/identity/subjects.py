"""Look up a person of either realm by id or address."""

from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.identity import email_addresses, repository
from shared.identity.realms import Realm


async def get(session: AsyncSession, realm: Realm, subject_id: str) -> Any | None:
    """A User or an Operator."""
    return await repository.get_person(session, realm, subject_id)


async def get_by_email(session: AsyncSession, realm: Realm, email: str) -> Any | None:
    return await repository.get_person_by_email(session, realm, email_addresses.normalise_for_lookup(email))
