"""The text of an API key: `bk_live_`, its organisation, and 256 random bits.

The organisation in the text is a claim: it says whose rows are read to find the key, and proves nothing.
"""

import re
import secrets
import string
from typing import NamedTuple

from shared.core import crypto
from shared.core.ids import is_id

LIVE_PREFIX = "bk_live_"
SECRET_LENGTH = 43  # of 62 letters and digits: 256 bits
HINT_LENGTH = 4
ALPHABET = string.ascii_letters + string.digits
_PATTERN = re.compile(rf"{LIVE_PREFIX}(?P<tenant>[a-z0-9_]{{1,40}})_[A-Za-z0-9]{{{SECRET_LENGTH}}}")


class KeyText(NamedTuple):
    text: str
    secret_hash: str
    hint: str  # for lists: `bk_live_…Q7xA`


class ClaimedKey(NamedTuple):
    tenant_id: str
    secret_hash: str


def new_key_text(tenant_id: str) -> KeyText:
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    text = f"{LIVE_PREFIX}{tenant_id.removeprefix('ten_')}_{secret}"
    return KeyText(text, crypto.hash_token(text), f"{LIVE_PREFIX}…{secret[-HINT_LENGTH:]}")


def parse_key_text(text: str) -> ClaimedKey | None:
    """None for a text that can be no key."""
    match = _PATTERN.fullmatch(text)
    tenant_id = f"ten_{match['tenant']}" if match else ""
    return ClaimedKey(tenant_id, crypto.hash_token(text)) if is_id("ten", tenant_id) else None
