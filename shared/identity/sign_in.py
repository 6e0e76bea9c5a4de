"""From address and password to a session, or to a challenge for the second factor. Both realms.

The password is checked outside of a transaction: hashing takes long, connections are few.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import db
from shared.core.errors import Refused
from shared.identity import emails, mfa, passwords, repository, sessions
from shared.identity.realms import Realm

PASSWORD, BOTH = "password", "password+totp"


@dataclass(frozen=True, slots=True)
class Browser:
    """Where a sign-in comes from. `session_hash`: of the session this browser had before."""

    address: str = ""
    agent: str = ""
    session_hash: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """Exactly one of the two is set."""

    token: str = ""  # of a session
    challenge: str = ""  # still to be answered with a code


@dataclass(frozen=True, slots=True)
class Checked:
    subject_id: str
    changed_at: datetime  # of the password that was right


async def check_password(realm: Realm, email: str, password: str) -> Checked | None:
    """The person, None for a wrong password as for an unknown or disabled account, in the same time."""
    async with db.transaction(realm.db_role) as session:
        person = await repository.get_person_by_email(session, realm, emails.same(email))
        credential = await repository.get_credential(session, realm, person.id if person else "nobody")
    enabled = credential is not None and person is not None and person.disabled_at is None
    known: str | None = credential.password_hash if credential is not None and enabled else None
    if not await passwords.verify(known, password) or person is None or credential is None:
        return None
    if known is not None and passwords.is_outdated(known):
        better = await passwords.hash(password)
        async with db.transaction(realm.db_role) as session:
            await repository.upgrade_hash(session, realm, person.id, known, better)
    return Checked(person.id, credential.changed_at)


async def open_session(
    session: AsyncSession,
    realm: Realm,
    subject_id: str,
    browser: Browser,
    checked: Checked | None = None,
) -> Opened:
    """After the right password, or another proof. With a factor on, or one required: a challenge, no session yet.

    Raises Refused when the password that was checked is not the password any more.
    """
    await repository.hold_person(session, realm, subject_id)
    if checked is not None:
        credential = await repository.get_credential(session, realm, subject_id)
        if credential is None or credential.changed_at != checked.changed_at:
            raise Refused(
                "Your password was changed a moment ago.",
                "Sign in with the new one.",
                reason="password_changed",
            )
    if realm.factor_required or await mfa.is_on(session, realm, subject_id):
        return Opened(challenge=await mfa.challenge(session, realm, subject_id))
    return Opened(token=await start(session, realm, subject_id, PASSWORD, browser))


async def start(session: AsyncSession, realm: Realm, subject_id: str, factors: str, browser: Browser) -> str:
    return await sessions.start(
        session, realm, subject_id, factors, browser.address, browser.agent, browser.session_hash
    )
