"""The code that somebody's authenticator would show. Development only."""

from shared.core import db
from shared.core.config import Misconfigured, settings
from shared.identity import mfa, people
from shared.identity.realms import OPERATOR, USER


async def code(email: str) -> str:
    """One that has not been used: codes work once, and the one after the current is accepted too."""
    if settings().production:
        raise Misconfigured("dev totp does not run in production")
    for realm in (OPERATOR, USER):
        async with db.transaction(realm.db_role) as session:
            person = await people.get_by_email(session, realm, email)
            if person and (found := await mfa.next_code(session, realm, person.id)):
                return found
    raise Misconfigured(f"{email} has no second factor")
