"""People of the tenants' side: accounts, their passwords, and the mails that prove an address.

A person exists once, whatever number of tenants they belong to. That an account exists is told to its owner,
by mail, and to nobody else: what depends on it happens in jobs, and every browser gets the same answer.
"""

import unicodedata
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.access import actions, policy
from shared.audit import audit_log
from shared.core.context import OperatorCtx
from shared.core.db import now
from shared.core.errors import Invalid, NotFound
from shared.identity import email_addresses, mfa, passwords, repository, sessions, tokens
from shared.identity.models import User
from shared.identity.realms import USER, Realm
from shared.jobs import queue

MAX_NAME_LENGTH = 80
UNSHOWABLE_CATEGORIES = {
    "Cc",
    "Cs",
    "Co",
    "Cn",
}  # kinds of characters: control, half a pair, private, not assigned


@dataclass(frozen=True, slots=True)
class EmailVerification:
    """What a link to an address came to."""

    user: User
    reset_token: str = ""  # signed part of a reset link, when the password was not this person's


async def get(session: AsyncSession, user_id: str) -> User | None:
    return await session.get(User, user_id)


async def get_by_email(session: AsyncSession, email: str) -> User | None:
    user: User | None = await repository.get_person_by_email(
        session, USER, email_addresses.normalise_for_lookup(email)
    )
    return user


async def lock_by_email(session: AsyncSession, email: str) -> User | None:
    """Nobody else signs up with this address before the transaction ends, whether or not somebody has it."""
    return await repository.lock_user_by_email(session, email_addresses.normalise_for_lookup(email))


def clean_name(text: str) -> str:
    """Raises Invalid, with `fields["name"]`."""
    name = " ".join(text.split())
    problem = ""
    if not name or not any(character.isprintable() for character in name):
        problem = "Enter your name."
    elif len(name) > MAX_NAME_LENGTH:
        problem = f"A name has at most {MAX_NAME_LENGTH} characters; this one has {len(name):,}."
    elif not is_displayable(name):
        problem = "The name holds characters that cannot be shown."
    if problem:
        raise Invalid(problem, "Correct it and try again.", fields={"name": problem})
    return name


def is_displayable(text: str) -> bool:
    return not any(unicodedata.category(character) in UNSHOWABLE_CATEGORIES for character in text)


async def require_strong_password(password: str, *words: str) -> None:
    """Raises Invalid, with `fields["password"]`. `words`: name, address, organisation of the person."""
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
    """`verified`: the person came by a link that we sent to this address. `sign_up_id`: else, who chose the password."""
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


async def replace_unverified_user(
    session: AsyncSession, user: User, name: str, password_hash: str, sign_up_id: str
) -> None:
    """Signed up again before the address was proven: who came before has no claim, nor their sessions."""
    user.name, user.sign_up_id = clean_name(name), sign_up_id
    session.add(user)
    await repository.set_password(session, USER, user.id, password_hash)
    await mfa.reset(session, USER, user.id)
    await _sign_out_everywhere(session, USER, user.id)


async def rename(session: AsyncSession, realm: Realm, subject_id: str, name: str) -> tuple[str, str]:
    """The name before and after."""
    person = await repository.get_person(session, realm, subject_id)
    if person is None:
        return "", ""
    previous_name, person.name = person.name, clean_name(name)
    session.add(person)
    return previous_name, person.name


async def mark_verified(session: AsyncSession, user_id: str) -> User:
    """For who is signed in and so knows the password; with a link alone it is `prove`."""
    user = await repository.lock_user(session, user_id)
    assert user is not None
    user.email_verified_at, user.sign_up_id = user.email_verified_at or now(), ""
    session.add(user)
    return user


async def verify_email(session: AsyncSession, link: str, sign_up_id: str) -> EmailVerification:
    """Uses a link to verify an address. Raises Invalid for one that does not work (any more).

    The link proves the mailbox and nothing else: anybody can sign up with an address. `sign_up_id` is the one this
    browser holds. If another sign-up chose the password, it goes, with every factor, and its owner chooses one now.
    """
    # The person before the link, in the order of signing up again, or the two would wait for each other.
    user = await repository.lock_user(session, await tokens.get_owner_id(session, "verify", link))
    await tokens.use(session, "verify", link)
    assert user is not None  # by the foreign key of the link
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
    """A new link; the ones before it stop working."""
    token = await tokens.issue(session, user_id, "verify")
    await queue.put_platform_job(session, "platform.send_verification", token_id=token.id)


