"""The template database with unused casts: found, made where it is worth it, and copied for one test process."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
from psycopg import sql

from shared.core.config import settings
from tests.support import casts, database

ROOT = Path(__file__).parents[2]
NAME = "bulkhead_casts_"
FEWEST, MOST = 40, 700  # casts wanted by a process: for fewer no pool is made, more than that it never holds
OLDEST = 6 * 3600  # seconds
BUILDERS = 2  # processes
# Sessions were used a moment ago and end as late as if they had just begun.
REFRESH = """
update user_session set created_at = created_at + age, last_seen_at = last_seen_at + age,
    idle_expires_at = idle_expires_at + age, expires_at = expires_at + age
from (select now() - max(created_at) as age from user_session) newest
"""


def build(name: str, cast_count: int) -> casts.Pool:
    """As `database.build`, with casts in the database that no test has used.

    The pool is empty when there is no template and fewer than FEWEST are wanted; it may be smaller than wanted.
    """
    with database.building() as (connection, template):
        source = _find(connection, template, cast_count)
        database.clone(connection, source or template, name)
    database.use(name)
    if not source:
        return casts.Pool(name, [])
    with psycopg.connect(database.admin_url(name)) as inside:
        inside.execute(REFRESH)
    return casts.Pool.load(name, database.admin_url(name))


def fingerprint(template: str) -> str:
    """What casts are made of: the schema, the product's code, the factories and the key that seals secrets."""
    digest = hashlib.sha256(f"{template} {settings().load_master_keys()}".encode())
    for file in (
        *sorted((ROOT / "shared").rglob("*.py")),
        ROOT / "tests/support/factories.py",
        Path(casts.__file__),
    ):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def _find(connection: psycopg.Connection, template: str, cast_count: int) -> str:
    """The name of a database, "" when there is none and too few casts are wanted to make one."""
    name = f"{NAME}{fingerprint(template)}"
    row = connection.execute(
        "select shobj_description(oid, 'pg_database') from pg_database where datname = %s", [name]
    ).fetchone()
    about = json.loads(row[0]) if row and row[0] else {"casts": 0, "built_at": 0}
    is_young = time.time() - about["built_at"] < OLDEST
    cast_count = min(cast_count, MOST)
    if is_young and about["casts"] >= cast_count * 0.8:
        return name
    if cast_count < FEWEST:
        return name if is_young else ""
    _build(connection, template, name=name, count=cast_count)
    return name


def _build(connection: psycopg.Connection, template: str, *, name: str, count: int) -> None:
    """Replaces every older pool."""
    for (old,) in connection.execute("select datname from pg_database").fetchall():
        if old.startswith(NAME):
            database.drop(old)
    draft = f"{name}_build"  # killed half-way: never taken for a pool
    database.clone(connection, template, draft)
    database.do_not_wait_for_disk(draft)
    url = database.admin_url(draft)
    with psycopg.connect(url) as inside:
        inside.execute(casts.TABLE)
    _fill(url, count)
    with psycopg.connect(url, autocommit=True) as inside:
        inside.execute("vacuum (analyze)")
    rename = sql.SQL("alter database {} rename to {}").format(sql.Identifier(draft), sql.Identifier(name))
    connection.execute(rename)
    about = json.dumps({"casts": count, "built_at": time.time()})
    comment = sql.SQL("comment on database {} is {}").format(sql.Identifier(name), sql.Literal(about))
    connection.execute(comment)


def _fill(url: str, count: int) -> None:
    """By several processes at once. Raises RuntimeError when one of them fails."""
    environment = {**os.environ, "DATABASE_URL": url}
    shares = [count // BUILDERS + (number < count % BUILDERS) for number in range(BUILDERS)]
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.casts", str(share)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for share in shares
    ]
    outputs = [child.communicate()[0] for child in children]
    failed = [output for child, output in zip(children, outputs, strict=True) if child.returncode]
    if failed:
        raise RuntimeError(f"the pool of casts could not be built:\n{failed[0].decode()[-3000:]}")
