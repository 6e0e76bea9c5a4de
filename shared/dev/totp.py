"""The current code of an account's authenticator. Development only."""

from shared.core import db
from shared.core.config import ConfigurationError, settings
from shared.identity import mfa, subjects
from shared.identity.realms import OPERATOR, USER


async def get_unused_code(email: str) -> str:
    """One that has not been used: codes work once, and the one after the current is accepted too."""
    if settings().is_production:
        raise ConfigurationError("dev totp does not run in production")
    for realm in (OPERATOR, USER):
        async with db.transaction(realm.db_role) as session:
            person = await subjects.get_by_email(session, realm, email)
            if person and (totp_code := await mfa.generate_next_code(session, realm, person.id)):
                return totp_code
    raise ConfigurationError(f"{email} has no second factor")
