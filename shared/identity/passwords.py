"""Hash and check passwords with argon2id outside of the event loop, and check their strength.

A missing hash takes the same time as a wrong password, so timing reveals no account.
"""

import asyncio
import math
import os
import sys
import threading
import unicodedata
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn  # type: ignore[import-untyped]
from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]

from shared.core.errors import Refused

MIN_LENGTH, MAX_LENGTH = 15, 1_000
MIN_GUESS_DIGITS = 8.0  # a guesser needs 10^8 attempts
JUDGED_LENGTH = 16  # characters that zxcvbn judges: its cost grows exponentially with what looks like "l33t"
COMMON_WORD_DIGITS = 1.7  # what zxcvbn says of any common word: 50 attempts
MIN_WORD_LENGTH = 4  # shorter parts occur in too many words
COMMON_WORDS = ("bulkhead",)

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
NICENESS = 5  # of 19: a third of the processor beside the event loop, whose answers others wait for


def _yield_to_the_event_loop() -> None:
    """On Linux a thread has a priority of its own; elsewhere the whole process would be slowed."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


# Two at a time: each needs 19 MiB and a core.
_threads = ThreadPoolExecutor(
    max_workers=2, thread_name_prefix="password", initializer=_yield_to_the_event_loop
)
# Apart from these: whoever chooses passwords must not delay those who sign in.
_judge = ThreadPoolExecutor(
    max_workers=1, thread_name_prefix="password-judge", initializer=_yield_to_the_event_loop
)
MAX_WAITING = 16  # passwords that wait to be judged, in this process
_waiting: set[Future[list[str]]] = set()


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
    """The problems as sentences; empty for a strong password. `words`: name, address, organisation.

    Raises Refused (unavailable) while too many others are being judged.
    """
    if len(_waiting) >= MAX_WAITING:
        raise Refused(
            "Too many people are choosing a password right now.",
            "Try again in a few seconds.",
            reason="unavailable",
            retry_after=5,
        )
    judgement = _judge.submit(_find_problems, password, tuple(words))
    _waiting.add(judgement)  # until it is done, even if whoever asked has gone
    judgement.add_done_callback(_waiting.discard)
    return await asyncio.wrap_future(judgement)


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
def _common_words() -> frozenset[str]:
    return frozenset(word for words in FREQUENCY_LISTS.values() for word in words)


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
        return [f"Don’t use your name or organisation in your password. Remove “{matches[0]}”."]
    unit = _strip_repetition(plain)
    judged = _cut_at_word(unit)
    assessment = zxcvbn(judged, user_inputs=sorted(forbidden_words), max_length=JUDGED_LENGTH)
    if _count_guess_digits(assessment["sequence"], unit[len(judged) :]) >= MIN_GUESS_DIGITS:
        return []
    advice = assessment["feedback"]["warning"] or "Too easy to guess."
    return [f"{advice.rstrip('.')}. Try a short sentence."]


def _strip_repetition(text: str) -> str:
    """As in "abc" of "abcabcab"; the whole text where nothing is repeated."""
    for length in range(1, len(text) // 2 + 1):
        if text.startswith(text[length:]):
            return text[:length]
    return text


def _cut_at_word(text: str) -> str:
    """At most `JUDGED_LENGTH` characters, without the beginning of a word that is longer."""
    if len(text) <= JUDGED_LENGTH:
        return text
    return text[: text.rfind(" ", 0, JUDGED_LENGTH) + 1] or text[:JUDGED_LENGTH]


def _count_guess_digits(judged_parts: Iterable[Any], remaining: str) -> float:
    """How many digits the number of guesses has. A part that is repeated counts once, and a separator not at all.

    zxcvbn's own score takes two common words for 10^8 guesses. `rest`: what it has not judged.
    """
    digits_by_part = {
        part["token"]: math.log10(max(float(part["guesses"]), 1.0))
        for part in judged_parts
        if any(character.isalnum() for character in part["token"])
    }
    for word in remaining.split():
        digits_by_part.setdefault(word, _guess_digits(word))
    return sum(digits_by_part.values())


def _guess_digits(word: str) -> float:
    return COMMON_WORD_DIGITS if word in _common_words() else max(COMMON_WORD_DIGITS, len(set(word)) / 2)


def _split_words(word: str) -> set[str]:
    text = "".join(
        character if character.isalnum() else " "
        for character in unicodedata.normalize("NFKC", word).casefold()
    )
    return {part for part in text.split() if len(part) >= MIN_WORD_LENGTH}
