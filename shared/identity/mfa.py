"""The second factor: time-based codes (TOTP) and recovery codes, the same for both realms.

A step of the clock is accepted once, a recovery code used once, a challenge dies with the fifth wrong code.
Seeds are sealed with the realm's own platform key.
"""

import base64
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyotp
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import crypto
from shared.core.db import now
from shared.core.errors import Conflict
from shared.core.ids import ALPHABET
from shared.identity import repository
from shared.identity.realms import Realm

ANOTHER_DEVICE = "For another device, ask an owner to reset your access: the next sign-in enrols it."
STEP = 30  # seconds
CHALLENGE_LIVES = timedelta(minutes=10)
MOST_ATTEMPTS = 5
CODES = 10
CODE_LENGTH = 16  # 80 bits: a fast hash is enough


@dataclass(frozen=True, slots=True)
class Answer:
    """What a code did to a challenge. `left` attempts remain; with none the challenge is dead."""

    right: bool
    left: int = 0
    subject_id: str = ""


async def is_on(session: AsyncSession, realm: Realm, subject_id: str) -> bool:
    row = await repository.get_totp(session, realm, subject_id)
    return row is not None and row.confirmed_at is not None


async def enrol(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """The seed to show, base32. The same one until it is confirmed: a reload must not spoil a scanned code.

    Raises Conflict when a factor is in force already.
    """
    row = await repository.get_totp(session, realm, subject_id)
    if row is not None and row.confirmed_at is not None:
        raise Conflict(
            "Two-step sign-in is on already.",
            ANOTHER_DEVICE if realm.factor_required else "Turn it off first to use another device.",
        )
    if row is not None:
        return await _seed(session, realm, subject_id, row.sealed)
    await _store(session, realm, subject_id, pyotp.random_base32(), confirmed=False)
    return await seed_of(session, realm, subject_id)  # of whoever was first


async def install(session: AsyncSession, realm: Realm, subject_id: str, seed: str) -> Sequence[str]:
    """A factor in force at once, for the demo cast and tests. The recovery codes."""
    await repository.delete_factors(session, realm, subject_id)
    await _store(session, realm, subject_id, seed, confirmed=True)
    return await new_recovery_codes(session, realm, subject_id)


async def seed_of(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """The seed, opened; "" without one. Shown while it is being enrolled."""
    row = await repository.get_totp(session, realm, subject_id)
    return await _seed(session, realm, subject_id, row.sealed) if row is not None else ""


async def next_code(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """The first code that would be accepted now, "" without a factor. For the development command."""
    row = await repository.get_totp(session, realm, subject_id)
    if row is None:
        return ""
    step = max(int(time.time()) // STEP, row.last_step + 1)
    return pyotp.TOTP(await _seed(session, realm, subject_id, row.sealed)).generate_otp(step)


def uri(realm: Realm, seed: str, email: str) -> str:
    """What an authenticator app scans."""
    issuer = "Bulkhead" if realm.name == "user" else "Bulkhead operators"
    return pyotp.TOTP(seed).provisioning_uri(name=email, issuer_name=issuer)


async def confirm(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> Sequence[str]:
    """Turns the enrolled factor on. The recovery codes, to show once; empty when the code was wrong."""
    row = await repository.get_totp(session, realm, subject_id)
    if row is None or row.confirmed_at is not None or not await _totp(session, realm, subject_id, code):
        return []
    await repository.confirm_totp(session, realm, subject_id)
    return await new_recovery_codes(session, realm, subject_id)


async def new_recovery_codes(session: AsyncSession, realm: Realm, subject_id: str) -> Sequence[str]:
    """Ten new ones, to show once; the old ones are void."""
    codes = ["".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH)) for _ in range(CODES)]
    hashes = [_hash(realm, subject_id, code) for code in codes]
    await repository.replace_recovery_codes(session, realm, subject_id, hashes)
    return ["-".join(code[i : i + 4] for i in range(0, CODE_LENGTH, 4)) for code in codes]


async def verify(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> bool:
    """True for a code of the app not seen before, or for a recovery code not used before. Takes it."""
    plain = "".join(one for one in code.strip().lower() if one.isalnum())
    if len(plain) == CODE_LENGTH:
        return await repository.use_recovery_code(session, realm, subject_id, _hash(realm, subject_id, plain))
    return await _totp(session, realm, subject_id, code)


async def disable(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """Raises Conflict where a factor is required."""
    if realm.factor_required:
        raise Conflict("Operators sign in with two steps.", ANOTHER_DEVICE)
    await repository.delete_factors(session, realm, subject_id)


async def reset(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """Forgets seed and recovery codes: the next sign-in leads to enrolment where a factor is required."""
    await repository.delete_factors(session, realm, subject_id)


async def count_codes(session: AsyncSession, realm: Realm, subject_id: str) -> int:
    return await repository.count_recovery_codes(session, realm, subject_id)


async def challenge(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """After the right password: the token of a short-lived cookie that is worth a code, and nothing else."""
    token = crypto.new_token()
    await repository.add_challenge(session, realm, subject_id, crypto.digest(token), now() + CHALLENGE_LIVES)
    return token


async def challenged(session: AsyncSession, realm: Realm, token: str) -> str:
    """Who answered the password of this challenge; "" when it is over."""
    row = token and await repository.get_challenge(session, realm, crypto.digest(token), MOST_ATTEMPTS)
    return repository.owner_of(realm, row) if row else ""


async def answer(session: AsyncSession, realm: Realm, token: str, code: str) -> Answer:
    """Counts the attempt before it looks, so that parallel guesses are not more guesses. Ends when right."""
    row = token and await repository.get_challenge(session, realm, crypto.digest(token), MOST_ATTEMPTS)
    subject_id = repository.owner_of(realm, row) if row else ""
    if not row or not (tried := await _count(session, realm, subject_id, row.id)):
        return Answer(False)
    if not await verify(session, realm, subject_id, code):
        return Answer(False, MOST_ATTEMPTS - tried, subject_id)
    await end_challenges(session, realm, subject_id)
    return Answer(True, subject_id=subject_id)


async def answer_enrolment(
    session: AsyncSession, realm: Realm, token: str, code: str
) -> tuple[Answer, Sequence[str]]:
    """The same for somebody who enrols while signing in: the first right code turns the factor on."""
    row = token and await repository.get_challenge(session, realm, crypto.digest(token), MOST_ATTEMPTS)
    subject_id = repository.owner_of(realm, row) if row else ""
    if not row or not (tried := await _count(session, realm, subject_id, row.id)):
        return Answer(False), []
    codes = await confirm(session, realm, subject_id, code)
    if not codes:
        return Answer(False, MOST_ATTEMPTS - tried, subject_id), []
    await end_challenges(session, realm, subject_id)
    return Answer(True, subject_id=subject_id), codes


async def _count(session: AsyncSession, realm: Realm, subject_id: str, challenge_id: str) -> int:
    await repository.hold_person(session, realm, subject_id)  # first, as whoever ends all of them does
    await repository.lock_challenges(session, realm, subject_id)
    return await repository.count_attempt(session, realm, challenge_id, MOST_ATTEMPTS)


async def end_challenges(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    await repository.delete_challenges(session, realm, subject_id)


async def _totp(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> bool:
    digits = "".join(code.split())
    row = await repository.get_totp(session, realm, subject_id)
    if row is None or len(digits) != 6 or not digits.isascii() or not digits.isdigit():
        return False
    totp = pyotp.TOTP(await _seed(session, realm, subject_id, row.sealed))
    step = int(time.time()) // STEP
    for near in (step - 1, step, step + 1):  # clocks differ a little
        if hmac.compare_digest(totp.generate_otp(near), digits):
            return await repository.take_step(session, realm, subject_id, near)
    return False


def _hash(realm: Realm, subject_id: str, code: str) -> str:
    return crypto.digest(f"{realm.name}:{subject_id}:{code}")


async def _store(session: AsyncSession, realm: Realm, subject_id: str, seed: str, *, confirmed: bool) -> None:
    key = await _key(session, realm)
    sealed = crypto.seal(key, base64.b32decode(seed), realm.name, f"{realm.name}_totp.sealed", subject_id)
    await repository.add_totp(session, realm, subject_id, sealed, now() if confirmed else None)


async def _seed(session: AsyncSession, realm: Realm, subject_id: str, sealed: bytes) -> str:
    key = await _key(session, realm)
    plain = crypto.open_sealed(key, sealed, realm.name, f"{realm.name}_totp.sealed", subject_id)
    return base64.b32encode(plain).decode()


async def _key(session: AsyncSession, realm: Realm) -> bytes:
    """The realm's data key, made at its first use."""
    row = await repository.get_key(session, realm)
    if row is None:
        new = crypto.new_dek()
        await repository.add_key(session, realm, new.kek_id, new.wrapped)
        row = await repository.get_key(session, realm)
    assert row is not None
    return crypto.unwrap(crypto.WrappedKey(row.kek_id, row.wrapped))
