"""The second factor: time-based codes (TOTP) and recovery codes, the same for both realms.

A time step and a recovery code are accepted once. A challenge ends after the fifth wrong code. Seeds are encrypted
with the data key of the realm.
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
from shared.identity import realm_secrets, repository
from shared.identity.realms import Realm

ANOTHER_DEVICE_ADVICE = (
    "To use another device, ask an owner to reset your access. You’ll set it up at your next sign-in."
)
STEP_SECONDS = 30
CHALLENGE_LIFETIME = timedelta(minutes=10)
MAX_ATTEMPTS = 5
RECOVERY_CODE_COUNT = 10
RECOVERY_CODE_LENGTH = 16  # 80 bits: a fast hash is enough


@dataclass(frozen=True, slots=True)
class ChallengeResult:
    """The result of a code. Without `attempts_left` the challenge has ended."""

    is_correct: bool
    attempts_left: int = 0
    subject_id: str = ""
    used_recovery_code: bool = False


async def is_enabled(session: AsyncSession, realm: Realm, subject_id: str) -> bool:
    row = await repository.get_totp(session, realm, subject_id)
    return row is not None and row.confirmed_at is not None


async def enrol(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """The base32 seed to show. It stays the same until confirmed, so that a reload does not invalidate a scanned code.

    Raises Conflict when a factor is already on.
    """
    row = await repository.get_totp(session, realm, subject_id)
    if row is not None and row.confirmed_at is not None:
        raise Conflict(
            "Two-step sign-in is already on.",
            ANOTHER_DEVICE_ADVICE if realm.factor_required else "Turn it off first to use another device.",
        )
    if row is not None:
        return await _unseal_seed(session, realm, subject_id, row.sealed)
    await _store_seed(session, realm, subject_id, pyotp.random_base32(), confirmed=False)
    return await read_seed(
        session, realm, subject_id
    )  # a concurrent request may have stored another seed first


async def install_seed(session: AsyncSession, realm: Realm, subject_id: str, seed: str) -> Sequence[str]:
    """Turn a factor on without confirmation and return its recovery codes. For demo data and tests."""
    await repository.delete_factors(session, realm, subject_id)
    await _store_seed(session, realm, subject_id, seed, confirmed=True)
    return await replace_recovery_codes(session, realm, subject_id)


async def read_seed(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """The decrypted seed, "" without one."""
    row = await repository.get_totp(session, realm, subject_id)
    return await _unseal_seed(session, realm, subject_id, row.sealed) if row is not None else ""


async def generate_next_code(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """The next code that is accepted, "" without a factor. For the development command."""
    row = await repository.get_totp(session, realm, subject_id)
    if row is None:
        return ""
    step = max(int(time.time()) // STEP_SECONDS, row.last_step + 1)
    return pyotp.TOTP(await _unseal_seed(session, realm, subject_id, row.sealed)).generate_otp(step)


def provisioning_uri(realm: Realm, seed: str, email: str) -> str:
    """The otpauth:// URI that an authenticator app scans."""
    issuer = "Bulkhead" if realm.name == "user" else "Bulkhead operators"
    return pyotp.TOTP(seed).provisioning_uri(name=email, issuer_name=issuer)


