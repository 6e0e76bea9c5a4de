"""Roles, database and schema: made where missing, never changed by hand."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, event, pool
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError

from shared import modules
from shared.cli import database_roles, login_checks, up_lock
from shared.core import database_logins, db
from shared.core.config import ConfigurationError, settings
from shared.core.schema_fingerprint import require_published
from shared.dev.postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
UP_RESTART_SECONDS = 60.0  # `up` starts an ended server again within this time
MIGRATION_LOCK_TIMEOUT_S = 5
MIGRATION_POLL_S = 0.2
MIGRATION_ATTEMPTS, MIGRATION_RETRY_DELAY_S = 4, 2.0
LOCK_HOLDERS = """
    select distinct a.usename, l.pid, c.relname from pg_locks l join pg_stat_activity a using (pid)
    join pg_class c on c.oid = l.relation
    where l.granted and l.pid <> pg_backend_pid() and c.relnamespace = 'public'::regnamespace
        and c.relkind in ('r', 'p') and c.relname <> 'alembic_version'
    order by 1, 2, 3 limit 5
"""
CREATE_VERSION_TABLE = """
create table if not exists alembic_version (
    version_num varchar(32) not null, constraint alembic_version_pkc primary key (version_num)
)
"""  # as Alembic itself makes it


def use_embedded_server() -> None:
    """Make the embedded server of the data directory the database of this process and of those it starts.

    Does nothing where DATABASE_URL names a server, and in production.
    """
    if settings().database_url is None and not settings().is_production:
        os.environ["DATABASE_URL"] = _embedded_url()
        settings.cache_clear()
        db.login_url.cache_clear()


def embedded_server() -> EmbeddedPostgres | None:
    """The server of this data directory, or None where DATABASE_URL names another."""
    database_url = settings().database_url
    if database_url is not None and database_url.get_secret_value() == _embedded_url():
        return EmbeddedPostgres(_embedded_root())
    return None


def _embedded_root() -> Path:
    return settings().absolute_data_dir / "postgres"


def _embedded_url() -> str:
    return EmbeddedPostgres(_embedded_root()).url(database=db.DATABASE)


@contextmanager
def running_server(*, as_administrator: bool = False) -> Iterator[None]:
    """For one command: the embedded server is there, and stops again if it was started for this.

    In production, raises ConfigurationError for a login with more rights than any command but `migrate` needs.
    Raises it too when the server of a running `bulkhead up` does not answer: only `up` starts it.
    """
    modules.load()
    server = embedded_server()
    if server is not None and up_lock.is_held(settings().absolute_data_dir):
        if not server.wait_until_ready(UP_RESTART_SECONDS):
            raise ConfigurationError(
                "the database of the running `bulkhead up` does not answer. The output of `bulkhead up` says why."
            )
    elif server is not None:
        server.start()
    try:
        if settings().is_production and not as_administrator:
            login_checks.require_no_administrator()
        yield
    finally:
        if server is not None and server.started:
            server.stop()


def prepare_database(*, end_group_logins: bool = False) -> str:
    """Starts the embedded server if that is the one. Returns the revision of the schema.

    `end_group_logins`: take LOGIN from the roles that earlier versions shared. Raises ConfigurationError while they may
    still be needed.
    """
    server = embedded_server()
    if server is not None:
        server.start()
    admin_url = _admin_url()
    if admin_url is not None:
        # Where processes derive their passwords from the same URL, a changed password of the administrator heals itself.
        reset_passwords = settings().database_migrate_url is None
        database_roles.make_roles_and_database(admin_url, reset_passwords=reset_passwords)
    elif end_group_logins:
        raise ConfigurationError("taking LOGIN from roles needs the URL of an administrator")
    revision = upgrade_schema()
    if admin_url is not None and end_group_logins:
        _end_group_logins(admin_url)
    elif admin_url is not None and server is not None:
        with suppress(
            ConfigurationError
        ):  # a process of an earlier version is still running; the next start asks again
            _end_group_logins(admin_url)
    return revision


def find_login_url(kind: database_logins.LoginKind) -> str:
    """The URL of a login of this installation, derived from the administrator's.

    Raises ConfigurationError where no administrator's URL is set.
    """
    admin_url = _admin_url()
    if admin_url is None:
        raise ConfigurationError(
            "passwords derive from an administrator's URL; set DATABASE_MIGRATE_URL to it"
        )
    return db.derive_login_url(make_url(admin_url), kind)


def _end_group_logins(admin_url: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as connection:
        database = make_url(admin_url).database or db.DATABASE
        database_roles.end_group_logins(connection, database)
        database_roles.limit_connections(connection, database)


def list_group_logins() -> list[str]:
    """Group roles that can still log in, as an administrator sees them; nothing where the URL is no administrator's."""
    admin_url = _admin_url()
    if admin_url is None:
        return []
    with psycopg.connect(admin_url, autocommit=True) as connection:
        return database_roles.list_login_groups(connection)


