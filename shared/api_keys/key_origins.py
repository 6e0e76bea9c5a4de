"""Whether any working key lists an origin, for requests that carry no key yet."""

from shared.core import db

IS_LISTED = "select is_origin_of_a_key(%s)"


async def is_listed(origin: str) -> bool:
    """Tells nothing about whose key it is."""
    async with db.statement_connection() as connection:
        row = await (await connection.execute(IS_LISTED, (origin,))).fetchone()
    return bool(row and row[0])
