"""Passwords: argon2id, off the event loop, and a judgement whether one is worth having.

Nothing here tells whether an account exists: a missing hash costs the same as a wrong password.
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

SHORTEST, LONGEST = 15, 1_000
LEAST_SCORE = 3
JUDGED = 72  # characters zxcvbn looks at; more would only help
SHORTEST_WORD = 4  # shorter ones are parts of too many words
ALWAYS_KNOWN = ("bulkhead",)

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Two at once: 19 MiB and a core each, while the event loop stays free for everybody else.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="password")


async def hash(password: str) -> str:
    """Of a password that has been judged; the judging is `problems`."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, _bytes(password))


async def verify(password_hash: str | None, password: str) -> bool:
    """Takes as long for an account that does not exist (None) as for a wrong password."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _verify, password_hash, password)


def is_outdated(password_hash: str) -> bool:
    """Made with other parameters than today's: hash again at the next right password."""
    return _hasher.check_needs_rehash(password_hash)


async def problems(password: str, words: Iterable[str] = ()) -> list[str]:
    """What is wrong, one sentence each; empty for a good one. `words`: name, address, organisation."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _problems, password, tuple(words))


def _bytes(password: str) -> bytes:
    """The same characters typed on another keyboard are the same password."""
    return unicodedata.normalize("NFKC", password[:LONGEST]).encode("utf-8", "surrogatepass")


@cache
def _dummy() -> str:
    return _hasher.hash("nobody has this password")


def _verify(password_hash: str | None, password: str) -> bool:
    try:
        right = _hasher.verify(password_hash or _dummy(), _bytes(password))
    except (VerificationError, InvalidHashError):
        return False
    return right and password_hash is not None and len(password) <= LONGEST


@cache
def _breached() -> frozenset[str]:
    """The most used passwords of known breaches, offline."""
    return frozenset(FREQUENCY_LISTS["passwords"])


def _problems(password: str, words: tuple[str, ...]) -> list[str]:
    if len(password) < SHORTEST:
        return [f"Use at least {SHORTEST} characters; this one has {len(password)}. A sentence works well."]
    if len(password) > LONGEST:
        return [f"Use at most {LONGEST:,} characters; this one has {len(password):,}."]
    plain = unicodedata.normalize("NFKC", password).casefold()
    if plain in _breached() or plain.strip("0123456789!?.,-_ #$*@") in _breached():
        return ["This password is in lists of stolen passwords. Choose another one."]
    known = {part for word in (*words, *ALWAYS_KNOWN) for part in _parts(word)}
    if found := sorted(part for part in known if part in plain):
        return [f"Leave out “{found[0]}”: whoever knows your name or organisation would try it."]
    judged = zxcvbn(plain[:JUDGED], user_inputs=sorted(known), max_length=JUDGED)
    if judged["score"] >= LEAST_SCORE:
        return []
    advice = judged["feedback"]["warning"] or "This is easy to guess."
    return [f"{advice.rstrip('.')}. Add a few uncommon words."]


def _parts(word: str) -> set[str]:
    text = "".join(one if one.isalnum() else " " for one in unicodedata.normalize("NFKC", word).casefold())
    return {part for part in text.split() if len(part) >= SHORTEST_WORD}
