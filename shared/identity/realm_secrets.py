"""Seal what belongs to a realm and to no tenant, with the realm's data key. `encryption_keys` seals it again after a renewal."""

from sqlmodel.ext.asyncio.session import AsyncSession

from shared.core import crypto
from shared.identity import repository
from shared.identity.realms import Realm


async def seal(session: AsyncSession, realm: Realm, text: str, *, field: str, row_id: str) -> bytes:
    """`field`: "table.column". No renewal replaces the key before the transaction ends."""
    key = await load_key(session, realm, is_sealing=True)
    return crypto.seal(key, text.encode(), realm.name, field, row_id)


async def unseal(session: AsyncSession, realm: Realm, sealed: bytes, *, field: str, row_id: str) -> str:
    """Raises DecryptionError for a value of another realm, field or row."""
    return crypto.open_sealed(await load_key(session, realm), sealed, realm.name, field, row_id).decode()


async def load_key(session: AsyncSession, realm: Realm, *, is_sealing: bool = False) -> bytes:
    """The realm's data key, created at its first use."""
    row = await repository.get_realm_key(session, realm, is_sealing=is_sealing)
    if row is None:
        new_key = crypto.new_dek()
        await repository.add_realm_key(session, realm, new_key.kek_id, new_key.wrapped)
        row = await repository.get_realm_key(session, realm, is_sealing=is_sealing)
    assert row is not None
    return crypto.unwrap_dek(crypto.WrappedKey(row.kek_id, row.wrapped))
