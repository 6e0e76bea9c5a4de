"""From address and password to a session, or to a challenge for the second factor. Both realms.

The password is checked outside of a transaction: hashing takes long, connections are few.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db
from shared.core.errors import Refused
from shared.identity import email_addresses, mfa, passwords, repository, sessions
from shared.identity.realms import Realm

PASSWORD, PASSWORD_AND_TOTP = "password", "password+totp"


@dataclass(frozen=True, slots=True)
class Browser:
    """Where a sign-in comes from. `session_hash`: of the session this browser had before."""

    address: str = ""
    agent: str = ""
    session_hash: str = ""


@dataclass(frozen=True, slots=True)
class SignInResult:
    """Exactly one of the two is set."""

    token: str = ""  # of a session
    challenge: str = ""  # still to be answered with a code


@dataclass(frozen=True, slots=True)
class CheckedPassword:
    subject_id: str
    changed_at: datetime  # of the password that was right


async def check_password(realm: Realm, email: str, password: str) -> CheckedPassword | None:
    """The person, None for a wrong password as for an unknown or disabled account, in the same time."""
    async with db.transaction(realm.db_role) as session:
        person = await repository.get_person_by_email(
            session, realm, email_addresses.normalise_for_lookup(email)
        )
        credential = await repository.get_credential(session, realm, person.id if person else "nobody")
    enabled = credential is not None and person is not None and person.disabled_at is None
    password_hash: str | None = credential.password_hash if credential is not None and enabled else None
    if not await passwords.verify_password(password_hash, password) or person is None or credential is None:
        return None
    if password_hash is not None and passwords.is_outdated(password_hash):
        new_hash = await passwords.hash_password(password)
        async with db.transaction(realm.db_role) as session:
            await repository.replace_password_hash(session, realm, person.id, password_hash, new_hash)
    return CheckedPassword(person.id, credential.changed_at)


async def open_session(
    session: AsyncSession,
    realm: Realm,
    subject_id: str,
    browser: Browser,
    checked_password: CheckedPassword | None = None,
) -> SignInResult:
    """After the right password, or another proof. With a factor on, or one required: a challenge, no session yet.

    Raises Refused when the password that was checked is not the password any more.
    """
    await repository.lock_person_shared(session, realm, subject_id)
    if checked_password is not None:
        credential = await repository.get_credential(session, realm, subject_id)
        if credential is None or credential.changed_at != checked_password.changed_at:
            raise Refused(
                "Your password was changed a moment ago.",
                "Sign in with the new one.",
                reason="password_changed",
            )
    if realm.factor_required or await mfa.is_enabled(session, realm, subject_id):
        return SignInResult(challenge=await mfa.start_challenge(session, realm, subject_id))
    return SignInResult(token=await start_session(session, realm, subject_id, PASSWORD, browser))


async def start_session(
    session: AsyncSession, realm: Realm, subject_id: str, factors: str, browser: Browser
) -> str:
    return await sessions.start(
        session, realm, subject_id, factors, browser.address, browser.agent, browser.session_hash
    )
