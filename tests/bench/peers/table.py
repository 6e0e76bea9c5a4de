"""What every peer reads: the same database, role, sign-in and list as our members page, in plain SQL.

Like ours it looks at the session, then at the membership, then at the list, anew at every event.
"""

import hashlib
import os
from functools import cache
from typing import Any, NamedTuple

from psycopg.rows import namedtuple_row
from psycopg_pool import ConnectionPool

HEADINGS = ("Name", "Email", "Role", "Status", "Last active", "Joined")
DEBOUNCE = 200  # milliseconds after the last key, as on our page
COOKIE = "__Host-bulkhead-tenant"
SESSION = """
select user_id from find_user_session(%s) join "user" u on u.id = user_id where disabled_at is null
"""
MEMBERSHIP = "select 1 from membership where tenant_id = %s and user_id = %s and state = 'active'"
LIST = """
select u.name, u.email, m.role, m.state, m.seen_at, m.created_at
from membership m join "user" u on u.id = m.user_id
where m.tenant_id = %(tenant)s and m.state <> 'removed'
and (%(query)s = '' or strpos(lower(u.name) || ' ' || u.email, lower(%(query)s)) > 0)
order by lower(u.name) {direction}, m.id {direction} limit 50
"""


class Row(NamedTuple):
    name: str
    email: str
    role: str
    status: str
    seen: str
    joined: str


class NotSignedIn(Exception):
    pass


@cache
def pool() -> ConnectionPool[Any]:
    connection_pool: ConnectionPool[Any] = ConnectionPool(
        os.environ["BENCH_DATABASE"],
        min_size=2,
        max_size=10,
        kwargs={"row_factory": namedtuple_row},
        open=True,
    )
    connection_pool.wait()
    return connection_pool


def rows(cookie: str, query: str = "", *, descending: bool = False) -> list[Row]:
    """`cookie`: the value of COOKIE. Raises NotSignedIn."""
    tenant = os.environ["BENCH_TENANT"]
    with pool().connection() as connection:
        session = connection.execute(SESSION, [hashlib.sha256(cookie.encode()).hexdigest()]).fetchone()
        if session is None:
            raise NotSignedIn
        connection.execute("select set_config('app.tenant_id', %s, true)", [tenant])
        if connection.execute(MEMBERSHIP, [tenant, session.user_id]).fetchone() is None:
            raise NotSignedIn
        statement = LIST.format(direction="desc" if descending else "asc")
        listed = connection.execute(statement, {"tenant": tenant, "query": query.strip()}).fetchall()
    return [
        Row(
            member.name,
            member.email,
            member.role.capitalize(),
            member.state.capitalize(),
            f"{member.seen_at:%-d %b %Y %H:%M}" if member.seen_at else "Never",
            f"{member.created_at:%-d %b %Y}",
        )
        for member in listed
    ]
