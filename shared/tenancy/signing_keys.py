"""The public keys of customers' issuers, kept in this process for a bounded time. No two issuers share them."""

import asyncio
import json
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from shared.core import log
from shared.core.errors import Unavailable
from shared.tenancy import signing_key_fetch

FRESH_SECONDS = 300.0  # that keys are used without asking again
KEPT_SECONDS = 3_600.0  # that they are used while their issuer doesn't answer
RETRY_SECONDS = 30.0  # between two requests to one issuer, whatever tokens arrive
MAX_ISSUERS, MAX_KEYS = 1_000, 50
# A key of at most 8192 bits, and the small exponents that everybody uses: checking a signature stays cheap.
MIN_RSA_BITS, MAX_RSA_TEXT, MAX_EXPONENT_TEXT = 2_048, 1_400, 6
PUBLIC_MEMBERS = ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")

SigningKey = RSAKey | ECKey | OKPKey


@dataclass
class _PublishedKeys:
    """Of one issuer, as last fetched. Times are monotonic; before the first fetch they are long ago."""

    keys: Sequence[SigningKey] = ()
    fetched_at: float = -math.inf
    asked_at: float = -math.inf
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


_known: OrderedDict[tuple[str, str, str], _PublishedKeys] = OrderedDict()  # tenant, issuer, address


async def find_key(
    tenant_id: str, issuer_id: str, *, url: str, key_id: str, algorithm: str
) -> SigningKey | None:
    """None where the issuer publishes no such key; it is asked once more for an unknown one.

    `key_id`: "" takes the only key that fits. Raises Unavailable while its keys can't be read.
    """
    published = _get_published(tenant_id, issuer_id, url)
    if time.monotonic() - published.fetched_at < FRESH_SECONDS and (
        key := _choose(published.keys, key_id, algorithm)
    ):
        return key
    async with published.lock:
        await _refresh(published, issuer_id, url)
    if time.monotonic() - published.fetched_at > KEPT_SECONDS:
        raise Unavailable(
            "The keys of this token’s issuer can’t be read.",
            "Try again in a minute, or check the issuer’s JWKS address.",
            retry_after=int(RETRY_SECONDS),
        )
    return _choose(published.keys, key_id, algorithm)


def _get_published(tenant_id: str, issuer_id: str, url: str) -> _PublishedKeys:
    place = (tenant_id, issuer_id, url)
    if place not in _known:
        if len(_known) >= MAX_ISSUERS:
            del _known[_find_least_needed()]
        _known[place] = _PublishedKeys()
    _known.move_to_end(place)
    return _known[place]


def _find_least_needed() -> tuple[str, str, str]:
    """The least recent one of the tenant that has most: who has few loses nothing to who has many."""
    counts = Counter(tenant_id for tenant_id, _, _ in _known)
    most = max(counts.values())
    return next(place for place in _known if counts[place[0]] == most)


async def _refresh(published: _PublishedKeys, issuer_id: str, url: str) -> None:
    if time.monotonic() - published.asked_at < RETRY_SECONDS:
        return
    published.asked_at = time.monotonic()
    try:
        published.keys = _read_keys(await signing_key_fetch.fetch(url))
        published.fetched_at = time.monotonic()
    except signing_key_fetch.FetchFailed as problem:
        log.get_tenant_logger(__name__).warning(
            "signing_keys_unreadable", issuer_id=issuer_id, problem=str(problem)
        )


def _read_keys(body: bytes) -> list[SigningKey]:
    """The usable keys of a JWK set. Raises FetchFailed for what is none."""
    try:
        entries = json.loads(body)["keys"]
    except (ValueError, RecursionError, TypeError, KeyError) as problem:
        raise signing_key_fetch.FetchFailed("no JWK set") from problem
    if not isinstance(entries, list):
        raise signing_key_fetch.FetchFailed("no JWK set")
    return [key for entry in entries[:MAX_KEYS] if (key := _read_key(entry)) is not None]


def _read_key(entry: Any) -> SigningKey | None:  # whatever the issuer has sent
    """None for a key of another kind, and for one that is broken, too weak or too large."""
    if not isinstance(entry, dict):
        return None
    public = {name: entry[name] for name in PUBLIC_MEMBERS if name in entry}
    if not all(isinstance(value, str) and len(value) <= MAX_RSA_TEXT for value in public.values()):
        return None
    try:
        if public.get("kty") == "EC":
            return ECKey.import_key(public)
        if public.get("kty") == "OKP":
            return OKPKey.import_key(public)
        if public.get("kty") != "RSA" or len(public.get("e", "")) > MAX_EXPONENT_TEXT:
            return None
        # Before the import, which warns about weak keys: six bits are one character.
        if len(public.get("n", "")) < MIN_RSA_BITS // 6:
            return None
        key = RSAKey.import_key(public)
        return key if key.raw_value.key_size >= MIN_RSA_BITS else None
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _choose(keys: Sequence[SigningKey], key_id: str, algorithm: str) -> SigningKey | None:
    fitting = [key for key in keys if _fits(key, algorithm) and key_id in ("", key.kid)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(key: SigningKey, algorithm: str) -> bool:
    if key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
        return False
    if isinstance(key, RSAKey):
        return algorithm in ("RS256", "PS256")
    curve = {"ES256": "P-256", "EdDSA": "Ed25519"}.get(algorithm)
    return curve is not None and key.curve_name == curve
