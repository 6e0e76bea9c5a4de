"""The code that somebody's authenticator would show. Development only."""

import time

import pyotp

from shared.core import db
from shared.core.config import Misconfigured, settings
from shared.identity import mfa, people
from shared.identity.realms import OPERATOR, USER

STEP = 30  # seconds


async def code(email: str) -> str:
    """One that has not been used: codes work once, and the one after the current is accepted too."""
    if settings().production:
        raise Misconfigured("dev totp does not run in production")
    for realm in (OPERATOR, USER):
        async with db.transaction(realm.db_role) as session:
            person = await people.get_by_email(session, realm, email)
            row = person and await repository.get_totp(session, realm, person.id)
            if person and row:
                step = max(int(time.time()) // STEP, row.last_step + 1)
                return pyotp.TOTP(await mfa.seed_of(session, realm, person.id)).at(step * STEP)
    raise Misconfigured(f"{email} has no second factor")
