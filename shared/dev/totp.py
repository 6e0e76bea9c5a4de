"""The code that somebody's authenticator would show now. Development only."""

import pyotp

from shared.core import db
from shared.core.config import Misconfigured, settings
from shared.identity import mfa, repository
from shared.identity.realms import OPERATOR, USER


async def code(email: str) -> str:
    if settings().production:
        raise Misconfigured("dev totp does not run in production")
    for realm in (OPERATOR, USER):
        async with db.transaction(realm.db_role) as session:
            person = await repository.get_person_by_email(session, realm, email.lower())
            seed = person and await mfa.seed_of(session, realm, person.id)
            if seed:
                return pyotp.TOTP(seed).now()
    raise Misconfigured(f"{email} has no second factor")
