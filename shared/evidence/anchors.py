"""Anchors: number and hash of the end of a chain, signed, in the file storage and so outside the database.

Whoever can change the database can rewrite a whole chain. They can't rewrite an anchor: it is signed with a key that the
database does not have. The storage keeps the newest anchor of each chain; a bucket with versions keeps the earlier ones.
"""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.core import installation_keys
from shared.files import storage_registry
from shared.files.incoming import open_incoming
from shared.files.storage import ANCHORS, OPERATORS, AnchorPath, MissingFile

ANCHOR_FORMAT = "bulkhead-audit-anchor/1"
MAX_BYTES = 16_384


class ForgedAnchor(Exception):
    """The file is no anchor of this chain, signed with one of our keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """`chain`: the id of a tenant, or `operators`. `text`: of the signed file."""

    chain: str
    number: int
    hash: bytes
    at: datetime
    text: str


def build_anchor(chain: str, number: int, chain_hash: bytes, *, at: datetime) -> Anchor:
    """Signed with the newest key."""
    statement = json.dumps(
        {
            "format": ANCHOR_FORMAT,
            "chain": chain,
            "number": number,
            "hash": chain_hash.hex(),
            "at": at.astimezone(UTC).isoformat(),
        },
        sort_keys=True,
    )
    signature = installation_keys.sign(statement)
    text = json.dumps(
        {"statement": statement, "signature": signature.signature, "public_key": signature.public_key}
    )
    return Anchor(chain=chain, number=number, hash=chain_hash, at=at, text=text)


async def write_anchor(anchor: Anchor) -> None:
    """Store the anchor of its chain, in the place of the former one. Raises StorageUnavailable."""
    path = _get_path(anchor.chain)
    with open_incoming(MAX_BYTES) as incoming:
        await asyncio.to_thread(incoming.write, anchor.text.encode())
        sha256 = await asyncio.to_thread(incoming.finish)
        await storage_registry.get_storage().put(path, incoming.path, sha256=sha256)


async def read_anchor(chain: str) -> Anchor | None:
    """The newest one; None where there is none. Raises ForgedAnchor, StorageUnavailable."""
    content = bytearray()
    try:
        async for chunk in storage_registry.get_storage().read(_get_path(chain)):
            content += chunk
            if len(content) > MAX_BYTES:
                raise ForgedAnchor(chain)
    except MissingFile:
        return None
    return _parse(chain, bytes(content))


def _parse(chain: str, content: bytes) -> Anchor:
    """Raises ForgedAnchor."""
    try:
        text = content.decode()
        signed = json.loads(text)
        if not installation_keys.is_signed_by_us(signed["statement"], signed["signature"]):
            raise ForgedAnchor(chain)
        statement = json.loads(signed["statement"])
        if (statement["format"], statement["chain"]) != (ANCHOR_FORMAT, chain):
            raise ForgedAnchor(chain)
        return Anchor(
            chain=chain,
            number=int(statement["number"]),
            hash=bytes.fromhex(statement["hash"]),
            at=datetime.fromisoformat(statement["at"]),
            text=text,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise ForgedAnchor(chain) from problem


def _get_path(chain: str) -> AnchorPath:
    """Raises ValueError for anything but a tenant's id and `OPERATORS`."""
    return AnchorPath(ANCHORS, OPERATORS if chain == OPERATORS else chain)
