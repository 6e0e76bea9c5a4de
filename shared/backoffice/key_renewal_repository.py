"""SQL of the renewal of data keys: what is done, and sealed columns of tenants' tables."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

LIST_RENEWED = sa.text("select subject from renewed_key where kek_id = :kek_id")
ADD_RENEWED = sa.text("""
    insert into renewed_key (subject, kek_id) values (:subject, :kek_id)
    on conflict (subject) do update set kek_id = excluded.kek_id, renewed_at = now()
""")
DELETE_RENEWED = sa.text("delete from renewed_key")


async def list_renewed(session: AsyncSession, kek_id: int) -> set[str]:
    """What a renewal under this master key that has not ended yet has done."""
    connection = await session.connection()
    return set((await connection.execute(LIST_RENEWED, {"kek_id": kek_id})).scalars())


async def add_renewed(session: AsyncSession, subject: str, kek_id: int) -> None:
    connection = await session.connection()
    await connection.execute(ADD_RENEWED, {"subject": subject, "kek_id": kek_id})


async def delete_renewed(session: AsyncSession) -> None:
    connection = await session.connection()
    await connection.execute(DELETE_RENEWED)


async def reseal_column(
    session: AsyncSession, tenant_id: str, table: str, column: str, reseal: Callable[[bytes, str], bytes]
) -> int:
    """Replace each value of a sealed column of this tenant. `reseal` gets the value and the id of its row."""
    rows = sa.table(table, sa.column("tenant_id"), sa.column("id"), sa.column(column, sa.LargeBinary))
    is_sealed = (rows.c.tenant_id == tenant_id) & rows.c[column].is_not(None)
    connection = await session.connection()
    select = sa.select(rows.c.id, rows.c[column]).where(is_sealed).with_for_update(key_share=True)
    values = (await connection.execute(select)).all()
    key = sa.tuple_(rows.c.tenant_id, rows.c.id)
    for row_id, value in values:
        update = sa.update(rows).where(key == sa.tuple_(sa.literal(tenant_id), sa.literal(row_id)))
        await connection.execute(update.values({column: reseal(bytes(value), row_id)}))
    return len(values)
