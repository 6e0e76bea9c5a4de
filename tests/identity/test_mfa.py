"""Second factors: each code works once, attempts are limited, seeds are sealed."""

import asyncio
import base64
import time

import pyotp
import pytest
from sqlalchemy import text

from shared.core import crypto, db
from shared.core.errors import Conflict
from shared.identity import mfa
from shared.identity.realms import OPERATOR, USER
from tests.conftest import Cast


async def enable_second_factor(user_id: str) -> tuple[str, list[str]]:
    seed = pyotp.random_base32()
    async with db.transaction() as session:
        return seed, list(await mfa.install_seed(session, USER, user_id, seed))


async def answer_challenge(token: str, code: str) -> mfa.ChallengeResult:
    async with db.transaction() as session:
        return await mfa.answer_challenge(session, USER, token, code)


async def start_challenge(user_id: str) -> str:
    async with db.transaction() as session:
        return await mfa.start_challenge(session, USER, user_id)


async def test_enrolment_requires_a_correct_code_and_returns_recovery_codes(cast: Cast) -> None:
    async with db.transaction() as session:
        seed = await mfa.enrol(session, USER, cast.ann.user_id)
        assert seed == await mfa.enrol(session, USER, cast.ann.user_id)  # a reload shows the same picture
        assert await mfa.confirm_enrolment(session, USER, cast.ann.user_id, "000000") == []
        assert not await mfa.is_enabled(session, USER, cast.ann.user_id)
        codes = await mfa.confirm_enrolment(session, USER, cast.ann.user_id, pyotp.TOTP(seed).now())
        assert len(set(codes)) == 10
        assert await mfa.is_enabled(session, USER, cast.ann.user_id)
        with pytest.raises(Conflict):
            await mfa.enrol(session, USER, cast.ann.user_id)


async def test_code_is_accepted_once_by_concurrent_challenges(cast: Cast) -> None:
    seed, _ = await enable_second_factor(cast.ann.user_id)
    code = pyotp.TOTP(seed).now()
    tokens = [await start_challenge(cast.ann.user_id) for _ in range(4)]
    answers = await asyncio.gather(*(answer_challenge(token, code) for token in tokens))
    assert sorted(answer.is_correct for answer in answers) == [False, False, False, True]


async def test_code_of_an_older_step_is_refused_after_a_newer_one(cast: Cast) -> None:
    seed, _ = await enable_second_factor(cast.ann.user_id)
    totp, moment = pyotp.TOTP(seed), time.time()
    async with db.transaction() as session:
        assert await mfa.verify_code(session, USER, cast.ann.user_id, totp.at(moment))
        assert not await mfa.verify_code(session, USER, cast.ann.user_id, totp.at(moment - 30))
        assert await mfa.verify_code(
            session, USER, cast.ann.user_id, await mfa.generate_next_code(session, USER, cast.ann.user_id)
        )


@pytest.mark.parametrize("away", [-120, -90, 90, 120])
async def test_code_more_than_one_step_away_is_refused(cast: Cast, away: int) -> None:
    seed, _ = await enable_second_factor(cast.ann.user_id)
    async with db.transaction() as session:
        assert not await mfa.verify_code(
            session, USER, cast.ann.user_id, pyotp.TOTP(seed).at(time.time() + away)
        )


async def test_recovery_code_works_once_and_for_its_owner_only(cast: Cast) -> None:
    _, codes = await enable_second_factor(cast.ann.user_id)
    await enable_second_factor(cast.gil.user_id)
    async with db.transaction() as session:
        assert not await mfa.verify_code(session, USER, cast.gil.user_id, codes[0])
        assert await mfa.verify_code(session, USER, cast.ann.user_id, codes[0].upper().replace("-", " "))
        assert not await mfa.verify_code(session, USER, cast.ann.user_id, codes[0])
        assert await mfa.count_recovery_codes(session, USER, cast.ann.user_id) == 9


async def test_recovery_codes_are_stored_as_hashes(cast: Cast) -> None:
    _, codes = await enable_second_factor(cast.ann.user_id)
    async with db.transaction() as session:
        connection = await session.connection()
        kept = (await connection.execute(text("select code_hash from user_recovery_code"))).scalars().all()
    plain = {form for code in codes for form in (code, code.replace("-", ""))}
    assert not any(form in row for form in plain for row in kept)


async def test_challenge_ends_after_too_many_wrong_codes(cast: Cast) -> None:
    seed, _ = await enable_second_factor(cast.ann.user_id)
    token = await start_challenge(cast.ann.user_id)
    answers = [await answer_challenge(token, "000000") for _ in range(5)]
    assert [answer.attempts_left for answer in answers] == [4, 3, 2, 1, 0]
    assert not (await answer_challenge(token, pyotp.TOTP(seed).now())).is_correct


async def test_concurrent_guesses_do_not_exceed_the_attempts(cast: Cast) -> None:
    await enable_second_factor(cast.ann.user_id)
    token = await start_challenge(cast.ann.user_id)
    answers = await asyncio.gather(*(answer_challenge(token, f"{number:06}") for number in range(12)))
    assert sum(answer.subject_id != "" for answer in answers) == 5


async def test_sealed_seed_opens_for_its_owner_only(cast: Cast) -> None:
    seed, _ = await enable_second_factor(cast.ann.user_id)
    await enable_second_factor(cast.gil.user_id)
    async with db.transaction() as session:
        connection = await session.connection()
        sealed = "select sealed from user_totp where user_id = :id"
        blob = (await connection.execute(text(sealed), {"id": cast.ann.user_id})).scalar_one()
        assert base64.b32decode(seed) not in bytes(blob)
        await connection.execute(
            text("update user_totp set sealed = :blob where user_id = :id"),
            {"blob": blob, "id": cast.gil.user_id},
        )
        with pytest.raises(crypto.DecryptionError):
            await mfa.read_seed(session, USER, cast.gil.user_id)


async def test_second_factor_cannot_be_disabled_by_operators() -> None:
    async with db.transaction("operator") as session:
        with pytest.raises(Conflict):
            await mfa.disable(session, OPERATOR, "opr_nobody")
