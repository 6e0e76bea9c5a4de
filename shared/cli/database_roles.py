"""Group roles of the server, login roles of this installation, and its database: made where missing.

What another installation on the same server made is never changed. docs/decisions/2026-11-30-login-roles.md has the reasons.
"""

import time
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from shared.core import database_logins, db
from shared.core.config import ConfigurationError
from shared.core.database_logins import ASIDE_ROLE, LOGIN_KINDS, ROLE_OF_LOGIN, ROLES, LoginKind

MAINTENANCE_DATABASE = "postgres"  # every server has it
# What a second starter meets that makes the same roles at the same moment. No lock would do: advisory locks of this
# database can be taken by the app's role, and other installations are in other databases.
CONCURRENT_CHANGES = (
    psycopg.errors.DuplicateDatabase,
    psycopg.errors.DuplicateObject,
    psycopg.errors.InternalError_,  # "tuple concurrently updated"
    psycopg.errors.UniqueViolation,
)
ATTEMPTS, RETRY_DELAY_S = 8, 0.25
GROUPS = [database_logins.role_name(role) for role in ROLES]
OWNER = database_logins.role_name("owner")
# Databases, other than this one, that contain objects or grants of the group roles.
OTHER_DATABASES = """
    select distinct d.datname from pg_shdepend s join pg_database d on d.oid = s.dbid join pg_roles r on r.oid = s.refobjid
    where s.refclassid = 'pg_authid'::regclass and r.rolname = any (%s) and d.datname <> %s order by 1
"""


def make_roles_and_database(admin_url: str, *, reset_passwords: bool) -> None:
    """With the administrator's rights. Raises ConfigurationError when a role of that name is not ours.

    `reset_passwords`: logins that exist get the password that derives from the administrator's, so that a changed one
    heals itself. Without it, only new logins get it.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _make_roles_and_database(admin_url, reset_passwords=reset_passwords)
        except CONCURRENT_CHANGES:
            time.sleep(RETRY_DELAY_S)
    return _make_roles_and_database(admin_url, reset_passwords=reset_passwords)


def _make_roles_and_database(admin_url: str, *, reset_passwords: bool) -> None:
    database = make_url(admin_url).database or db.DATABASE
    with _connect_to_make(admin_url) as connection:
        for group in (*GROUPS, ASIDE_ROLE):
            _make_group(connection, group)
        make_logins(connection, admin_url, reset_passwords=reset_passwords)
        _make_database(connection, database)
    with psycopg.connect(admin_url, autocommit=True) as connection:
        _let_owner_create(connection)
        limit_connections(connection, database)


def make_logins(connection: psycopg.Connection[Any], admin_url: str, *, reset_passwords: bool = True) -> None:
    """Make the login roles of the database that `admin_url` names, and bring their settings up to date."""
    url = make_url(admin_url)
    for kind in LOGIN_KINDS:
        password = make_url(db.derive_login_url(url, kind)).password or ""
        _make_login(connection, url.database or db.DATABASE, kind, password, reset_password=reset_passwords)


def limit_connections(connection: psycopg.Connection[Any], database: str) -> None:
    """Give CONNECT to the logins of this database, to which `connection` is open, and take it from PUBLIC.

    PUBLIC keeps it in a database that has a schema, as long as a group role can log in: processes of an earlier
    version may be using it.
    """
    grant_connect(connection, database)
    has_schema = _has_row(connection, "select 1 where to_regclass('public.alembic_version') is not null")
    if not has_schema or not list_login_groups(connection):
        revoke_public_connect(connection, database)
        _own_by_login(connection, database)


def grant_connect(connection: psycopg.Connection[Any], database: str) -> None:
    for kind in LOGIN_KINDS:
        login = database_logins.login_name(database, kind)
        statement = sql.SQL("grant connect on database {} to {}")
        connection.execute(statement.format(sql.Identifier(database), sql.Identifier(login)))


def revoke_public_connect(connection: psycopg.Connection[Any], database: str) -> None:
    """Nor may the logins make temporary tables, which a function would read instead of ours."""
    statement = sql.SQL("revoke connect, temporary on database {} from public")
    connection.execute(statement.format(sql.Identifier(database)))


def _own_by_login(connection: psycopg.Connection[Any], database: str) -> None:
    """A database of the group role could be entered by the owners' logins of all installations."""
    owned_by_group = "select 1 from pg_database where datname = %s and datdba = %s::regrole"
    if _has_row(connection, owned_by_group, database, OWNER):
        login = database_logins.login_name(database, "owner")
        statement = sql.SQL("alter database {} owner to {}")
        connection.execute(statement.format(sql.Identifier(database), sql.Identifier(login)))
        _let_owner_create(connection)


def list_login_groups(connection: psycopg.Connection[Any]) -> list[str]:
    """The group roles that can still log in. Earlier versions logged in as them."""
    rows = connection.execute(
        "select rolname from pg_roles where rolcanlogin and rolname = any (%s) order by 1", [GROUPS]
    )
    return [name for (name,) in rows.fetchall()]


