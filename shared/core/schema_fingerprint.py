"""What a database's schema looks like, object by object, and whether the published migrations made it.

A revision's number does not tell which content of the migration made the schema. Its objects do.
"""

import json
from pathlib import Path

from sqlalchemy import Connection

from shared.core.config import ConfigurationError

LANDED = Path(__file__).parents[2] / "alembic" / "landed.json"
SHOWN = 5  # names of objects in a message

# One row per object: what it is called, and the digest of its definition. A table carries everything that hangs on it
# but its indexes, so that an index which an administrator added is no difference. Grants count where they are to our
# roles or to everybody. Left out are parentheses, which a dump and its restoration change, and NOT NULL as a constraint,
# which only newer servers list, and partitions, which come and go with time.
OBJECTS = """
with grants as (
    select c.oid, concat_ws(' ', 'grant', a.privilege_type, a.grantee::regrole, a.is_grantable) as line
    from pg_class c, aclexplode(c.relacl) a
    where c.relkind in ('r', 'p', 'S') and a.grantee <> c.relowner
        and (a.grantee = 0 or starts_with(a.grantee::regrole::text, 'bulkhead_'))
    union all
    select c.attrelid, concat_ws(' ', 'grant', a.privilege_type, c.attname, a.grantee::regrole, a.is_grantable)
    from pg_attribute c, aclexplode(c.attacl) a
    where c.attnum > 0 and not c.attisdropped and (a.grantee = 0 or starts_with(a.grantee::regrole::text, 'bulkhead_'))
), relations as (
    select oid, relname, relkind, concat_ws(' ',
        case relkind when 'S' then 'sequence' when 'c' then 'type' else 'table' end, relname) as object
    from pg_class c
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'S', 'c') and not relispartition
        and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
), lines (object, line) as (
    select object, concat_ws(' ', 'column', attname, format_type(atttypid, atttypmod),
        attcollation::regcollation, attnotnull, attidentity, attgenerated, translate(pg_get_expr(adbin, adrelid), '()', ''))
    from relations r join pg_attribute a on a.attrelid = r.oid and attnum > 0 and not attisdropped
    left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where relkind <> 'S'
    union all
    select object, concat_ws(' ', conname, translate(pg_get_constraintdef(c.oid), '()', ''))
    from relations r join pg_constraint c on c.conrelid = r.oid where contype in ('c', 'f', 'p', 'u', 'x')
    union all
    select object, concat_ws(' ', 'row security', relrowsecurity, relforcerowsecurity)
    from relations r join pg_class c using (oid)
    union all
    select object, concat_ws(' ', 'policy', policyname, permissive, roles, cmd, translate(qual, '()', ''), translate(with_check, '()', ''))
    from relations r join pg_policies p on p.schemaname = 'public' and p.tablename = r.relname
    union all
    select object, concat_ws(' ', translate(pg_get_triggerdef(t.oid), '()', ''), tgenabled)
    from relations r join pg_trigger t on t.tgrelid = r.oid where not tgisinternal
    union all
    select object, line from relations join grants using (oid)
    union all
    select object, concat_ws(' ', seqtypid::regtype, seqstart, seqincrement, seqcycle)
    from relations r join pg_sequence s on s.seqrelid = r.oid
    union all
    select concat_ws(' ', 'index', relname), translate(pg_get_indexdef(c.oid), '()', '')
    from pg_class c where relkind = 'i' and relnamespace = 'public'::regnamespace and not relispartition
        and not exists (select from pg_constraint where conindid = c.oid)
    union all
    select concat_ws(' ', 'function', p.oid::regprocedure), concat_ws(' ', pg_get_function_result(p.oid),
        lanname, prosecdef, provolatile, proisstrict, proconfig, prosrc, (
            select string_agg(a.grantee::regrole::text, ',' order by a.grantee::regrole::text collate "C")
            from aclexplode(coalesce(proacl, acldefault('f', proowner))) a
            where a.grantee = 0 or starts_with(a.grantee::regrole::text, 'bulkhead_') and a.grantee <> proowner))
    from pg_proc p join pg_language l on l.oid = prolang
    where pronamespace = 'public'::regnamespace
        and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
    union all
    select concat_ws(' ', 'type', typname), string_agg(enumlabel, ',' order by enumsortorder)
    from pg_type t join pg_enum e on e.enumtypid = t.oid where typnamespace = 'public'::regnamespace group by typname
)
select object, left(encode(sha256(convert_to(string_agg(line, E'\\n' order by line collate "C"), 'UTF8')), 'hex'), 16) as digest
from lines group by object order by object collate "C"
"""


def describe_schema(connection: Connection) -> dict[str, str]:
    """Digest by object, such as "table invitation". Ends the connection's transaction."""
    connection.exec_driver_sql("set local search_path = public")  # or definitions name the schema, or not
    rows = connection.exec_driver_sql(OBJECTS).all()
    connection.rollback()
    return {row.object: row.digest for row in rows}


def list_differences(connection: Connection, revision: str | None) -> list[str]:
    """Objects whose definition differs from what the landed migration `revision` leaves. Ends the transaction.

    A revision that has not landed yet is not compared. Objects that no migration made do not count.
    """
    landed = json.loads(LANDED.read_text())["migrations"].get(revision)
    if landed is None:
        return []
    objects = describe_schema(connection)
    return [name for name, digest in landed["schema"].items() if objects.get(name) != digest]


def require_published(connection: Connection, revision: str | None) -> None:
    """Raises ConfigurationError where an earlier, unpublished content of migration `revision` made this database."""
    different = list_differences(connection, revision)
    if different:
        names = ", ".join(different[:SHOWN])
        more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
        raise ConfigurationError(
            f"the database was made by an unpublished version of migration {revision}, or its schema was changed by"
            f" hand. These objects differ from the published migration: {names}{more}. Nothing was changed now."
            " In development, make a new database: remove the folder postgres in the data directory, or drop the"
            " database that DATABASE_URL names. To keep the data, give these objects the definitions of the"
            " published migration, then migrate again."
        )