async def confirm_enrolment(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> Sequence[str]:
    """Turn the enrolled factor on and return the recovery codes to show once; empty for a wrong code."""
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
    """Ten new recovery codes to show once. The old ones become invalid."""
    codes = [
        "".join(secrets.choice(ALPHABET) for _ in range(RECOVERY_CODE_LENGTH))
        for _ in range(RECOVERY_CODE_COUNT)
    ]
    hashes = [_hash_recovery_code(realm, subject_id, code) for code in codes]
    await repository.replace_recovery_codes(session, realm, subject_id, hashes)
    return ["-".join(code[i : i + 4] for i in range(0, RECOVERY_CODE_LENGTH, 4)) for code in codes]


async def verify_code(session: AsyncSession, realm: Realm, subject_id: str, code: str) -> bool:
    """True for an unused code of the app or an unused recovery code. Marks it as used."""
    if recovery_code := _parse_recovery_code(code):
        return await repository.use_recovery_code(
            session, realm, subject_id, _hash_recovery_code(realm, subject_id, recovery_code)
        )
    return await _verify_totp(session, realm, subject_id, code)


def _parse_recovery_code(code: str) -> str:
    """As it was made, without hyphens; "" for text of another length, such as a code of the app."""
    plain = "".join(character for character in code.strip().lower() if character.isalnum())
    return plain if len(plain) == RECOVERY_CODE_LENGTH else ""


async def disable(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """Raises Conflict where a factor is required."""
    if realm.factor_required:
        raise Conflict("Two-step sign-in is required for operators.", ANOTHER_DEVICE_ADVICE)
    await repository.delete_factors(session, realm, subject_id)


async def reset(session: AsyncSession, realm: Realm, subject_id: str) -> None:
    """Delete seed and recovery codes. Where a factor is required, the next sign-in enrols a new one."""
    await repository.delete_factors(session, realm, subject_id)


async def count_recovery_codes(session: AsyncSession, realm: Realm, subject_id: str) -> int:
    return await repository.count_recovery_codes(session, realm, subject_id)


async def start_challenge(session: AsyncSession, realm: Realm, subject_id: str) -> str:
    """Start the second step after the correct password. Returns the token of a short-lived cookie."""
    token = crypto.new_token()
    await repository.add_challenge(
        session, realm, subject_id, crypto.hash_token(token), now() + CHALLENGE_LIFETIME
    )
    return token


async def get_challenged_subject(session: AsyncSession, realm: Realm, token: str) -> str:
    """The person of this challenge; "" when it has ended."""
    row = token and await repository.get_usable_challenge(
        session, realm, crypto.hash_token(token), MAX_ATTEMPTS
    )
    return repository.get_owner_id(realm, row) if row else ""


async def answer_challenge(session: AsyncSession, realm: Realm, token: str, code: str) -> ChallengeResult:
    """Count the attempt, then check the code, so that parallel guesses are counted. A correct code ends the challenge."""
    row = token and await repository.get_usable_challenge(
        session, realm, crypto.hash_token(token), MAX_ATTEMPTS
    )
    subject_id = repository.get_owner_id(realm, row) if row else ""
    if not row or not (attempt := await _count_attempt(session, realm, subject_id, row.id)):
        return ChallengeResult(False)
    if not await verify_code(session, realm, subject_id, code):
        return ChallengeResult(False, MAX_ATTEMPTS - attempt, subject_id)
    await end_challenges(session, realm, subject_id)
    return ChallengeResult(True, subject_id=subject_id, used_recovery_code=bool(_parse_recovery_code(code)))


async def answer_enrolment(
    session: AsyncSession, realm: Realm, token: str, code: str
) -> tuple[ChallengeResult, Sequence[str]]:
    """As `answer_challenge` for enrolment during sign-in: the first correct code turns the factor on."""
    row = token and await repository.get_usable_challenge(
        session, realm, crypto.hash_token(token), MAX_ATTEMPTS
    )
    subject_id = repository.get_owner_id(realm, row) if row else ""
    if not row or not (attempt := await _count_attempt(session, realm, subject_id, row.id)):
        return ChallengeResult(False), []
    codes = await confirm_enrolment(session, realm, subject_id, code)
    if not codes:
        return ChallengeResult(False, MAX_ATTEMPTS - attempt, subject_id), []
    await end_challenges(session, realm, subject_id)
    return ChallengeResult(True, subject_id=subject_id), codes


async def _count_attempt(session: AsyncSession, realm: Realm, subject_id: str, challenge_id: str) -> int:
    await repository.lock_person_shared(
        session, realm, subject_id
    )  # first, in the same order as ending all challenges
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
    for candidate in (step - 1, step, step + 1):  # clocks may differ by one step
        if hmac.compare_digest(totp.generate_otp(candidate), digits):
            return await repository.use_totp_step(session, realm, subject_id, candidate)
    return False


def _hash_recovery_code(realm: Realm, subject_id: str, code: str) -> str:
    return crypto.hash_token(f"{realm.name}:{subject_id}:{code}")


async def _store_seed(
    session: AsyncSession, realm: Realm, subject_id: str, seed: str, *, confirmed: bool
) -> None:
    key = await realm_secrets.load_key(session, realm, is_sealing=True)
    sealed = crypto.seal(key, base64.b32decode(seed), realm.name, f"{realm.name}_totp.sealed", subject_id)
    await repository.add_totp(session, realm, subject_id, sealed, now() if confirmed else None)


async def _unseal_seed(session: AsyncSession, realm: Realm, subject_id: str, sealed: bytes) -> str:
    context = (realm.name, f"{realm.name}_totp.sealed", subject_id)
    try:
        plain = crypto.open_sealed(await realm_secrets.load_key(session, realm), sealed, *context)
    except (
        crypto.DecryptionError
    ):  # the key was renewed after the seed was read: the new one is there as well
        row = await repository.get_totp(session, realm, subject_id)
        if row is None or row.sealed == sealed:
            raise
        plain = crypto.open_sealed(await realm_secrets.load_key(session, realm), row.sealed, *context)
    return base64.b32encode(plain).decode()