def end_group_logins(connection: psycopg.Connection[Any], database: str) -> None:
    """Take LOGIN from the group roles. Raises ConfigurationError while another database or a session may need it."""
    rows = connection.execute(OTHER_DATABASES, [GROUPS, database]).fetchall()
    old_databases = [name for (name,) in rows if not _has_own_logins(connection, name)]
    if old_databases:
        raise ConfigurationError(
            f"other databases on this server still log in as {', '.join(GROUPS)}: {', '.join(old_databases)}."
            " Migrate them to this version first, or drop them."
        )
    rows = connection.execute(
        "select distinct usename::text, datname::text from pg_stat_activity where usename = any (%s) order by 1, 2",
        [GROUPS],
    ).fetchall()
    if rows:
        sessions = ", ".join(f"{user} in {name}" for user, name in rows)
        raise ConfigurationError(
            f"these sessions are still open: {sessions}. Restart the processes with logins of this version first."
        )
    for group in list_login_groups(connection):
        connection.execute(sql.SQL("alter role {} nologin password null").format(sql.Identifier(group)))


def _has_own_logins(connection: psycopg.Connection[Any], database: str) -> bool:
    return _read_comment(connection, database_logins.login_name(database, "app")) == _describe_login(database)


def _make_group(connection: psycopg.Connection[Any], group: str) -> None:
    """Other installations use it as well, so that one that exists stays as it is."""
    if not _has_row(connection, "select 1 from pg_roles where rolname = %s", group):
        connection.execute(sql.SQL("create role {} nologin noinherit").format(sql.Identifier(group)))
    if _has_row(
        connection, "select 1 from pg_roles where rolname = %s and (rolsuper or rolbypassrls)", group
    ):
        raise ConfigurationError(
            f"the role {group} can bypass row security. Remove SUPERUSER and BYPASSRLS from it."
        )


def _make_login(
    connection: psycopg.Connection[Any],
    database: str,
    kind: LoginKind,
    password: str,
    *,
    reset_password: bool,
) -> None:
    login = database_logins.login_name(database, kind)
    identifier, secret = sql.Identifier(login), sql.Literal(password)
    if not _has_row(connection, "select 1 from pg_roles where rolname = %s", login):
        with connection.transaction():  # a role without the comment would be taken for somebody else's
            connection.execute(sql.SQL("create role {} login inherit password {}").format(identifier, secret))
            comment = sql.Literal(_describe_login(database))
            connection.execute(sql.SQL("comment on role {} is {}").format(identifier, comment))
    elif _read_comment(connection, login) != _describe_login(database):
        raise ConfigurationError(
            f"the server has a role {login} that Bulkhead did not make. Rename that role, or choose another name for the"
            " database."
        )
    elif reset_password:
        connection.execute(sql.SQL("alter role {} login password {}").format(identifier, secret))
    for name, value in database_logins.login_settings(kind).items():
        statement = sql.SQL("alter role {} set {} = {}")
        connection.execute(statement.format(identifier, sql.Identifier(name), sql.Literal(value)))
    _join_group(connection, login, database_logins.role_name(ROLE_OF_LOGIN[kind]))
    if ROLE_OF_LOGIN[kind] == "app":
        _join_group(connection, login, ASIDE_ROLE)


def _join_group(connection: psycopg.Connection[Any], login: str, group: str) -> None:
    if _has_row(connection, "select 1 where pg_has_role(%s, %s, 'member')", login, group):
        return
    try:
        connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), sql.Identifier(login)))
    except psycopg.errors.InsufficientPrivilege:
        user = connection.info.user
        raise ConfigurationError(
            f"the user {user} can't add members to {group}, which another user created. Have an administrator run:"
            f" grant {', '.join((*GROUPS, ASIDE_ROLE))} to {user} with admin option"
        ) from None


def _describe_login(database: str) -> str:
    """The comment on a login role that the installation in this database made."""
    return f"Login of Bulkhead in the database {database}"


def _read_comment(connection: psycopg.Connection[Any], role: str) -> str | None:
    row = connection.execute(
        "select shobj_description(oid, 'pg_authid') from pg_roles where rolname = %s", [role]
    ).fetchone()
    return row[0] if row else None


def _make_database(connection: psycopg.Connection[Any], database: str) -> None:
    owner = sql.Identifier(database_logins.login_name(database, "owner"))
    if not _has_row(connection, "select 1 from pg_roles where rolname = current_user and rolsuper"):
        # An administrator who is no superuser gives things only to roles they belong to.
        connection.execute(sql.SQL("grant {} to current_user").format(owner))
    if not _has_row(connection, "select 1 from pg_database where datname = %s", database):
        statement = sql.SQL("create database {} owner {}")
        connection.execute(statement.format(sql.Identifier(database), owner))


def _let_owner_create(connection: psycopg.Connection[Any]) -> None:
    if not _has_row(connection, "select 1 where has_schema_privilege(%s, 'public', 'create')", OWNER):
        statement = sql.SQL("grant create on schema public to {}")
        connection.execute(statement.format(sql.Identifier(OWNER)))


def is_missing_database(text: str) -> bool:
    """Whether the driver says that the server has no database of that name: a failed connection has no SQLSTATE."""
    return "does not exist" in text and 'database "' in text


def _connect_to_make(admin_url: str) -> psycopg.Connection[Any]:
    """To the database, or to the server's own where ours is still to be made."""
    try:
        return psycopg.connect(admin_url, autocommit=True)
    except psycopg.OperationalError as problem:
        if not is_missing_database(str(problem)):
            raise
    url = make_url(admin_url).set(database=MAINTENANCE_DATABASE)
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _has_row(connection: psycopg.Connection[Any], query: LiteralString, *values: str) -> bool:
    return connection.execute(query, values).fetchone() is not None
