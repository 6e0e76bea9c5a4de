"""Check a password and open a session or a challenge for the second factor, in both realms.

Passwords are checked outside of transactions, because hashing is slow and connections are few.
"""

from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db
from shared.core.errors import Refused
from shared.identity import email_addresses, mfa, passwords, repository, sessions
from shared.identity.realms import Realm

PASSWORD, PASSWORD_AND_TOTP = "password", "password+totp"


@dataclass(frozen=True, slots=True)
class Browser:
    """The browser of a sign-in. `session_hash`: its current session, which will be replaced."""

    address: str = ""
    agent: str = ""
    session_hash: str = ""
    device_token: str = field(default="", repr=False)  # of its cookie, when it has signed anybody in before


@dataclass(frozen=True, slots=True)
class SignInResult:
    """Exactly one of the two is set."""

    token: str = ""  # of a session
    challenge: str = ""  # token of a challenge that needs a code


@dataclass(frozen=True, slots=True)
class CheckedPassword:
    subject_id: str
    changed_at: datetime  # when this password was set


async def check_password(realm: Realm, email: str, password: str) -> CheckedPassword | None:
    """The person; None for a wrong password, an unknown or a disabled account, in the same time."""
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
    """Open a session after the first factor, or a challenge when a second factor is on or required.

    Raises Refused when the password was changed after it was checked.
    """
    await repository.lock_person_shared(session, realm, subject_id)
    if checked_password is not None:
        credential = await repository.get_credential(session, realm, subject_id)
        if credential is None or credential.changed_at != checked_password.changed_at:
            raise Refused(
                "Your password was just changed.",
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
