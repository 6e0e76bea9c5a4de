"""Sealing secrets at rest, signing links, hashing tokens.

One data key (DEK) per tenant, wrapped by a master key (KEK). Sealed bytes are bound to tenant, field and row:
moved anywhere else they do not open. Rotating the master key rewraps data keys and touches no data.

A master key is never used itself: each purpose has a key that derives from it. Versions up to November 2026 wrapped data
keys and signed links with the master key; both are still read, until `bulkhead rotate-keys` has wrapped the data keys again.
"""

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from functools import cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from shared.core.config import ConfigurationError, settings

FORMAT_VERSION = b"\x01"
# Stored keys and signatures depend on these words and on "job" of `shared.jobs.signatures`: they never change.
WRAPPING, LINKS = "data keys", "links"
NONCE_LENGTH, TAG_LENGTH = 12, 16  # bytes


class BadSignature(Exception):
    """A link that we did not make, or not for this purpose."""


class DecryptionError(Exception):
    """Sealed for another tenant, field or row, or by a key we no longer have."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    kek_id: int
    wrapped: bytes


def new_token() -> str:
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """For tokens of 256 random bits only: nothing to guess, so no slow hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def get_newest_kek_id() -> int:
    """The number of the master key that wraps new data keys."""
    return next(iter(settings().load_master_keys()))


def new_dek() -> WrappedKey:
    return _wrap_with_newest(AESGCM.generate_key(256))


def unwrap_dek(key: WrappedKey) -> bytes:
    kek = settings().load_master_keys().get(key.kek_id)
    if kek is None:
        raise ConfigurationError(
            f"BULKHEAD_MASTER_KEYS lacks key {key.kek_id}, which wraps existing data keys"
        )
    return unwrap_with(kek, key.wrapped)


def unwrap_with(master_key: bytes, wrapped: bytes) -> bytes:
    """The data key in `wrapped`. Raises DecryptionError where another master key wrapped it."""
    for wrapping_key in (derive_key(master_key, WRAPPING), master_key):
        try:
            return aes_key_unwrap(wrapping_key, wrapped)
        except InvalidUnwrap:
            continue
    raise DecryptionError("this data key was wrapped by another master key of the same number")


def needs_rewrap(key: WrappedKey) -> bool:
    """Whether an older master key wraps this data key, or the newest one itself, as earlier versions did."""
    if key.kek_id != get_newest_kek_id():
        return True
    try:
        aes_key_unwrap(derive_key(settings().load_master_keys()[key.kek_id], WRAPPING), key.wrapped)
    except InvalidUnwrap:
        return True
    return False


def rewrap_dek(key: WrappedKey) -> WrappedKey:
    """The same data key, wrapped with the newest master key."""
    return _wrap_with_newest(unwrap_dek(key))


def _wrap_with_newest(dek: bytes) -> WrappedKey:
    kek_id, master_key = next(iter(settings().load_master_keys().items()))
    return WrappedKey(kek_id, aes_key_wrap(derive_key(master_key, WRAPPING), dek))


def _associated_data(*parts: str) -> bytes:
    if any("|" in part for part in parts):
        raise ValueError("separator in associated data")
    return "|".join(("v1", *parts)).encode()


def seal(dek: bytes, plain: bytes, tenant_id: str, field: str, row_id: str) -> bytes:
    """`field` is "table.column"."""
    nonce = os.urandom(NONCE_LENGTH)
    return (
        FORMAT_VERSION + nonce + AESGCM(dek).encrypt(nonce, plain, _associated_data(tenant_id, field, row_id))
    )


def open_sealed(dek: bytes, blob: bytes, tenant_id: str, field: str, row_id: str) -> bytes:
    """Decrypt bytes that were sealed for this tenant, field and row. Raises DecryptionError for any others."""
    if blob[:1] != FORMAT_VERSION or len(blob) < 1 + NONCE_LENGTH + TAG_LENGTH:
        raise DecryptionError("unknown sealed format")
    nonce, body = blob[1 : 1 + NONCE_LENGTH], blob[1 + NONCE_LENGTH :]
    try:
        return AESGCM(dek).decrypt(nonce, body, _associated_data(tenant_id, field, row_id))
    except InvalidTag as problem:
        raise DecryptionError("sealed for another tenant, field or row") from problem


def reseal(blob: bytes, keys: tuple[bytes, bytes], tenant_id: str, field: str, row_id: str) -> bytes:
    """What the first data key sealed, sealed with the second one. Raises DecryptionError."""
    old_key, new_key = keys
    return seal(new_key, open_sealed(old_key, blob, tenant_id, field, row_id), tenant_id, field, row_id)


def _compute_mac(key: bytes, purpose: str, parts: tuple[str, ...]) -> str:
    message = b"\x00".join(part.encode() for part in ("bulkhead-link", purpose, *parts))
    return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).rstrip(b"=").decode()


@cache
def derive_key(master_key: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose (RFC 5869), so that a signature for one is none for another."""
    info = f"bulkhead {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(master_key)


def compute_signature(purpose: str, message: bytes) -> str:
    """An HMAC by the newest master key. It shows that a process with our keys wrote the message."""
    master_key = next(iter(settings().load_master_keys().values()))
    return hmac.digest(derive_key(master_key, purpose), message, "sha256").hex()


def is_signature_valid(purpose: str, message: bytes, signature: str) -> bool:
    """True for a signature by any of our master keys, for this purpose and message."""
    return any(
        hmac.compare_digest(
            hmac.digest(derive_key(master_key, purpose), message, "sha256").hex().encode(),
            signature.encode(),
        )
        for master_key in settings().load_master_keys().values()
    )


def sign(purpose: str, *parts: str) -> str:
    """A text for links and cookies: the parts, readable, and a signature over purpose and parts.

    Deterministic, so that a job can make the link again and the database never holds it. Use once and expiry are
    kept by the row that the parts name.
    """
    if any("." in part or "\x00" in part for part in parts):
        raise ValueError("separator in a signed part")
    master_key = next(iter(settings().load_master_keys().values()))
    return ".".join((*parts, _compute_mac(derive_key(master_key, LINKS), purpose, parts)))


def unsign(purpose: str, text: str, count: int) -> tuple[str, ...]:
    """The parts, signed for this purpose by any of our keys. Raises BadSignature.

    Links of earlier versions are signed with the master key itself. The last ones expire 7 days after the update.
    """
    *parts, mac = text.split(".")
    if len(parts) == count and text.isascii() and "\x00" not in text:
        for master_key in settings().load_master_keys().values():
            for key in (derive_key(master_key, LINKS), master_key):
                if hmac.compare_digest(mac, _compute_mac(key, purpose, tuple(parts))):
                    return tuple(parts)
    raise BadSignature(purpose)
