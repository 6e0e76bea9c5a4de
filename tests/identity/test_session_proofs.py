"""Attempts on sessions with the database login of an app and without a master key."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from shared.audit import audit_log
from shared.core import crypto, db
from shared.core.config import settings
from shared.core.ids import new_id
from shared.identity import mfa, session_proofs, sessions
from shared.identity.realms import OPERATOR, USER
from tests.conftest import Cast
from tests.support import database, master_keys

OPEN = "select open_{}_session(%s, %s, %s, %s, '1 day', now() + interval '1 day', '', '', %s)"
PROOF = "0" * 64
FORMER_VERSION = "update former_version_access set allowed_until = now() + %s::interval"


@pytest.fixture
def app_connection(schema: str) -> Iterator[psycopg.Connection]:
    url = db.derive_login_url(make_url(database.admin_url(schema)), "app")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def former_version(schema: str) -> Iterator[None]:
    """As within the hour after an upgrade."""
    superuser = database.connect()
    superuser.execute(FORMER_VERSION, ["1 hour"])
    yield
    superuser.execute(FORMER_VERSION, ["-31 days"])


def insert_session(connection: psycopg.Connection, user_id: str, token: str) -> None:
    connection.execute(
        "insert into user_session (id, user_id, token_hash, idle_expires_at, expires_at, factors)"
        " values (%s, %s, %s, now() + interval '1 day', now() + interval '1 day', 'password')",
        [new_id("ses"), user_id, crypto.hash_token(token)],
    )


async def is_signed_in(token: str) -> bool:
    async with db.transaction() as session:
        return await sessions.find(session, USER, f"{USER.session_cookie}={token}") is not None


async def count_forged_sessions(cast: Cast, user_id: str) -> int:
    async with cast.olga.octx() as octx:
        events = await audit_log.list_security_events(octx, since=db.now().replace(hour=0, minute=0))
        return sum(
            event.count for event in events if event.kind == "session_forged" and event.actor_id == user_id
        )


def test_app_login_reads_no_session(cast: Cast, app_connection: psycopg.Connection) -> None:
    assert app_connection.execute("select * from user_session").fetchall() == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        app_connection.execute("select * from operator_session")


def test_app_login_finds_a_session_by_its_hash_alone(cast: Cast, app_connection: psycopg.Connection) -> None:
    token_hash = crypto.hash_token(cast.ann.cookie.partition("=")[2])
    find = "select user_id from find_user_session(%s)"
    assert app_connection.execute(find, [token_hash]).fetchall() == [(cast.ann.user_id,)]
    assert app_connection.execute(find, [cast.ann.user_id]).fetchall() == []


def test_app_login_inserts_no_session(cast: Cast, app_connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        insert_session(app_connection, cast.gil.user_id, "token")


@pytest.mark.parametrize("proof", ["", "0" * 63], ids=["none", "too short"])
def test_session_without_a_proof_is_not_opened(
    cast: Cast, app_connection: psycopg.Connection, proof: str
) -> None:
    values = [new_id("ses"), cast.gil.user_id, crypto.hash_token("token"), proof, "password"]
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not be opened"):
        app_connection.execute(OPEN.format("user").encode(), values)


async def test_session_with_a_forged_proof_signs_nobody_in_and_is_recorded(
    cast: Cast, app_connection: psycopg.Connection
) -> None:
    token = crypto.new_token()
    values = [new_id("ses"), cast.gil.user_id, crypto.hash_token(token), PROOF, "password"]
    app_connection.execute(OPEN.format("user").encode(), values)
    assert not await is_signed_in(token)
    assert await count_forged_sessions(cast, cast.gil.user_id) == 1


async def test_proof_of_another_person_signs_nobody_in(cast: Cast) -> None:
    database.connect().execute(
        "update user_session set user_id = %s where token_hash = %s",
        [cast.gil.user_id, crypto.hash_token(cast.ann.cookie.partition("=")[2])],
    )
    assert not await is_signed_in(cast.ann.cookie.partition("=")[2])


async def test_session_without_the_second_factor_is_not_opened_where_it_is_on(cast: Cast) -> None:
    async with db.transaction() as session:
        await mfa.install_seed(session, USER, cast.ann.user_id, "JBSWY3DPEHPK3PXP")
    async with db.transaction() as session:
        with pytest.raises(Exception, match="may not be opened"):
            await sessions.start(session, USER, cast.ann.user_id, "password")
    async with db.transaction() as session:
        assert await sessions.start(session, USER, cast.ann.user_id, "password+totp")


async def test_operator_session_is_opened_with_the_second_factor_alone(cast: Cast) -> None:
    async with cast.olga.octx() as octx:
        operator_id = octx.actor_id
    async with db.transaction("operator") as session:
        with pytest.raises(Exception, match="may not be opened"):
            await sessions.start(session, OPERATOR, operator_id, "password")


async def test_session_of_the_former_version_stays_valid(
    cast: Cast, app_connection: psycopg.Connection, former_version: None
) -> None:
    """Its processes write the table themselves, for an hour after the upgrade."""
    token = crypto.new_token()
    insert_session(app_connection, cast.ann.user_id, token)
    assert await is_signed_in(token)


async def test_session_without_a_proof_signs_nobody_in_where_no_former_version_ran(cast: Cast) -> None:
    """Not even one that the owner of the tables has written."""
    token = crypto.new_token()
    insert_session(database.connect(), cast.ann.user_id, token)
    assert not await is_signed_in(token)


async def test_session_of_the_former_version_ends_a_month_after_it(
    cast: Cast, app_connection: psycopg.Connection, former_version: None
) -> None:
    token = crypto.new_token()
    insert_session(app_connection, cast.ann.user_id, token)
    superuser = database.connect()
    superuser.execute(FORMER_VERSION, ["-31 days"])
    superuser.execute("update user_session set created_at = now() - interval '40 days' where proof = ''")
    assert not await is_signed_in(token)


async def test_sessions_are_proved_again_by_the_newest_master_key(cast: Cast) -> None:
    token = cast.ann.cookie.partition("=")[2]
    new_keys, old_keys = {9: b"n" * 32}, settings().load_master_keys()
    with master_keys.using({**new_keys, **old_keys}):
        assert await session_proofs.sign_sessions_again() > 0
        assert await session_proofs.sign_sessions_again() == 0
    with master_keys.using(new_keys):
        assert await is_signed_in(token)
    assert not await is_signed_in(token)  # by the older key alone
    with master_keys.using({**old_keys, **new_keys}):
        await session_proofs.sign_sessions_again()  # those of the other tests
