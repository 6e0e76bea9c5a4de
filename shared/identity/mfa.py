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

ANOTHER_DEVICE_ADVICE = "For another device, ask an owner to reset your access: the next sign-in enrols it."
STEP_SECONDS = 30  # seconds
CHALLENGE_LIFETIME = timedelta(minutes=10)
MAX_ATTEMPTS = 5
RECOVERY_CODE_COUNT = 10
RECOVERY_CODE_LENGTH = 16  # 80 bits: a fast hash is enough


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """What a code did to a challenge. `left` attempts remain; with none the challenge is dead."""

    is_correct: bool
    attempts_left: int = 0
    subject_id: str = ""


async def is_enabled(session: AsyncSession, realm: Realm, subject_id: str) -> bool:
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
            ANOTHER_DEVICE_ADVICE if realm.factor_required else "Turn it off first to use another device.",
        )
    if row is not None:
        return await _unseal_seed(session, realm, subject_id, row.sealed)
    await _store_seed(session, realm, subject_id, pyotp.random_base32(), confirmed=False)
    return await read_seed(session, realm, subject_id)  # of whoever was first


async def install_seed(session: AsyncSession, realm: Realm, subject_id: str, seed: str) -> Sequence[str]:
    """A factor in force at once, for the demo cast and tests. The recovery codes."""
    await repository.delete_factors(session, realm, subject_id)
    await _store_seed(session, realm, subject_id, seed, confirmed=True)
    return await replace_recovery_codes(session, realm, subject_id)


