"""Why a command could not use the database, in a sentence for whoever started it."""

from collections.abc import Iterator

import psycopg
from psycopg_pool import PoolTimeout
from sqlalchemy.engine import URL, make_url

from shared.cli import database_roles
from shared.core import db
from shared.core.config import ConfigurationError, settings
from shared.web.health import list_migration_heads

MIGRATE = "Run `bulkhead migrate` first; `make up` does it too."
CONNECT_TIMEOUT_S = 3


def explain(problem: BaseException) -> str:
    """What is wrong with the database and what to do; "" where `problem` has another cause."""
    database_url = settings().database_url
    if database_url is None or not any(_is_of_database(cause) for cause in _causes(problem)):
        return ""
    url = make_url(database_url.get_secret_value())
    try:
        return find_connection_problem(url) or _find_schema_problem(url)
    except (psycopg.Error, ConfigurationError):  # another problem on the way: the first one is shown
        return ""


def _causes(problem: BaseException) -> Iterator[BaseException]:
    seen = set[int]()
    waiting = [problem]
    while waiting:
        cause = waiting.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        nested = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()
        waiting += [*nested, *(each for each in (cause.__cause__, cause.__context__) if each is not None)]


def _is_of_database(cause: BaseException) -> bool:
    return isinstance(cause, psycopg.Error | PoolTimeout)


def find_connection_problem(url: URL) -> str:
    """Why no connection can be made, and what to do, without the password; or ""."""
    try:
        psycopg.connect(_address(url), connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error as problem:
        return _describe_refusal(url, str(problem))
    return ""


def _address(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _describe_refusal(url: URL, text: str) -> str:
    """`text`: of the driver. A server that speaks another language is quoted."""
    if "password authentication failed" in text or f'role "{url.username}" does not exist' in text:
        return f"the database server refused the user {url.username} or its password. Correct them in DATABASE_URL."
    if database_roles.is_missing_database(text):
        return (
            f"the server has no database {url.database}. Create it, or correct the name in DATABASE_URL;"
            " `bulkhead migrate` creates it when DATABASE_URL logs in as an administrator."
        )
    if "FATAL" in text:
        return f"the database server refuses the connection of DATABASE_URL: {text.rpartition('FATAL:')[2].strip()}"
    place = f"{url.host or url.query.get('host', 'this machine')}:{url.port or 5432}"
    return f"no database server answers at {place}. Start it, or correct the address in DATABASE_URL."


def _find_schema_problem(url: URL) -> str:
    with psycopg.connect(_address(url), connect_timeout=CONNECT_TIMEOUT_S) as connection:
        if connection.execute("select to_regclass('public.alembic_version')").fetchone() == (None,):
            return f"the database has no schema yet. {MIGRATE}"
        row = connection.execute("select version_num from alembic_version").fetchone()
    revision, heads = row[0] if row else "nothing", list_migration_heads()
    if revision not in heads:
        return (
            f"the schema of the database is at {revision}, and this version needs {', '.join(heads)}. Run `bulkhead migrate`,"
            " or start the version that the schema belongs to if that is newer."
        )
    return _find_login_problem()


def _find_login_problem() -> str:
    login_url = db.login_url("app")
    try:
        psycopg.connect(login_url, connect_timeout=CONNECT_TIMEOUT_S).close()
    except psycopg.Error:
        return f"{make_url(login_url).username} cannot log in to the database. {MIGRATE}"
    return ""
