"""Rows of sessions, which the apps' roles cannot read, read and changed as a superuser."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from psycopg import sql

from shared.core import crypto
from shared.identity.realms import OPERATOR, USER
from tests.support import database


class SessionTimes(NamedTuple):
    last_seen_at: datetime
    idle_expires_at: datetime
    expires_at: datetime


def age_session(cookie: str, column: str, by: timedelta) -> datetime:
    """Move a time of the session of this cookie into the past. Returns the time that the row has now."""
    statement = sql.SQL("update {t} set {c} = {c} - %s where token_hash = %s returning {c}")
    moved: datetime = _fetch_row(
        statement.format(t=_get_table(cookie), c=sql.Identifier(column)), by, cookie
    )[0]
    return moved


def read_times(cookie: str) -> SessionTimes:
    """When the session of this cookie was used last, and until when it lives idle and at most."""
    statement = sql.SQL("select last_seen_at, idle_expires_at, expires_at from {t} where token_hash = %s")
    return SessionTimes(*_fetch_row(statement.format(t=_get_table(cookie)), cookie))


def _get_table(cookie: str) -> sql.Identifier:
    realm = USER if cookie.startswith(USER.session_cookie) else OPERATOR
    return sql.Identifier(f"{realm.name}_session")


def _fetch_row(statement: sql.Composed, *values: Any) -> tuple[Any, ...]:
    """The last value is a cookie."""
    *others, cookie = values
    parameters = [*others, crypto.hash_token(cookie.partition("=")[2])]
    row = database.connect().execute(statement, parameters).fetchone()
    assert row is not None
    return row