async def read_seed(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """The seed, opened; "" without one. Shown while it is being enrolled."""
    row = await repository.get_totp(session, realm, subject_id)
    return await _unseal_seed(session, realm, subject_id, row.sealed) if row is not None else ""


async def generate_next_code(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """The first code that would be accepted now, "" without a factor. For the development command."""
    row = await repository.get_totp(session, realm, subject_id)
    if row is None:
        return ""
    step = max(int(time.time()) // STEP_SECONDS, row.last_step + 1)
    return pyotp.TOTP(await _unseal_seed(session, realm, subject_id, row.sealed)).generate_otp(step)


def provisioning_uri(realm: Realm, seed: str, email: str) -> str:
    """What an authenticator app scans."""
    issuer = "Bulkhead" if realm.name == "user" else "Bulkhead operators"
    return pyotp.TOTP(seed).provisioning_uri(name=email, issuer_name=issuer)


async def confirm_enrolment(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> Sequence[str]:
    """Turns the enrolled factor on. The recovery codes, to show once; empty when the code was wrong."""
    row = await repository.get_totp(session, realm, subject_id)
    if (
        row is None
        or row.confirmed_at is not None
        or not await _verify_totp(session, realm, subject_id, code)
    ):
        return []
    await repository.confirm_totp(session, realm, subject_id)
    return await replace_recovery_codes(session, realm, subject_id)


async def replace_recovery_codes(session: AsyncSession, realm: Realm, subject_id: str) -> Sequence[str]:
    """Ten new ones, to show once; the old ones are void."""
    codes = [
        "".join(secrets.choice(ALPHABET) for _ in range(RECOVERY_CODE_LENGTH))
        for _ in range(RECOVERY_CODE_COUNT)
    ]
    hashes = [_hash_recovery_code(realm, subject_id, code) for code in codes]
    await repository.replace_recovery_codes(session, realm, subject_id, hashes)
    return ["-".join(code[i : i + 4] for i in range(0, RECOVERY_CODE_LENGTH, 4)) for code in codes]


async def verify_code(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> bool:
    """True for a code of the app not seen before, or for a recovery code not used before. Takes it."""
    plain = "".join(character for character in code.strip().lower() if character.isalnum())
    if len(plain) == RECOVERY_CODE_LENGTH:
        return await repository.use_recovery_code(
            session, realm, subject_id, _hash_recovery_code(realm, subject_id, plain)
        )
    return await _verify_totp(session, realm, subject_id, code)


async def disable(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """Raises Conflict where a factor is required."""
    if realm.factor_required:
        raise Conflict("Operators sign in with two steps.", ANOTHER_DEVICE_ADVICE)
    await repository.delete_factors(session, realm, subject_id)


async def reset(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """Forgets seed and recovery codes: the next sign-in leads to enrolment where a factor is required."""
    await repository.delete_factors(session, realm, subject_id)


async def count_recovery_codes(session: AsyncSession, realm: Realm, subject_id: str) -> int:
    return await repository.count_recovery_codes(session, realm, subject_id)


async def start_challenge(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """After the right password: the token of a short-lived cookie that is worth a code, and nothing else."""
    token = crypto.new_token()
    await repository.add_challenge(
        session, realm, subject_id, crypto.hash_token(token), now() + CHALLENGE_LIFETIME
    )
    return token


async def get_challenged_subject(session: AsyncSession, realm: Realm, token: str) -> str:
    """Who answered the password of this challenge; "" when it is over."""
    row = token and await repository.get_challenge(session, realm, crypto.hash_token(token), MAX_ATTEMPTS)
    return repository.get_owner_id(realm, row) if row else ""


async def answer_challenge(session: AsyncSession, realm: Realm, token: str, code: str) -> ChallengeResult:
    """Counts the attempt before it looks, so that parallel guesses are not more guesses. Ends when right."""
    row = token and await repository.get_challenge(session, realm, crypto.hash_token(token), MAX_ATTEMPTS)
    subject_id = repository.get_owner_id(realm, row) if row else ""
    if not row or not (attempt := await _count_attempt(session, realm, subject_id, row.id)):
        return ChallengeResult(False)
    if not await verify_code(session, realm, subject_id, code):
        return ChallengeResult(False, MAX_ATTEMPTS - attempt, subject_id)
    await end_challenges(session, realm, subject_id)
    return ChallengeResult(True, subject_id=subject_id)


async def answer_enrolment(
    session: AsyncSession, realm: Realm, token: str, code: str
) -> tuple[ChallengeResult, Sequence[str]]:
    """The same for somebody who enrols while signing in: the first right code turns the factor on."""
    row = token and await repository.get_challenge(session, realm, crypto.hash_token(token), MAX_ATTEMPTS)
    subject_id = repository.get_owner_id(realm, row) if row else ""
    if not row or not (attempt := await _count_attempt(session, realm, subject_id, row.id)):
        return ChallengeResult(False), []
    codes = await confirm_enrolment(session, realm, subject_id, code)
    if not codes:
        return ChallengeResult(False, MAX_ATTEMPTS - attempt, subject_id), []
    await end_challenges(session, realm, subject_id)
    return ChallengeResult(True, subject_id=subject_id), codes


async def _count_attempt(session: AsyncSession, realm: Realm, subject_id: str, challenge_id: str) -> int:
    await repository.lock_person_shared(session, realm, subject_id)  # first, as whoever ends all of them does
    await repository.lock_challenges(session, realm, subject_id)
    return await repository.count_attempt(session, realm, challenge_id, MAX_ATTEMPTS)


async def end_challenges(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    await repository.delete_challenges(session, realm, subject_id)


async def _verify_totp(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> bool:
    digits = "".join(code.split())
    row = await repository.get_totp(session, realm, subject_id)
    if row is None or len(digits) != 6 or not digits.isascii() or not digits.isdigit():
        return False
    totp = pyotp.TOTP(await _unseal_seed(session, realm, subject_id, row.sealed))
    step = int(time.time()) // STEP_SECONDS
    for candidate in (step - 1, step, step + 1):  # clocks differ a little
        if hmac.compare_digest(totp.generate_otp(candidate), digits):
            return await repository.use_totp_step(session, realm, subject_id, candidate)
    return False


def _hash_recovery_code(realm: Realm, subject_id: str, code: str) -> str:
    return crypto.hash_token(f"{realm.name}:{subject_id}:{code}")


async def _store_seed(
    session: AsyncSession, realm: Realm, subject_id: str, seed: str, *, confirmed: bool
) -> None:
    key = await _load_realm_key(session, realm)
    sealed = crypto.seal(key, base64.b32decode(seed), realm.name, f"{realm.name}_totp.sealed", subject_id)
    await repository.add_totp(session, realm, subject_id, sealed, now() if confirmed else None)


async def _unseal_seed(session: AsyncSession, realm: Realm, subject_id: str, sealed: bytes) -> str:
    key = await _load_realm_key(session, realm)
    plain = crypto.open_sealed(key, sealed, realm.name, f"{realm.name}_totp.sealed", subject_id)
    return base64.b32encode(plain).decode()


async def _load_realm_key(session: AsyncSession, realm: Realm) -> bytes:
    """The realm's data key, made at its first use."""
    row = await repository.get_realm_key(session, realm)
    if row is None:
        new_key = crypto.new_dek()
        await repository.add_realm_key(session, realm, new_key.kek_id, new_key.wrapped)
        row = await repository.get_realm_key(session, realm)
    assert row is not None
    return crypto.unwrap_dek(crypto.WrappedKey(row.kek_id, row.wrapped))