async def send_account_exists(session: AsyncSession, user_id: str) -> None:
    """Instead of a verification, to somebody who signs up with an address that has an account."""
    await queue.put_platform_job(session, "platform.send_account_exists", user_id=user_id)


async def request_verification(session: AsyncSession, email: str) -> None:
    """Takes the same time for every address: a job finds out whether there is somebody to write to."""
    await queue.put_platform_job(
        session, "platform.request_verification", email=email_addresses.normalise_for_lookup(email)
    )


async def request_reset(session: AsyncSession, email: str) -> None:
    """As above."""
    await queue.put_platform_job(
        session, "platform.request_reset", email=email_addresses.normalise_for_lookup(email)
    )


async def reset_password(session: AsyncSession, token: str, password_hash: str) -> User:
    """Sets the password and signs out everywhere. Raises Invalid for a link that does not work (any more)."""
    user = await repository.lock_user(session, await tokens.get_owner_id(session, "reset", token))
    user_id = await tokens.use(session, "reset", token)
    if user is None or user.disabled_at is not None:
        raise Invalid("This account is disabled.", "Write to support.")
    if user.sign_up_id:  # this link proves the mailbox; whoever set up a factor before it may be a stranger
        await mfa.reset(session, USER, user_id)
        user.sign_up_id = ""
        session.add(user)
    await change_password(session, USER, user_id, password_hash)
    return user


async def change_password(
    session: AsyncSession, realm: Realm, subject_id: str, password_hash: str, keep_hash: str = ""
) -> None:
    """Ends every other session and every half-finished sign-in. `keep_hash`: the session that did it."""
    await repository.set_password(session, realm, subject_id, password_hash)
    await _sign_out_everywhere(session, realm, subject_id, keep_hash)
    if realm is USER:
        await repository.close_tokens(session, subject_id, "reset")
        await queue.put_platform_job(session, "platform.send_password_changed", user_id=subject_id)


async def disable(octx: OperatorCtx, email: str, *, reason: str) -> User:
    """Somebody else has this account, say: its sessions and links end, nobody signs in. What it belongs to stays.

    Operators' transactions have no right on people's rows, so a job does it. Raises NotFound.
    """
    policy.require_operator(octx, actions.OP_USER_DISABLE)
    user = await _require_user(octx, email)
    audit_log.record_operator(octx, "user.disabled", user.id, reason=reason, email=user.email)
    await queue.put_platform_job(octx.session, "platform.disable_user", sequence=user.id, user_id=user.id)
    return user


async def enable(octx: OperatorCtx, email: str, *, reason: str) -> User:
    """With the password, the factor and the memberships it had. Raises NotFound."""
    policy.require_operator(octx, actions.OP_USER_DISABLE)
    user = await _require_user(octx, email)
    audit_log.record_operator(octx, "user.enabled", user.id, reason=reason, email=user.email)
    await queue.put_platform_job(octx.session, "platform.enable_user", sequence=user.id, user_id=user.id)
    return user


async def end_access(session: AsyncSession, user_id: str) -> None:
    """What `disable` promised."""
    user = await session.get_one(User, user_id)
    user.disabled_at = user.disabled_at or now()
    session.add(user)
    await _sign_out_everywhere(session, USER, user_id)
    for purpose in tokens.LIFETIMES:
        await repository.close_tokens(session, user_id, purpose)


async def restore_access(session: AsyncSession, user_id: str) -> None:
    """What `enable` promised."""
    user = await session.get_one(User, user_id)
    user.disabled_at = None
    session.add(user)


async def _require_user(octx: OperatorCtx, email: str) -> User:
    user = await get_by_email(octx.session, email)
    if user is None:
        raise NotFound("Nobody has an account with this address.", "Check the address.")
    return user


async def _sign_out_everywhere(
    session: AsyncSession, realm: Realm, subject_id: str, keep_hash: str = ""
) -> None:
    await sessions.end_all(session, realm, subject_id, keep_hash)
    await mfa.end_challenges(session, realm, subject_id)
