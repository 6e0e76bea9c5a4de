"""SQL of `resolution`: whose a slug or a host is."""

from shared.core import db

FIND_CLAIMED_TENANT = "select find_claimed_tenant(%s, %s)"


async def find_claimed_tenant(*, slug: str = "", host: str = "") -> str:
    """The id of the tenant with this slug, present or kept, or with this verified host; "" without one."""
    async with db.statement_connection() as connection:
        row = await (await connection.execute(FIND_CLAIMED_TENANT, (slug, host))).fetchone()
    return str(row[0]) if row else ""
