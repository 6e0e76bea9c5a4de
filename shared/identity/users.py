"""User accounts: passwords, verification and reset.

A user has one account for any number of tenants. Only the owner learns, by email, that an account exists. Work that
depends on it runs in jobs, so every browser gets the same response.
"""

import unicodedata
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core.db import now
from shared.core.displayed_text import clean_line
from shared.core.errors import Invalid
from shared.core.ids import new_id
from shared.core.rate_limits import RateLimit, enforce_rate_limit
from shared.identity import account_events, email_addresses, mfa, passwords, repository, sessions, tokens
from shared.identity.models import User
from shared.identity.realms import USER, Realm
from shared.jobs import mail_suppressions, queue

MAX_NAME_LENGTH = 80
SEND_VERIFICATION_TASK = "platform.send_verification"
LINK_MARKS = ("://", "www.")
LINK_PROBLEM = "Names can’t contain web addresses."


@dataclass(frozen=True, slots=True)
class EmailVerification:
    """The result of verifying an address."""

    user: User
    reset_token: str = ""  # set when another sign-up chose the password


async def get(session: AsyncSession, user_id: str) -> User | None:
    return await session.get(User, user_id)


async def get_by_email(session: AsyncSession, email: str) -> User | None:
    user: User | None = await repository.get_person_by_email(
        session, USER, email_addresses.normalise_for_lookup(email)
    )
    return user


async def lock_by_email(session: AsyncSession, email: str) -> User | None:
    """Lock the address until the transaction ends, whether or not a user has it."""
    return await repository.lock_user_by_email(session, email_addresses.normalise_for_lookup(email))


def clean_name(text: str) -> str:
    """The normalised name. Raises Invalid with `fields["name"]`."""
    name = clean_line(
        text, noun="name", missing="Enter your name.", max_length=MAX_NAME_LENGTH, fields=("name",)
    )
    if looks_like_link(name):
        raise Invalid(LINK_PROBLEM, "Correct it and try again.", fields={"name": LINK_PROBLEM})
    return name