def upgrade_schema(revision: str = "head") -> str:
    """Returns the revision of the schema. Raises ConfigurationError for data of an unpublished migration."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic").replace("%", "%%"))
    login_checks.require_no_pooler(db.login_url("owner"), "the URL of migrations", "DATABASE_MIGRATE_URL")
    url = make_url(db.login_url("owner")).set(drivername="postgresql+psycopg")
    engine = create_engine(url, poolclass=pool.NullPool)
    with _connect_as_owner(engine) as lock_connection, _connect_as_owner(engine) as connection:
        _lock_migrations(lock_connection)
        require_published(connection, _revision(connection))
        connection.commit()  # or Alembic would run all migrations in this transaction
        config.attributes["connection"] = connection
        _upgrade(config, connection, revision)
        return _revision(connection) or "nothing"


def _upgrade(config: Config, connection: Connection, revision: str) -> None:
    """A migration that waits for a lock stops all statements behind it, so it gives up soon and tries again."""
    event.listen(connection, "begin", _limit_lock_waits)
    for attempt in range(1, MIGRATION_ATTEMPTS + 1):
        try:
            command.upgrade(config, revision)
            return connection.commit()
        except OperationalError as problem:
            if not isinstance(problem.orig, psycopg.errors.LockNotAvailable):
                raise
            connection.rollback()
            if attempt == MIGRATION_ATTEMPTS:
                break
            time.sleep(MIGRATION_RETRY_DELAY_S)
    holders = connection.exec_driver_sql(LOCK_HOLDERS).all()
    connection.rollback()
    sessions = ", ".join(f"{row.usename} (session {row.pid}) on {row.relname}" for row in holders)
    raise ConfigurationError(
        f"a migration waited {MIGRATION_ATTEMPTS} times {MIGRATION_LOCK_TIMEOUT_S} s for a lock and changed nothing, so that"
        f" no statement waits behind it. Locks are held by: {sessions or 'no session any more'}. Migrate again"
        " when they have ended."
    )


def _limit_lock_waits(connection: Connection) -> None:
    """Not outside of transactions: an index that is built concurrently may wait, and would be left invalid."""
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(f"set local lock_timeout = '{MIGRATION_LOCK_TIMEOUT_S}s'")


def _connect_as_owner(engine: Engine) -> Connection:
    connection = engine.connect()
    connection.exec_driver_sql(f"set role {database_roles.OWNER}")  # who owns what migrations make
    connection.commit()
    return connection


def _lock_migrations(connection: Connection) -> None:
    """Until the connection closes. Two starters at once: the second waits, then finds nothing to do.

    A lock on a table, because the app's role could take an advisory lock and stop every migration.
    """
    try:
        connection.exec_driver_sql(CREATE_VERSION_TABLE)
    except IntegrityError:  # the other starter made it at the same moment
        connection.rollback()
    connection.commit()
    while not _try_lock_migrations(connection):
        time.sleep(MIGRATION_POLL_S)


def _try_lock_migrations(connection: Connection) -> bool:
    """Without waiting in the server: an index that the first starter builds concurrently would wait for the waiter."""
    try:
        connection.exec_driver_sql("lock table alembic_version in share update exclusive mode nowait")
    except OperationalError as problem:
        if not isinstance(problem.orig, psycopg.errors.LockNotAvailable):
            raise
        connection.rollback()
        return False
    return True


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _admin_url() -> str | None:
    """None where the URL logs in as the owner: then roles and database already exist."""
    if (server := embedded_server()) is not None:
        return server.url(database=db.DATABASE)
    configured_url = settings().migration_url
    assert configured_url is not None
    url = make_url(configured_url.get_secret_value()).set(drivername="postgresql")
    if db.is_login_of(url, "owner"):
        return None
    if any(db.is_login_of(url, role) for role in database_logins.ROLES):
        raise ConfigurationError(
            f"DATABASE_URL logs in as {url.username}, who can't migrate. Set DATABASE_MIGRATE_URL to an administrator's URL,"
            f" or to one of {database_logins.login_name(url.database or db.DATABASE, 'owner')}."
        )
    return url.render_as_string(hide_password=False)
