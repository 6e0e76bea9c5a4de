"""The text of an API key: `bk_live_` or `bk_test_`, its organisation, and 256 random bits; of an operator, `bk_op_` and the bits.

The organisation in the text is a claim: it says whose rows are read to find the key, and proves nothing.
"""

import re
import secrets
import string
from typing import NamedTuple

from shared.core import crypto
from shared.core.ids import is_id

LIVE_PREFIX, TEST_PREFIX, OPERATOR_PREFIX = "bk_live_", "bk_test_", "bk_op_"
SECRET_LENGTH = 43  # of 62 letters and digits: 256 bits
HINT_LENGTH = 4
ALPHABET = string.ascii_letters + string.digits
_OPERATOR_PATTERN = re.compile(rf"{OPERATOR_PREFIX}[A-Za-z0-9]{{{SECRET_LENGTH}}}")
_PATTERN = re.compile(rf"bk_(?P<mode>live|test)_(?P<tenant>[a-z0-9_]{{1,40}})_[A-Za-z0-9]{{{SECRET_LENGTH}}}")


class KeyText(NamedTuple):
    text: str
    secret_hash: str
    hint: str  # for lists: `bk_live_…Q7xA`


class ClaimedKey(NamedTuple):
    tenant_id: str
    secret_hash: str
    is_test: bool  # it opens test tenants only


def new_key_text(tenant_id: str, *, is_test: bool) -> KeyText:
    prefix = TEST_PREFIX if is_test else LIVE_PREFIX
    return _build_text(f"{prefix}{tenant_id.removeprefix('ten_')}_", prefix)


def new_operator_key_text() -> KeyText:
    return _build_text(OPERATOR_PREFIX, OPERATOR_PREFIX)


def _build_text(beginning: str, prefix: str) -> KeyText:
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    text = f"{beginning}{secret}"
    return KeyText(text, crypto.hash_token(text), f"{prefix}…{secret[-HINT_LENGTH:]}")


def parse_key_text(text: str) -> ClaimedKey | None:
    """None for a text that can be no key."""
    match = _PATTERN.fullmatch(text)
    tenant_id = f"ten_{match['tenant']}" if match else ""
    if match is None or not is_id("ten", tenant_id):
        return None
    return ClaimedKey(tenant_id, crypto.hash_token(text), match["mode"] == "test")


def hash_operator_key_text(text: str) -> str:
    """ "" for a text that can be no key of an operator, such as a tenant's key."""
    return crypto.hash_token(text) if _OPERATOR_PATTERN.fullmatch(text) else ""
