"""Sessions: idle time, maximum age, ending, and separate realms."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from shared.core import crypto, db
from shared.identity import sessions
from shared.identity.realms import OPERATOR, USER
from shared.identity.sessions import LiveSession
from tests.conftest import Cast
from tests.support import factories, session_rows


async def find_session(cookie: str) -> LiveSession | None:
    async with db.transaction() as session:
        return await sessions.find(session, USER, cookie)


async def test_session_token_is_stored_as_a_hash(cast: Cast) -> None:
    token = cast.ann.cookie.partition("=")[2]
    assert len(token) >= 43
    session = await find_session(cast.ann.cookie)
    assert session is not None
    assert session.session_hash == crypto.hash_token(token) != token


@pytest.mark.parametrize(("column", "alive", "dead"), [("idle_expires_at", 23, 25), ("expires_at", 700, 721)])
async def test_session_ends_by_idle_time_or_by_age(cast: Cast, column: str, alive: int, dead: int) -> None:
    session_rows.age_session(cast.ann.cookie, column, timedelta(hours=alive))
    assert await find_session(cast.ann.cookie) is not None
    session_rows.age_session(cast.ann.cookie, column, timedelta(hours=dead - alive))
    assert await find_session(cast.ann.cookie) is None


async def test_session_use_extends_the_idle_time_within_its_maximum_age(cast: Cast) -> None:
    session_rows.age_session(cast.ann.cookie, "last_seen_at", timedelta(minutes=2))
    session_rows.age_session(cast.ann.cookie, "idle_expires_at", timedelta(hours=23))
    session_rows.age_session(cast.ann.cookie, "expires_at", timedelta(days=29, hours=12))
    session_now = await find_session(cast.ann.cookie)
    assert session_now is not None
    async with db.transaction() as session:
        await sessions.touch(session, USER, session_now)
    _, idle_expires_at, expires_at = session_rows.read_times(cast.ann.cookie)
    assert idle_expires_at == expires_at


async def test_new_session_replaces_the_old_one(cast: Cast) -> None:
    before = await find_session(cast.ann.cookie)
    assert before is not None
    async with db.transaction() as session:
        token = await sessions.start(session, USER, cast.ann.user_id, replaced_hash=before.session_hash)
    assert await find_session(cast.ann.cookie) is None
    assert await find_session(f"{USER.session_cookie}={token}") is not None


async def test_session_of_another_person_cannot_be_ended(cast: Cast) -> None:
    gils = await find_session(cast.gil.cookie)
    assert gils is not None
    async with db.transaction() as session:
        assert await sessions.end_by_id(session, USER, cast.ann.user_id, gils.session_id) == ""
    assert await find_session(cast.gil.cookie) is not None


async def test_ending_all_sessions_spares_the_current_one(cast: Cast) -> None:
    other = await factories.sign_in(cast.ann.account.user)
    mine = await find_session(cast.ann.cookie)
    assert mine is not None
    async with db.transaction() as session:
        await sessions.end_all(session, USER, cast.ann.user_id, mine.session_hash)
    assert await find_session(other) is None
    assert await find_session(cast.ann.cookie) is not None
    assert await find_session(cast.gil.cookie) is not None


async def test_session_cookie_of_one_realm_is_unknown_in_the_other(cast: Cast) -> None:
    user, operator = (cookie.partition("=")[2] for cookie in (cast.ann.cookie, cast.olga.cookie))
    async with db.transaction("operator") as session:
        assert await sessions.find(session, OPERATOR, f"{OPERATOR.session_cookie}={user}") is None
        assert await sessions.find(session, OPERATOR, cast.ann.cookie) is None
    assert await find_session(f"{USER.session_cookie}={operator}") is None
    assert await find_session(cast.olga.cookie) is None


async def test_cookie_header_with_two_session_cookies_is_refused(cast: Cast) -> None:
    assert await find_session(f"{cast.ann.cookie}; {USER.session_cookie}=another") is None
    assert await find_session(f"theme=dark; {cast.ann.cookie}; x=1") is not None
    assert await find_session(f"x{cast.ann.cookie}") is None


async def test_disabled_person_has_no_session(cast: Cast) -> None:
    async with db.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text('update "user" set disabled_at = now() where id = :id'), {"id": cast.ann.user_id}
        )
    assert await find_session(cast.ann.cookie) is None
