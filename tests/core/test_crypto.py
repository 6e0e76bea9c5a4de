"""Sealed bytes open only in their own place; signed links are valid only for their purpose."""

import base64
import hmac
import os
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st

from shared.core import crypto
from shared.core.config import ConfigurationError, settings

PLACE = ("ten_acme", "secret.sealed", "row_1")
DEK = b"d" * 32


def build_master_keys(*numbers: int) -> str:
    return ",".join(f"{number}:{base64.b64encode(bytes([number]) * 32).decode()}" for number in numbers)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("BULKHEAD_MASTER_KEYS", build_master_keys(1))
    settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    settings.cache_clear()


@given(st.binary(max_size=300))
def test_sealed_bytes_open_in_their_own_place(plain: bytes) -> None:
    blob = crypto.seal(DEK, plain, *PLACE)
    assert crypto.open_sealed(DEK, blob, *PLACE) == plain
    assert blob != crypto.seal(DEK, plain, *PLACE)


@pytest.mark.parametrize("part", range(3), ids=["tenant", "field", "row"])
def test_sealed_bytes_do_not_open_in_another_place(part: int) -> None:
    blob = crypto.seal(DEK, b"secret", *PLACE)
    moved = [*PLACE]
    moved[part] += "x"
    with pytest.raises(crypto.DecryptionError):
        crypto.open_sealed(DEK, blob, *moved)


def test_sealed_bytes_do_not_open_with_another_key_or_when_changed() -> None:
    blob = crypto.seal(DEK, b"secret", *PLACE)
    with pytest.raises(crypto.DecryptionError):
        crypto.open_sealed(b"e" * 32, blob, *PLACE)
    for place in range(len(blob)):
        spoilt = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
        with pytest.raises(crypto.DecryptionError):
            crypto.open_sealed(DEK, spoilt, *PLACE)


@given(st.binary(max_size=60))
def test_foreign_bytes_do_not_open(blob: bytes) -> None:
    with pytest.raises(crypto.DecryptionError):
        crypto.open_sealed(DEK, blob, *PLACE)


def test_place_with_a_separator_is_refused() -> None:
    with pytest.raises(ValueError, match="separator"):
        crypto.seal(DEK, b"secret", "ten_acme|secret.sealed", "x", "row_1")


def test_data_key_is_rewrapped_without_changing(environment: pytest.MonkeyPatch) -> None:
    old = crypto.new_dek()
    plain = crypto.unwrap_dek(old)
    environment.setenv("BULKHEAD_MASTER_KEYS", build_master_keys(2, 1))
    settings.cache_clear()
    new = crypto.rewrap_dek(old)
    assert (old.kek_id, new.kek_id) == (1, 2)
    assert crypto.unwrap_dek(new) == crypto.unwrap_dek(old) == plain
    environment.setenv("BULKHEAD_MASTER_KEYS", build_master_keys(2))
    settings.cache_clear()
    assert crypto.unwrap_dek(new) == plain
    with pytest.raises(ConfigurationError, match="lacks key 1"):
        crypto.unwrap_dek(old)


def test_data_key_does_not_open_with_another_master_key_of_the_same_number(
    environment: pytest.MonkeyPatch,
) -> None:
    made = crypto.new_dek()
    environment.setenv("BULKHEAD_MASTER_KEYS", "1:" + base64.b64encode(os.urandom(32)).decode())
    settings.cache_clear()
    with pytest.raises(crypto.DecryptionError):
        crypto.unwrap_dek(made)


def test_master_key_itself_neither_wraps_nor_signs(environment: pytest.MonkeyPatch) -> None:
    master_key = settings().load_master_keys()[1]
    with pytest.raises(InvalidUnwrap):
        aes_key_unwrap(master_key, crypto.new_dek().wrapped)
    assert crypto.sign("verify", "tok_1") != sign_as_earlier_version(master_key, "verify", "tok_1")


def test_data_key_of_an_earlier_version_opens_and_is_rewrapped(environment: pytest.MonkeyPatch) -> None:
    plain = os.urandom(32)
    old = crypto.WrappedKey(1, aes_key_wrap(settings().load_master_keys()[1], plain))
    assert crypto.unwrap_dek(old) == plain
    assert crypto.needs_rewrap(old)
    new = crypto.rewrap_dek(old)
    assert crypto.unwrap_dek(new) == plain
    assert not crypto.needs_rewrap(new)


def test_link_of_an_earlier_version_is_valid(environment: pytest.MonkeyPatch) -> None:
    link = sign_as_earlier_version(settings().load_master_keys()[1], "verify", "tok_1")
    assert crypto.unsign("verify", link, 1) == ("tok_1",)


def sign_as_earlier_version(master_key: bytes, purpose: str, part: str) -> str:
    mac = hmac.digest(master_key, b"\x00".join([b"bulkhead-link", purpose.encode(), part.encode()]), "sha256")
    return f"{part}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_wrapping_and_links_keep_their_derivation() -> None:
    """Stored keys and links in mails depend on it."""
    digests = [
        crypto.derive_key(bytes(32), purpose).hex()[:16] for purpose in (crypto.WRAPPING, crypto.LINKS)
    ]
    assert digests == ["517cd0b50e16b3c1", "6a050fdebd18bc60"]


def test_signed_link_is_valid_for_its_purpose_and_content_only(environment: pytest.MonkeyPatch) -> None:
    signed = crypto.sign("verify", "tok_1", "2")
    assert crypto.unsign("verify", signed, 2) == ("tok_1", "2")
    mac = signed.rpartition(".")[2]
    for purpose, text, count in (
        ("reset", signed, 2),
        ("verify", f"tok_2.2.{mac}", 2),
        ("verify", f"tok_1.3.{mac}", 2),
        ("verify", f"tok_1.{mac}", 1),
        ("verify", f"tok_1.2.{mac}", 1),
        ("verify", f"tok_1.2.{mac}x", 2),
        ("verify", "tok_1.2.", 2),
        ("verify", "", 2),
    ):
        with pytest.raises(crypto.BadSignature):
            crypto.unsign(purpose, text, count)


def test_signed_link_is_valid_after_a_rotation(environment: pytest.MonkeyPatch) -> None:
    signed = crypto.sign("verify", "tok_1")
    environment.setenv("BULKHEAD_MASTER_KEYS", build_master_keys(2, 1))
    settings.cache_clear()
    assert crypto.unsign("verify", signed, 1) == ("tok_1",)
    assert crypto.sign("verify", "tok_1") != signed


@given(st.text(max_size=200))
def test_unsign_refuses_any_unsigned_text(text: str) -> None:
    with pytest.raises(crypto.BadSignature):
        crypto.unsign("verify", text, text.count("."))
