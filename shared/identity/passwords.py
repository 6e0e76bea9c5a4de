"""Hash and check passwords with argon2id outside of the event loop, and check their strength.

A missing hash takes the same time as a wrong password, so timing reveals no account.
"""

import asyncio
import unicodedata
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn  # type: ignore[import-untyped]
from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]

MIN_LENGTH, MAX_LENGTH = 15, 1_000
MIN_SCORE = 3
SCORED_LENGTH = 72  # characters that zxcvbn scores; further ones only add strength
MIN_WORD_LENGTH = 4  # shorter parts occur in too many words
COMMON_WORDS = ("bulkhead",)

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Two at a time: each needs 19 MiB and a core.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="password")


async def hash_password(password: str) -> str:
    """The argon2id hash. Does not check the strength; see `find_problems`."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, _encode(password))


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Takes as long for an account that does not exist (None) as for a wrong password."""
    return await asyncio.get_running_loop().run_in_executor(
        _threads, _verify_password, password_hash, password
    )


def is_outdated(password_hash: str) -> bool:
    """True when the hash has old parameters and should be renewed at the next sign-in."""
    return _hasher.check_needs_rehash(password_hash)


async def find_problems(password: str, words: Iterable[str] = ()) -> list[str]:
    """The problems as sentences; empty for a strong password. `words`: name, address, organisation."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _find_problems, password, tuple(words))


def _encode(password: str) -> bytes:
    """Normalise (NFKC), so that different keyboards produce the same password."""
    return unicodedata.normalize("NFKC", password[:MAX_LENGTH]).encode("utf-8", "surrogatepass")


@cache
def _dummy_hash() -> str:
    return _hasher.hash("no account has this password")


def _verify_password(password_hash: str | None, password: str) -> bool:
    try:
        is_match = _hasher.verify(password_hash or _dummy_hash(), _encode(password))
    except (VerificationError, InvalidHashError):
        return False
    return is_match and password_hash is not None and len(password) <= MAX_LENGTH


@cache
def _breached_passwords() -> frozenset[str]:
    """The most common passwords of known breaches, without network access."""
    return frozenset(FREQUENCY_LISTS["passwords"])


def _find_problems(password: str, words: tuple[str, ...]) -> list[str]:
    if len(password) < MIN_LENGTH:
        return [
            f"Use at least {MIN_LENGTH} characters; this one has {len(password)}. A short sentence works well."
        ]
    if len(password) > MAX_LENGTH:
        return [f"Use at most {MAX_LENGTH:,} characters; this one has {len(password):,}."]
    plain = unicodedata.normalize("NFKC", password).casefold()
    if plain in _breached_passwords() or plain.strip("0123456789!?.,-_ #$*@") in _breached_passwords():
        return ["This password appears in lists of stolen passwords. Choose another one."]
    forbidden_words = {part for word in (*words, *COMMON_WORDS) for part in _split_words(word)}
    if matches := sorted(part for part in forbidden_words if part in plain):
        return [f"Don't use your name or organisation in your password. Remove “{matches[0]}”."]
    assessment = zxcvbn(plain[:SCORED_LENGTH], user_inputs=sorted(forbidden_words), max_length=SCORED_LENGTH)
    if assessment["score"] >= MIN_SCORE:
        return []
    advice = assessment["feedback"]["warning"] or "Too easy to guess."
    return [f"{advice.rstrip('.')}. Try a short sentence."]


def _split_words(word: str) -> set[str]:
    text = "".join(
        character if character.isalnum() else " "
        for character in unicodedata.normalize("NFKC", word).casefold()
    )
    return {part for part in text.split() if len(part) >= MIN_WORD_LENGTH}