def looks_like_link(text: str) -> bool:
    """True for text that would be a link in a mail or a document: a mail of ours must not advertise it."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return any(mark in folded for mark in LINK_MARKS)


async def require_strong_password(password: str, *words: str) -> None:
    """Raises Invalid with `fields["password"]`. `words`: name, address and organisation of the person."""
    if problems := await passwords.find_problems(password, words):
        raise Invalid(problems[0], "Choose another password.", fields={"password": problems[0]})


async def create(
    session: AsyncSession,
    email: str,
    name: str,
    password_hash: str,
    *,
    verified: bool = False,
    sign_up_id: str = "",
) -> User:
    """Create a user. `verified`: they used a link sent to this address. Otherwise `sign_up_id` chose the password.

    Raises Invalid.
    """
    verified_at = now() if verified else None
    user = User(
        email=email_addresses.parse_address(email),
        name=clean_name(name),
        email_verified_at=verified_at,
        sign_up_id=sign_up_id,
    )
    session.add(user)
    await session.flush()
    await repository.set_password(session, USER, user.id, password_hash)
    return user


async def add_unverified(session: AsyncSession, email: str, name: str) -> User:
    """The user of this address, added without a password where there is none. For operators, who can't write users.

    Whoever opens the link of the verification chooses the password: no browser has the sign-up that is noted here.
    """
    await repository.add_unverified_user(session, new_id("usr"), email, name=name, sign_up_id=new_id("sup"))
    user = await get_by_email(session, email)
    assert user is not None  # it was there, or is now
    return user


async def replace_unverified_user(
    session: AsyncSession, user: User, name: str, password_hash: str, sign_up_id: str
) -> None:
    """Replace an unverified user by a later sign-up. Ends the sessions and factors of the earlier one."""
    user.name, user.sign_up_id = clean_name(name), sign_up_id
    session.add(user)
    await repository.set_password(session, USER, user.id, password_hash)
    await mfa.reset(session, USER, user.id)
    await _sign_out_everywhere(session, USER, user.id)


async def rename(session: AsyncSession, realm: Realm, subject_id: str, name: str) -> tuple[str, str]:
    """Rename and return the old and the new name. Raises Invalid."""
    person = await repository.get_person(session, realm, subject_id)
    if person is None:
        return "", ""
    previous_name, person.name = person.name, clean_name(name)
    session.add(person)
    return previous_name, person.name


async def mark_verified(session: AsyncSession, user_id: str) -> User:
    """Mark a signed-in user as verified. For a link without a session use `verify_email`."""
    user = await repository.lock_user(session, user_id)
    assert user is not None
    user.email_verified_at, user.sign_up_id = user.email_verified_at or now(), ""
    session.add(user)
    return user


async def verify_email(session: AsyncSession, link: str, sign_up_id: str) -> EmailVerification:
    """Use a link to verify an address. Raises Invalid for an unusable link.

    The link proves only the mailbox, because anyone can sign up with an address. `sign_up_id` comes from this browser.
    If another sign-up chose the password, password and factors are deleted, and the result has a `reset_token`.
    """
    # Lock the person before the token, in the same order as a repeated sign-up, to prevent deadlocks.
    user = await repository.lock_user(session, await tokens.get_owner_id(session, "verify", link))
    await tokens.use(session, "verify", link)
    assert user is not None  # by the foreign key of the link
    await mail_suppressions.end(session, user.id)  # the address works
    if user.email_verified_at is not None:
        return EmailVerification(user)
    is_same_sign_up = user.sign_up_id in ("", sign_up_id)
    user.email_verified_at, user.sign_up_id = now(), ""
    session.add(user)
    await _sign_out_everywhere(
        session, USER, user.id
    )  # before the proof, a session proved no more than a password
    if is_same_sign_up:
        return EmailVerification(user)
    await repository.delete_password(session, USER, user.id)
    await mfa.reset(session, USER, user.id)
    return EmailVerification(user, tokens.sign_token(await tokens.issue(session, user.id, "reset")))


async def send_verification(session: AsyncSession, user_id: str) -> None:
    """Enqueue an email with a new link. Earlier links stop working."""
    token = await tokens.issue(session, user_id, "verify")
    await queue.put_platform_job(session, SEND_VERIFICATION_TASK, token_id=token.id)


async def send_proof_request(session: AsyncSession, user_id: str) -> None:
    """As `send_verification`, to an address that gets no more mail: using the link ends that.

    Raises Refused after too many. The caller has checked that this person is signed in.
    """
    await enforce_rate_limit(RateLimit.RESEND_ACCOUNT, user_id)
    token = await tokens.issue(session, user_id, "verify")
    await queue.put_platform_job(
        session, SEND_VERIFICATION_TASK, token_id=token.id, ignores_suppression="yes"
    )


async def set_time_zone(session: AsyncSession, user_id: str, time_zone: str) -> None:
    """`time_zone`: an IANA name, or "" for none. The caller has checked it."""
    user = await session.get_one(User, user_id)
    user.time_zone = time_zone
    session.add(user)


async def send_account_exists(session: AsyncSession, user_id: str) -> None:
    """Enqueue the email for a sign-up with the address of an existing account."""
    await queue.put_platform_job(session, "platform.send_account_exists", user_id=user_id)


async def request_verification(session: AsyncSession, email: str) -> None:
    """Enqueue a job that looks up the address, so that the response time reveals no account."""
    await queue.put_platform_job(
        session, "platform.request_verification", email=email_addresses.normalise_for_lookup(email)
    )


async def request_reset(session: AsyncSession, email: str) -> None:
    """As `request_verification`, for a password reset."""
    await queue.put_platform_job(
        session, "platform.request_reset", email=email_addresses.normalise_for_lookup(email)
    )


async def reset_password(session: AsyncSession, token: str, password_hash: str) -> User:
    """Set the password and sign out everywhere. Raises Invalid for an unusable link."""
    user = await repository.lock_user(session, await tokens.get_owner_id(session, "reset", token))
    user_id = await tokens.use(session, "reset", token)
    if user is None or user.disabled_at is not None:
        raise Invalid("This account is disabled.", "Contact support.")
    if user.sign_up_id:  # unverified until now, so the factor may belong to another person
        await mfa.reset(session, USER, user_id)
        user.sign_up_id = ""
        session.add(user)
    await change_password(session, USER, user_id, password_hash)
    return user


async def change_password(
    session: AsyncSession, realm: Realm, subject_id: str, password_hash: str, keep_hash: str = ""
) -> None:
    """Set the password; end all challenges and all sessions except `keep_hash`."""
    await repository.set_password(session, realm, subject_id, password_hash)
    await _sign_out_everywhere(session, realm, subject_id, keep_hash)
    if realm is USER:
        await repository.close_tokens(session, subject_id, "reset")
        await queue.put_platform_job(session, "platform.send_password_changed", user_id=subject_id)
        await account_events.publish(session, "password.changed", subject_id)


async def end_access(session: AsyncSession, user_id: str) -> None:
    """The job of `disable`."""
    user = await session.get_one(User, user_id)
    user.disabled_at = user.disabled_at or now()
    session.add(user)
    await _sign_out_everywhere(session, USER, user_id)
    for purpose in tokens.LIFETIMES:
        await repository.close_tokens(session, user_id, purpose)


async def restore_access(session: AsyncSession, user_id: str) -> None:
    """The job of `enable`."""
    user = await session.get_one(User, user_id)
    user.disabled_at = None
    session.add(user)


async def _sign_out_everywhere(
    session: AsyncSession, realm: Realm, subject_id: str, keep_hash: str = ""
) -> None:
    await sessions.end_all(session, realm, subject_id, keep_hash)
    await mfa.end_challenges(session, realm, subject_id)
