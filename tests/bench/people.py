"""Two thousand people per tenant, the same in every run: fifty of every surname, so that each fills a page of fifty.

Written by SQL as superuser with triggers and foreign keys off. These are rows to be read, not acts to be believed:
services would take hours for a million of them.
"""

from collections.abc import Sequence
from typing import Any

import psycopg

MEMBERS, PAGE, HEAVY_PAGE = 2_000, 50, 1_000
FIRST = (
    "Ada Alba Amir Anton Aria Bela Bruno Cara Cem Chloe Cora Dana Dario Edda Elif Emil Enzo Fanny Finn Greta Hana Hugo "
    "Ida Ines Ivo Jana Jonas Juno Karl Lea Leo Lina Mara Milo Nadia Nils Nora Olaf Paul Pia Rosa Samir Sina Theo Tilda "
    "Udo Vera Viktor Yara Zeno"
).split()
LAST = (
    "Abbott Baxter Calloway Drummond Eastwick Fairfax Gallagher Hathaway Iverson Jessop Kensington Lockhart Merriweather "
    "Northcott Oakenfold Pemberton Quigley Ravenscroft Silverman Thackeray Underhill Vandermeer Whitlock Xanthos "
    "Yarborough Zimmerman Ashdown Blackwood Cromwell Dunsmore Ellsworth Featherstone Goldsmith Huxtable Ironside "
    "Jefferson Kirkbride Longfellow Montague Nightingale"
).split()

PEOPLE = """
insert into "user" (id, email, name, email_verified_at)
select 'usr_b' || lpad((%(start)s::int + number)::text, 9, '0'),
       lower(person.first || '.' || person.last) || '@' || person.place || '.test',
       person.first || ' ' || person.last, now()
from generate_series(0, %(tenants)s::int * %(each)s::int - 1) as number,
lateral (select (%(first)s::text[])[1 + number / %(tenants)s::int %% cardinality(%(first)s::text[])] as first,
                (%(last)s::text[])[1 + number / %(tenants)s::int / cardinality(%(first)s::text[])] as last,
                'p' || %(start)s::int + number %% %(tenants)s::int as place) as person
"""
MEMBERSHIPS = """
insert into membership (
    tenant_id, id, user_id, role, state, ended_at, created_at, seen_at, name_key, search_text
)
select (%(ids)s::text[])[1 + number %% %(tenants)s::int],
       'mem_b' || lpad((%(start)s::int + number)::text, 9, '0'), 'usr_b' || lpad((%(start)s::int + number)::text, 9, '0'),
       (array['admin', 'billing', 'member', 'viewer'])[1 + number * 7 %% 4],
       case when number %% 23 = 0 then 'deactivated' else 'active' end,
       case when number %% 23 = 0 then now() end,
       now() - make_interval(mins => 1000000 + number %% 100000),
       case when number %% 5 > 0 then now() - make_interval(mins => number * 13 %% 40000) end,
       lower(person.name), lower(person.name || ' ' || person.email)
from generate_series(0, %(tenants)s::int * %(each)s::int - 1) as number
join "user" person on person.id = 'usr_b' || lpad((%(start)s::int + number)::text, 9, '0')
"""


def fill(connection: psycopg.Connection, tenants: Sequence[str], each: int = MEMBERS, start: int = 0) -> None:
    """The tenants are there already. Their rows lie mixed on the disk, as those of tenants that grow together.

    `start`: how many people were filled in before. A tenant that is named twice has each name twice.
    """
    values: dict[str, Any] = {"tenants": len(tenants), "each": each, "start": start}
    values |= {"ids": list(tenants), "first": FIRST, "last": LAST}
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(PEOPLE, values)
        connection.execute(MEMBERSHIPS, values)
