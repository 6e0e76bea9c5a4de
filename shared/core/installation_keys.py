"""The Ed25519 keys with which this installation signs evidence: exports and anchors of the audit log.

They derive from the master keys, which no database holds. The newest signs; the public keys of all are published, so that
what an older one signed verifies as long as its master key is listed.
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.core import crypto
from shared.core.config import settings

PURPOSE = "evidence"  # published keys depend on this word: it never changes
KEY_ID_LENGTH = 16  # hexadecimal digits


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    key_id: str
    public_key: str  # 32 bytes in hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    key_id: str
    public_key: str
    signature: str  # 64 bytes in hexadecimal


def get_signing_key_id() -> str:
    return _describe(_list_keys()[0]).key_id


def sign(text: str) -> Signature:
    """By the newest key."""
    key = _list_keys()[0]
    public = _describe(key)
    return Signature(
        key_id=public.key_id, public_key=public.public_key, signature=key.sign(text.encode()).hex()
    )


def is_signed_by_us(text: str, signature: str) -> bool:
    """True for a signature by any of our keys."""
    try:
        signature_bytes = bytes.fromhex(signature)
    except ValueError:
        return False
    return any(_verifies(key.public_key(), signature_bytes, text.encode()) for key in _list_keys())


def list_public_keys() -> list[PublicKey]:
    """The newest first."""
    return [_describe(key) for key in _list_keys()]


def describe_keys() -> dict[str, object]:
    """The public keys as they are published."""
    return {"algorithm": "Ed25519", "keys": [asdict(key) for key in list_public_keys()]}


def _list_keys() -> list[Ed25519PrivateKey]:
    return [_derive_key(master_key) for master_key in settings().load_master_keys().values()]


@cache
def _derive_key(master_key: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(crypto.derive_key(master_key, PURPOSE))


def _describe(key: Ed25519PrivateKey) -> PublicKey:
    raw = key.public_key().public_bytes_raw()
    return PublicKey(key_id=hashlib.sha256(raw).hexdigest()[:KEY_ID_LENGTH], public_key=raw.hex())


def _verifies(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
