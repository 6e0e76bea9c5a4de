"""Passwords: hashed with Argon2id, never compared in the event loop, refused when weak or known from breaches."""

import asyncio
import re
from collections.abc import Iterable

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn
from zxcvbn.frequency_lists import FREQUENCY_LISTS

SHORTEST, LONGEST = 15, 1000  # NIST 800-63B-4: fifteen where the password is the only factor
STRONG = 3
_hasher = PasswordHasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)  # OWASP's minimum; 65 ms here
_slots = asyncio.Semaphore(4)  # hashing is memory-hungry: a flood waits here instead of taking the machine
_BREACHED = frozenset(FREQUENCY_LISTS["passwords"])  # ranked from leaked lists, offline
# An unknown account is verified against this, so that it takes as long as a known one.
_DUMMY = _hasher.hash("nobody has this password")


async def hash(password: str) -> str:  # noqa: A001  reads passwords.hash(…)
    async with _slots:
        return await asyncio.to_thread(_hasher.hash, password)


async def verify(stored: str | None, password: str) -> bool:
    """None: there is no such account; takes the same time and is never right."""
    async with _slots:
        right = await asyncio.to_thread(_check, stored or _DUMMY, password[:LONGEST])
    return right and stored is not None


def needs_rehash(stored: str) -> bool:
    return _hasher.check_needs_rehash(stored)


async def problems(password: str, words: Iterable[str]) -> list[str]:
    """What is wrong with a new password, one sentence each. `words`: names and addresses it must not be made of."""
    if len(password) < SHORTEST:
        return [f"Use at least {SHORTEST} characters. A short sentence works well."]
    if len(password) > LONGEST:
        return [f"Use at most {LONGEST:,} characters."]
    plain = password.lower()
    if plain in _BREACHED or plain.strip("0123456789!.") in _BREACHED:
        return ["This password is known from breaches. Use another one."]
    banned = {part for word in words for part in re.split(r"[^\w]+", word.lower()) if len(part) >= 3} | {"bulkhead"}
    rest = plain
    for word in sorted(banned, key=len, reverse=True):
        rest = rest.replace(word, "")
    if len(rest) < SHORTEST - 5 and rest != plain:
        return ["Do not build it from your name, address or organisation."]
    score = await asyncio.to_thread(lambda: zxcvbn(password[:72], user_inputs=sorted(banned))["score"])
    if score < STRONG:
        return ["This password is easy to guess. Use a longer or less common sentence."]
    return []


def _check(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
