"""The text of BULKHEAD_MASTER_KEYS: read into keys, and judged for what no random key looks like."""

import base64
import itertools
import re
from collections.abc import Mapping

KEY_LENGTH = 32  # bytes
# Of 32 random bytes about 30 are different, and so are about 30 of the steps between them. Fewer than this
# happens once in more than 10^12 keys.
MIN_DIFFERENT_BYTES, MIN_DIFFERENT_STEPS = 20, 16
FORMAT = "must be a list such as '2:<base64 of 32 bytes>,1:<…>', newest first, each number once"
HOW_TO_MAKE = "`openssl rand -base64 32` makes one"


def parse_master_keys(text: str) -> dict[int, bytes]:
    """Keys by their number, newest first. Raises ValueError, which never holds the text."""
    keys_by_id: dict[int, bytes] = {}
    for part in text.split(","):
        number, _, encoded = part.strip().partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if not re.fullmatch("[0-9]{1,9}", number) or len(key) != KEY_LENGTH or int(number) in keys_by_id:
            raise ValueError(f"{FORMAT}. {HOW_TO_MAKE}")
        keys_by_id[int(number)] = key
    return keys_by_id


def find_master_key_problems(keys_by_id: Mapping[int, bytes]) -> list[str]:
    """What makes keys unfit for production, one sentence each; without the keys."""
    problems = [
        f"BULKHEAD_MASTER_KEYS: key {number} is no random key, so that it can be guessed. Replace it: {HOW_TO_MAKE}."
        for number, key in keys_by_id.items()
        if not _looks_random(key)
    ]
    numbers_by_key: dict[bytes, list[int]] = {}
    for number, key in keys_by_id.items():
        numbers_by_key.setdefault(key, []).append(number)
    problems += [
        f"BULKHEAD_MASTER_KEYS: keys {' and '.join(map(str, numbers))} are the same, so that rotation changes nothing."
        f" Make a new one: {HOW_TO_MAKE}."
        for numbers in numbers_by_key.values()
        if len(numbers) > 1
    ]
    return problems


def _looks_random(key: bytes) -> bool:
    """False for one byte repeated, patterns, counting bytes, and text such as a passphrase or hexadecimal digits."""
    steps = {(after - before) % 256 for before, after in itertools.pairwise(key)}
    is_text = key.isascii() and key.decode("ascii").isprintable()
    return len(set(key)) >= MIN_DIFFERENT_BYTES and len(steps) >= MIN_DIFFERENT_STEPS and not is_text
